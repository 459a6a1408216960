"""A checkpoint file is read, or refused by its name."""

import pytest
import torch

from st_mm.ticket import load_checkpoint


class Foreign:
    """Not a plain type."""


def saved(tmp_path, content, **kwargs):
    path = tmp_path / 'file.pth'
    torch.save(content, path, **kwargs)
    return path


@pytest.mark.parametrize('as_text', [False, True])
def test_load_checkpoint(tmp_path, as_text) -> None:
    path = saved(tmp_path, dict(meta={}, state_dict=dict(w=torch.ones(2)), optimizer={}))
    checkpoint = load_checkpoint(str(path) if as_text else path)
    assert checkpoint.keys() == {'meta', 'state_dict', 'optimizer'}
    assert checkpoint['state_dict']['w'].tolist() == [1, 1]


def test_legacy_format_is_read(tmp_path) -> None:
    path = saved(
        tmp_path,
        dict(meta={}, state_dict=dict(w=torch.ones(2))),
        _use_new_zipfile_serialization=False,
    )
    assert load_checkpoint(path)['state_dict']['w'].tolist() == [1, 1]


def test_missing_file(tmp_path) -> None:
    with pytest.raises(FileNotFoundError, match=r'no checkpoint .*nowhere\.pth'):
        load_checkpoint(tmp_path / 'nowhere.pth')
    with pytest.raises(FileNotFoundError, match='no checkpoint'):
        load_checkpoint(tmp_path)


@pytest.mark.parametrize('legacy', [False, True])
@pytest.mark.parametrize('share', [0, 0.001, 0.3, 0.9, 0.999])
def test_truncated_file(tmp_path, share, legacy) -> None:
    path = saved(
        tmp_path,
        dict(meta={}, state_dict=dict(w=torch.ones(5000))),
        _use_new_zipfile_serialization=not legacy,
    )
    data = path.read_bytes()
    path.write_bytes(data[: int(share * len(data))])
    with pytest.raises(ValueError, match=r'file\.pth'):
        load_checkpoint(path)


@pytest.mark.parametrize(
    'content',
    [
        torch.ones(2),
        [1, 2],
        dict(w=torch.ones(2)),
        dict(state_dict={}),
        dict(meta={}),
        dict(meta={}, state_dict={}, hook=Foreign),
    ],
    ids=str,
)
def test_foreign_checkpoint(tmp_path, content) -> None:
    with pytest.raises(ValueError, match=r'file\.pth'):
        load_checkpoint(saved(tmp_path, content))


@pytest.mark.parametrize(
    'data', [b'text', b'PK', b'PK\x03\x04 half a zip', b'\x80\x02.', b'\0' * 99]
)
def test_foreign_file(tmp_path, data) -> None:
    path = tmp_path / 'file.pth'
    path.write_bytes(data)
    with pytest.raises(ValueError, match=r'file\.pth'):
        load_checkpoint(path)


def test_loading_runs_no_code(tmp_path) -> None:
    class Evil:
        def __reduce__(self):
            return (exec, ('raise SystemExit("ran")',))

    path = saved(tmp_path, dict(meta={}, state_dict={}, x=Evil()))
    with pytest.raises(ValueError, match='can be read'):
        load_checkpoint(path)


def test_an_entry_that_mmengine_would_run_is_left_out(tmp_path) -> None:
    """So that no file that is made of this one has it either."""
    path = saved(tmp_path, dict(meta=dict(config='import os', epoch=1), state_dict={}))
    assert load_checkpoint(path)['meta'] == dict(epoch=1)

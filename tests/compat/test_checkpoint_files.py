"""A checkpoint that mmengine opens: its name in every error, and nothing wrong taken for right."""

from pathlib import Path

import numpy as np
import pytest
import torch
from mmengine.logging import MMLogger
from mmengine.runner import Runner, load_checkpoint
from mmengine.testing.runner_test_case import ToyDataset, ToyModel


def save(folder: Path, state: dict, **entries) -> str:
    path = folder / 'file.pth'
    torch.save(dict(state_dict=state, meta={}) | entries, path)
    return str(path)


@pytest.mark.parametrize('data', [b'', b'text', b'PK', b'\x80\x02.', b'\0' * 99])
def test_the_file_is_named(tmp_path, data) -> None:
    path = tmp_path / 'file.pth'
    path.write_bytes(data)
    with pytest.raises(ValueError, match=r'file\.pth'):
        load_checkpoint(ToyModel(), str(path))


def test_a_flipped_bit_is_seen(tmp_path) -> None:
    state = ToyModel().state_dict()
    path = Path(save(tmp_path, state))
    data = bytearray(path.read_bytes())
    data[data.index(state['linear1.weight'].numpy().tobytes()) + 2] ^= 1
    path.write_bytes(data)
    with pytest.raises(ValueError, match=r'file\.pth is damaged'):
        load_checkpoint(ToyModel(), str(path))


WEIGHT = torch.ones(2, 2)


@pytest.mark.parametrize(
    ('value', 'match'),
    [
        (np.ones((2, 2), np.float32), 'numpy array, not a dense'),
        ([[1.0, 1.0], [1.0, 1.0]], 'list, not a dense'),
        (None, 'NoneType, not a dense'),
        (WEIGHT.to_sparse(), 'sparse'),
        (WEIGHT.to('meta'), 'without values'),
        (torch.quantize_per_tensor(WEIGHT, 0.1, 0, torch.qint8), 'quantized'),
        (torch.ones(1).expand(2, 2), 'expanded'),
        (WEIGHT.int(), 'type torch.int32'),
        (WEIGHT.bool(), 'type torch.bool'),
        (WEIGHT.to(torch.complex64), 'type torch.complex64'),
        (WEIGHT * float('nan'), '4 values that are NaN'),
        (WEIGHT / 0, 'infinite'),
    ],
    ids=lambda value: value.replace(' ', '_') if isinstance(value, str) else '',
)
def test_what_is_not_a_weight(tmp_path, value, match) -> None:
    """torch loads most of these without a word."""
    path = save(tmp_path, {**ToyModel().state_dict(), 'linear1.weight': value})
    with pytest.raises(ValueError, match=rf"'linear1\.weight' .*{match}"):
        load_checkpoint(ToyModel(), path)


@pytest.mark.parametrize('name', ['\x1b[2Jweight', 'weight\0', 3])
def test_what_is_not_the_name_of_a_weight(tmp_path, name) -> None:
    path = save(tmp_path, {**ToyModel().state_dict(), name: WEIGHT})
    with pytest.raises(ValueError, match=r'file\.pth has a tensor with .* for a name'):
        load_checkpoint(ToyModel(), path)


def test_a_meta_that_is_not_a_dict(tmp_path) -> None:
    path = save(tmp_path, ToyModel().state_dict(), meta=torch.ones(1))
    with pytest.raises(ValueError, match=r'file\.pth is not an mm checkpoint'):
        load_checkpoint(ToyModel(), path)


def test_infinite_values_of_the_model_itself(tmp_path) -> None:
    """A mask of attention, say."""
    model = ToyModel()
    model.register_buffer('mask', torch.tensor([0.0, float('-inf')]))
    load_checkpoint(model, save(tmp_path, model.state_dict()))


def test_lower_precision_is_said_once(tmp_path, caplog) -> None:
    state = {name: tensor.half() for name, tensor in ToyModel().state_dict().items()}
    logger = MMLogger.get_current_instance()
    logger.addHandler(caplog.handler)
    load_checkpoint(ToyModel(), save(tmp_path, state))
    logger.removeHandler(caplog.handler)
    assert caplog.text.count('lower precision') == 1


def test_a_resume_runs_nothing(tmp_path) -> None:
    """mmengine runs ``meta['config']`` as Python when it resumes."""

    def run(epochs: int, **kwargs) -> Runner:
        sampler = dict(type='DefaultSampler', shuffle=False)
        return Runner(
            ToyModel(),
            str(tmp_path / 'run'),
            train_dataloader=dict(dataset=ToyDataset(), sampler=sampler, batch_size=4),
            train_cfg=dict(by_epoch=True, max_epochs=epochs),
            optim_wrapper=dict(optimizer=dict(type='SGD', lr=0.01)),
            experiment_name=f'{tmp_path.name}-{epochs}',
            log_level='ERROR',
            **kwargs,
        )

    run(1).train()
    path = tmp_path / 'run' / 'epoch_1.pth'
    checkpoint = torch.load(path)
    checkpoint['meta']['config'] = f"open({str(tmp_path / 'ran')!r}, 'w')"
    torch.save(checkpoint, path)
    again = run(2, resume=True)
    again.train()
    assert again.epoch == 2
    assert not (tmp_path / 'ran').exists()

"""What a kill has left in a work dir is cleared away."""

import os
from pathlib import Path

from st_mm.work_dir import tidy_work_dir


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_tidying_a_work_dir(tmp_path) -> None:
    tidy_work_dir(tmp_path / 'new')  # nothing there, nothing to do
    (tmp_path / '.epoch_3.pth.7.part').write_bytes(b'PK')
    (tmp_path / 'last_checkpoint').write_text('')
    tidy_work_dir(tmp_path)
    assert names(tmp_path) == []  # no checkpoint: a note would lead nowhere

    for index, name in enumerate(('epoch_2.pth', 'epoch_1.pth')):
        (tmp_path / name).write_bytes(b'x')
        os.utime(tmp_path / name, (2 - index, 2 - index))
    (tmp_path / 'last_checkpoint').write_text('')
    tidy_work_dir(tmp_path)
    assert (tmp_path / 'last_checkpoint').read_text() == str(tmp_path / 'epoch_2.pth')

    for name in ('initial.pth', 'best_mIoU_epoch_1.pth'):
        (tmp_path / name).write_bytes(b'x')
    (tmp_path / 'last_checkpoint').write_text(str(tmp_path / 'epoch_3.pth'))  # removed meanwhile
    tidy_work_dir(tmp_path)
    assert (tmp_path / 'last_checkpoint').read_text() == str(tmp_path / 'epoch_2.pth')

    (tmp_path / 'last_checkpoint').write_text('elsewhere/epoch_9.pth')
    tidy_work_dir(tmp_path)
    assert (tmp_path / 'last_checkpoint').read_text() == 'elsewhere/epoch_9.pth'

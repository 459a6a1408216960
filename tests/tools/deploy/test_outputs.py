"""What the deployment tools write never replaces what they read."""

from argparse import Namespace
from pathlib import Path

import pytest

FOLDER = Path(__file__).parents[3] / 'tools' / 'deploy'


@pytest.mark.parametrize(
    ('target', 'force', 'message'),
    [
        ('ticket.pth', True, 'is read here'),
        ('link.stw', True, 'is read here'),
        ('picture.png', True, 'is read here'),
        ('other.onnx', False, 'is there already'),
    ],
)
def test_an_output_over_an_input(monkeypatch, tmp_path, target, force, message) -> None:
    monkeypatch.syspath_prepend(FOLDER)
    from network import open_network

    names = ('ticket.pth', 'picture.png', 'other.onnx')
    for name in names:
        (tmp_path / name).write_bytes(b'precious')
    (tmp_path / 'link.stw').symlink_to(tmp_path / 'ticket.pth')
    options = Namespace(
        ticket=tmp_path / 'ticket.pth',
        target=tmp_path / target,
        pictures=[tmp_path / 'picture.png'],
        force=force,
        size=None,
    )
    with pytest.raises(FileExistsError, match=message):
        open_network(options)
    assert all((tmp_path / name).read_bytes() == b'precious' for name in names)

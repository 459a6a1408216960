"""A transferred ticket is trained on, stopped, resumed, and is a ticket for every tool."""

import copy
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import onnxruntime
import pytest
from mmengine import Config
from mmengine.runner import Runner
from transfer_target import STEPS, people, streets

from st_mm.ticket import Ticket, load_checkpoint

pytestmark = pytest.mark.slow

TOOLS = Path(__file__).parents[2] / 'tools'
HOLD = dict(type='FixedMaskHook')


@pytest.fixture(scope='module')
def toy_people(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """4 + 2 + 2 drawn pictures with people."""
    folder = tmp_path_factory.mktemp('data') / 'toy_people'
    counts = ['--train', '4', '--val', '2', '--test', '2']
    command = [sys.executable, TOOLS / 'make_toy_data.py', 'people', folder, *counts]
    subprocess.run(command, check=True, capture_output=True)
    return folder


def test_segmentation_by_the_supernet(
    tickets: dict[str, Path],
    tiny_config: Callable[..., Config],
    tmp_path: Path,
    assert_same_end: Callable[[Path, Path], None],
) -> None:
    config = streets(tiny_config, tmp_path / 'whole', [HOLD])
    end = go_through('mmseg', config, tickets['supernet'], tmp_path, assert_same_end)
    units = Ticket.from_meta(load_checkpoint(end)['meta'])
    everything = {kernel: list(range(n)) for kernel, n in units.total['neck.block'].items()}
    assert units.units['neck.block'] == everything  # which starts new


def test_pose_estimation_by_mobilenet(
    tickets: dict[str, Path],
    toy_people: Path,
    tmp_path: Path,
    assert_same_end: Callable[[Path, Path], None],
) -> None:
    config = people(toy_people, tmp_path / 'whole', [HOLD])
    go_through('mmpose', config, tickets['mobile'], tmp_path, assert_same_end)


def go_through(
    library: str,
    config: Config,
    source: Path,
    tmp_path: Path,
    assert_same_end: Callable[[Path, Path], None],
) -> Path:
    """100 steps of AdamW with decay and EMA; the last checkpoint."""
    config.load_from = str(source)
    Runner.from_cfg(copy.deepcopy(config)).train()
    end = tmp_path / 'whole' / f'iter_{STEPS}.pth'
    check_what_was_carried(source, end)

    half, middle = tmp_path / 'half', f'iter_{STEPS // 2}.pth'
    half.mkdir()
    (half / middle).write_bytes(end.with_name(middle).read_bytes())
    (half / 'last_checkpoint').write_text(str(half / middle))
    again = copy.deepcopy(config)
    again.work_dir, again.load_from, again.resume = str(half), None, True
    again.experiment_name = again.visualizer.name = f'{tmp_path.name}-half'
    Runner.from_cfg(again).train()
    assert_same_end(half / end.name, end)

    written = tmp_path / 'config.py'
    config.dump(written)
    exported = tmp_path / 'ticket.onnx'
    for command in (
        ['-m', 'mim', 'test', library, written, '--checkpoint', end],
        [TOOLS / 'ticket.py', 'show', end],
        [TOOLS / 'ticket.py', 'show', source, '--for', written],
        [TOOLS / 'ticket.py', 'extract', end, tmp_path / 'extracted.pth'],
        [TOOLS / 'deploy' / 'export.py', end, exported, '--config', written],
    ):
        done = subprocess.run(
            [sys.executable, *command], cwd=tmp_path, capture_output=True, text=True
        )
        assert done.returncode == 0, (done.stdout + done.stderr)[-3000:]
    onnxruntime.InferenceSession(exported, providers=['CPUExecutionProvider'])
    return end


def check_what_was_carried(source: Path, end: Path) -> None:
    """Units and masks are as they were, and hold in the weights and in their average."""
    before = Ticket.from_meta(load_checkpoint(source)['meta'])
    checkpoint = load_checkpoint(end)
    after = Ticket.from_meta(checkpoint['meta'])
    shared = {name for name in before.masks if name.startswith('backbone.')} & set(after.masks)
    assert shared == set(after.masks)
    assert len(shared) > 10
    for name in shared:
        assert (after.mask(name) == before.mask(name)).all(), name
    ours = {name for name in after.units if name.startswith('backbone.')}
    assert ours
    assert all(after.units[name] == before.units[name] for name in ours)
    for weights in ('state_dict', 'ema_state_dict'):
        state = checkpoint[weights]
        for name in shared:
            tensor = state[name] if name in state else state[f'module.{name}']
            assert not tensor[~after.mask(name)].any(), name
            assert tensor[after.mask(name)].all(), name

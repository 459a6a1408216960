"""Two ranks search and prune alike: weights, EMA and masks are equal behind each event."""

import json
import socket
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from mmengine import Config

TRAIN = """
import hashlib, json, os, sys
import st_mm
from mmengine import Config
from mmengine.hooks import Hook
from mmengine.runner import Runner
from st_mm.hooks.run_state import RunState, averaged_models, bare_model

class Fingerprint(Hook):
    priority = 'LOWEST'
    found = []

    def after_train_epoch(self, runner):
        digest = hashlib.sha256()
        for model in (bare_model(runner), *(ema.module for ema in averaged_models(runner))):
            for name, tensor in model.state_dict().items():
                if 'running' in name and model is bare_model(runner):
                    continue  # each rank's own, until the next event
                digest.update(name.encode() + tensor.numpy().tobytes())
        state = RunState.of(runner)
        for name, keep in state.masks.keep.items():
            digest.update(name.encode() + keep.numpy().tobytes())
        self.found.append((digest.hexdigest(), [e['kind'] for e in state.ticket.events]))

runner = Runner.from_cfg(Config.fromfile(sys.argv[1]))
runner.register_hook(Fingerprint())
runner.train()
with open(sys.argv[2] + os.environ['RANK'], 'w') as file:
    json.dump(Fingerprint.found, file)
"""


def _torchrun(config: Config, tmp_path: Path) -> None:
    """Train on two ranks; each leaves its fingerprints in ``foundRANK``."""
    config.dump(tmp_path / 'config.py')
    (tmp_path / 'train.py').write_text(TRAIN)
    with socket.socket() as free:
        free.bind(('localhost', 0))
        port = free.getsockname()[1]
    torchrun = [sys.executable, '-m', 'torch.distributed.run', '--nproc_per_node=2']
    command = [*torchrun, f'--master_port={port}', 'train.py', 'config.py', 'found']
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-3000:]


@pytest.mark.slow
def test_ranks_agree(tiny_config: Callable[..., Config], tmp_path: Path) -> None:
    config = tiny_config(tmp_path / 'run', ema=dict(update_buffers=False), launcher='pytorch')
    config.env_cfg.dist_cfg.backend = 'gloo'
    config.train_dataloader.batch_size = 2
    _torchrun(config, tmp_path)
    first, second = (json.loads((tmp_path / f'found{rank}').read_text()) for rank in (0, 1))
    assert len(first) == 6
    assert {'search', 'prune', 'reactivate', 'refit'} == set(first[-1][1])
    assert first == second


@pytest.mark.slow
def test_resuming_a_searched_ticket(
    tiny_config: Callable[..., Config], ticket_run: Path, tmp_path: Path
) -> None:
    """The distributed wrapper is built before the checkpoint brings its shapes."""
    config = tiny_config(tmp_path / 'run', launcher='pytorch', resume=True)
    config.load_from = str(ticket_run / 'epoch_3.pth')
    config.env_cfg.dist_cfg.backend = 'gloo'
    config.train_dataloader.batch_size = 2
    _torchrun(config, tmp_path)
    first, second = (json.loads((tmp_path / f'found{rank}').read_text()) for rank in (0, 1))
    assert len(first) == 3
    assert [events for _, events in first] == [events for _, events in second]

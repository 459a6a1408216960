"""Masked weights are exact zeros through hundreds of steps, and in every file that is saved."""

import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import mmseg
import pytest
import torch
from mmengine import Config
from mmengine.hooks import Hook
from mmengine.optim import OptimWrapper
from mmengine.registry import OPTIM_WRAPPERS
from mmengine.runner import Runner
from torch import nn

from st_mm.hooks.run_state import RunState
from st_mm.ticket import Ticket, load_checkpoint

PUBLISH = Path(mmseg.__file__).parent / '.mim' / 'tools' / 'misc' / 'publish_model.py'
STEPS = 200
OPTIMIZERS = dict(
    SGD=dict(type='SGD', lr=0.01, momentum=0.9, weight_decay=1e-2),
    AdamW=dict(type='AdamW', lr=1e-3, weight_decay=1e-2),
    RMSprop=dict(type='RMSprop', lr=1e-3, momentum=0.9, weight_decay=1e-2),
)


@OPTIM_WRAPPERS.register_module()
class Bfloat16OptimWrapper(OptimWrapper):
    """Mixed precision on any device; mmengine's own wants a GPU."""

    @contextmanager
    def optim_context(self, model: nn.Module) -> Iterator[None]:
        with super().optim_context(model), torch.autocast('cpu', torch.bfloat16):
            yield


class Watch(Hook):
    """Looks at the masked weights after every step, live and EMA."""

    priority = 'LOWEST'
    steps = 0

    def after_train_iter(self, runner: Runner, *args, **kwargs) -> None:
        masks = RunState.of(runner).masks
        assert masks.keep
        for weights in masks.sets:
            for name, keep in masks.keep.items():
                assert not weights[name][keep == 0].any(), (runner.iter, name)
        self.steps += 1


@pytest.mark.slow
@pytest.mark.parametrize(
    ('optimizer', 'wrapper'),
    [
        ('SGD', dict(type='OptimWrapper')),
        ('AdamW', dict(type='OptimWrapper', accumulative_counts=3)),
        ('RMSprop', dict(type='Bfloat16OptimWrapper')),
    ],
    ids=lambda value: value if isinstance(value, str) else '-'.join(map(str, value.values())),
)
@pytest.mark.parametrize('straight_through', [None, 'hard', 'soft'])
def test_two_hundred_steps(
    straight_through: str | None,
    optimizer: str,
    wrapper: dict,
    tiny_config: Callable[..., Config],
    tmp_path: Path,
) -> None:
    config = tiny_config(
        tmp_path / 'run',
        search=None,
        prune=None,
        reactivate=None,
        # without an end of epochs, at each of which mmengine sleeps for two seconds
        train_dataloader=dict(sampler=dict(_delete_=True, type='InfiniteSampler')),
        train_cfg=dict(
            _delete_=True, type='IterBasedTrainLoop', max_iters=STEPS, val_interval=STEPS
        ),
        default_hooks=dict(checkpoint=dict(by_epoch=False, interval=STEPS)),
        log_processor=dict(by_epoch=False),
        param_scheduler=[dict(type='ConstantLR', factor=1.0, by_epoch=False)],
        optim_wrapper=dict(_delete_=True, optimizer=OPTIMIZERS[optimizer], **wrapper),
    )
    schedule = dict(type='OneShot', ratio=0.9, at=0)
    if straight_through:
        schedule = dict(type='Cubic', ratio=0.9, start=0.5, begin=0, interval=20, end=160)
    hook = dict(type='PruneHook', schedule=schedule, by_epoch=False, calibration_batches=1)
    config.custom_hooks.append({**hook, 'straight_through': straight_through})
    runner = Runner.from_cfg(config)
    watch = Watch()
    runner.register_hook(watch)
    runner.train()
    assert watch.steps == STEPS

    path = tmp_path / 'run' / f'iter_{STEPS}.pth'
    subprocess.run([sys.executable, PUBLISH, path, tmp_path / 'published.pth'], check=True)
    [published] = tmp_path.glob('published-*.pth')
    saved, public = load_checkpoint(path), load_checkpoint(published)
    ticket = Ticket.from_meta(public['meta'])
    for state in (saved['state_dict'], saved['ema_state_dict'], public['state_dict']):
        weights = {name.removeprefix('module.'): tensor for name, tensor in state.items()}
        for name in ticket.masks:
            kept = ticket.mask(name)
            assert not weights[name][~kept].any(), name
            if straight_through != 'soft':  # which may take a kept weight to zero as well
                assert weights[name][kept].any() or not kept.any(), name

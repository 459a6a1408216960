"""The figures of the training step, each from one run in which the variants alternate."""

import os
import re
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from copy import deepcopy
from pathlib import Path
from statistics import median
from time import perf_counter
from typing import NamedTuple

import torch
from mmengine import Config
from mmengine.optim import build_optim_wrapper
from mmengine.runner import Runner
from torch import distributed
from training import Setting, choose_masks, draw_units, start, step
from unfused import unfuse

from st_mm.hooks.run_state import (
    Moment,
    RunState,
    averaged_models,
    bare_model,
    optim_wrapper,
    refresh_averages,
)
from st_mm.measure.timing import alternate, synchronize
from st_mm.search import count_units, shrink
from st_mm.units import find_owners

CHOICE = 8  # steps between two choices of masks, as in most configs that do it
MEMORY_ROUNDS = 5  # at most: each starts two processes


class Row(NamedTuple):
    """A figure and what it may be at most."""

    name: str
    value: float
    target: float
    unit: str
    detail: str


def hooks(setting: Setting, rounds: int) -> Iterator[Row]:
    """Steps between two events, masks in place, over steps without our hooks."""
    on, off = start(setting, hooks=True), start(setting, hooks=False)
    off.model.load_state_dict(on.model.state_dict())
    off_arm, on_arm = (lambda: step(off)), (lambda: step(on))
    [(ratio, detail)] = alternate(off_arm, [on_arm], rounds)
    yield Row('step, all hooks on / off', ratio, 1.03, 'x', detail)


def learning(setting: Setting, rounds: int) -> Iterator[Row]:
    """Steps in which masked weights learn, over steps in which they do not."""
    kinds = None, 'hard', 'soft'
    runners = [
        start(setting, hooks=True, custom_hooks=_learn(setting.config, kind)) for kind in kinds
    ]
    arms = [lambda runner=runner: step(runner) for runner in runners]
    found = alternate(arms[0], arms[1:], rounds)
    for kind, (ratio, detail) in zip(kinds[1:], found, strict=True):
        yield Row(f'step, masked weights learn ({kind}) / rest', ratio, 1.05, 'x', detail)
    rest, *_, soft = runners
    [(ratio, detail)] = alternate(
        lambda: steps_to_choice(rest), [lambda: (steps_to_choice(soft), choose_masks(soft))], rounds
    )
    yield Row(f'step, soft masks chosen every {CHOICE} / rest', ratio, 1.05, 'x', detail)


def _learn(path: Path, kind: str | None) -> list[dict]:
    """The hooks of a config without reactivation, their masked weights learning."""
    hooks = [hook for hook in Config.fromfile(path).custom_hooks if hook.type != 'ReactivateHook']
    learn = dict(straight_through=kind, calibration_batches=0)
    return [{**h, **learn} if 'PruneHook' in h.type else h for h in hooks]


def steps_to_choice(runner: Runner) -> None:
    """Train as many iterations as there are from one choice of masks to the next."""
    for _ in range(CHOICE):
        step(runner)


def searched(setting: Setting, rounds: int) -> Iterator[Row]:
    """Steps after a search over steps before it."""
    shares = {0.5: 0.62, 0.75: 0.40}
    whole = start(setting, hooks=False)
    parts = [start(setting, hooks=False) for _ in shares]
    for part, share in zip(parts, shares, strict=True):
        shrink(
            part.model,
            draw_units(part, share),
            copies=[ema.module for ema in averaged_models(part)],
            optimizers=[optim_wrapper(part).optimizer],
        )
        refresh_averages(part)
    arms = [lambda part=part: step(part) for part in parts]
    found = alternate(lambda: step(whole), arms, rounds)
    for (share, target), (ratio, detail) in zip(shares.items(), found, strict=True):
        yield Row(f'step, {share:.0%} of the units gone / all there', ratio, target, 'x', detail)


def shrinking(setting: Setting, rounds: int) -> Iterator[Row]:
    """The slowest of some shrinks in a row, each with the new DDP wrapper."""
    with one_rank():
        backend, norm = ('nccl', 'SyncBN') if torch.cuda.is_available() else ('gloo', 'BN')
        part = dict(norm_cfg=dict(type=norm))  # SyncBN needs a GPU
        runner = start(
            setting,
            hooks=True,
            launcher='pytorch',
            env_cfg=dict(dist_cfg=dict(backend=backend)),
            model=dict(backbone=part, neck=part),
        )
        units = count_units(find_owners(bare_model(runner)))
        seconds = []
        for _ in range(rounds):
            dead = draw_units(runner, 0.1)
            synchronize()
            begin = perf_counter()
            RunState.of(runner).shrink(runner, dead, Moment('iter', runner.iter, runner.iter))
            synchronize()
            seconds.append(perf_counter() - begin)
        del runner
    detail = f'{units:,} units, a tenth goes; median {median(seconds):.2f} s'
    yield Row('shrink and DDP wrapper, slowest', max(seconds), 2.0, 's', detail)


def memory(setting: Setting, rounds: int) -> Iterator[Row]:
    """Peak memory with our hooks over that without, each time in a process of its own."""
    pairs = [
        [memory_of(setting, state) for state in ('on', 'off')]
        for _ in range(min(rounds, MEMORY_ROUNDS))
    ]
    usual = [f'{median(column) / 2**20:,.0f} MiB' for column in zip(*pairs, strict=True)]
    ratio = median(on / off for on, off in pairs)
    yield Row('peak memory, all hooks on / off', ratio, 1.05, 'x', ' / '.join(usual))


def fusion(setting: Setting, rounds: int) -> Iterator[Row]:
    """Steps of the model, masks held, over steps of its unfused form in NCHW."""
    runner = start(setting, hooks=True)
    masks, batch = RunState.of(runner).masks, runner.train_loop.batch
    naive = unfuse(deepcopy(runner.model))
    naive.backbone.channels_last = False
    wrapper = build_optim_wrapper(naive, runner.cfg.optim_wrapper)

    def fused_step() -> None:
        runner.model.train_step(batch, optim_wrapper=runner.optim_wrapper)
        masks.apply()

    def naive_step() -> None:
        naive.train_step(batch, optim_wrapper=wrapper)

    [(ratio, detail)] = alternate(naive_step, [fused_step], rounds)
    yield Row('step, as it is / unfused in NCHW', ratio, 0.80, 'x', detail)


MEASURES = dict(
    hooks=hooks,
    learning=learning,
    searched=searched,
    shrink=shrinking,
    memory=memory,
    fusion=fusion,
)


@contextmanager
def one_rank() -> Iterator[None]:
    """Let a runner with ``launcher='pytorch'`` make a group of one."""
    with socket.socket() as free:
        free.bind(('localhost', 0))
        port = free.getsockname()[1]
    os.environ.update(
        RANK='0', LOCAL_RANK='0', WORLD_SIZE='1', MASTER_ADDR='localhost', MASTER_PORT=str(port)
    )
    try:
        yield
    finally:
        distributed.destroy_process_group()


def memory_of(setting: Setting, state: str) -> int:
    """Bytes that a training takes at its peak, measured by this file in another process."""
    size = [str(side) for side in setting.size]
    command = [sys.executable, __file__, setting.config, *size, str(setting.batch_size), state]
    command.append(setting.work_dir)
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    return int(done.stdout.split()[-1])


def peak_of(setting: Setting, state: str) -> int:
    """Bytes that a training takes at its peak, in this process."""
    before = resident_peak()
    runner = start(setting, hooks=state == 'on')
    for _ in range(3):
        step(runner)
    if torch.cuda.is_available():
        return torch.cuda.max_memory_allocated()
    return resident_peak() - before


def resident_peak() -> int:
    """Most bytes that this process has had in memory; ``ru_maxrss`` would start at the parent's."""
    status = Path('/proc/self/status').read_text(encoding='utf-8')
    return int(re.search(r'VmHWM:\s+(\d+) kB', status)[1]) * 1024


if __name__ == '__main__':
    config, height, width, batch_size, state, work_dir = sys.argv[1:]
    size = (int(height), int(width))
    print(peak_of(Setting(Path(config), size, int(batch_size), Path(work_dir)), state))

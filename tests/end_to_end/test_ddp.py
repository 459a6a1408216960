"""N ranks draw the ticket that one process draws on the same global batches.

Launched by torchrun, this file is the training script of a rank.
"""

import hashlib
import itertools
import socket
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from mmengine import Config
from mmengine.dist import get_dist_info
from mmengine.hooks import Hook
from mmengine.registry import HOOKS, MODELS
from mmengine.runner import Runner
from torch import Tensor, nn
from torch.nn import functional as F

import st_mm  # noqa: F401 - the runtime fixes
from st_mm.hooks.run_state import RunState, averaged_models, bare_model
from st_mm.search import input_sizes, unit_costs
from st_mm.ticket import load_checkpoint
from st_mm.units import find_owners

RANKS = 2
EVENT = 12  # the epoch of the only search step, of 2 iterations each
END = 22  # 20 iterations later
RHO = 1e-2
BRANCH = 'backbone.stages.1.branches.1'
PARAMS = dict(params='80%')


@MODELS.register_module()
class GhostBN(nn.BatchNorm2d):
    """Does in one process what the BNs of two ranks do: each normalizes its share by itself.

    SyncBN would give both sides the same statistics, but not without a GPU: torch 2.13 raises
    "SyncBatchNorm expected input tensor to be on GPU or XPU or privateuseone", since its kernels
    (``batch_norm_stats`` and others) are written for those alone.
    """

    def forward(self, x: Tensor) -> Tensor:
        if not self.training:
            return super().forward(x)
        self.num_batches_tracked.add_(1)
        momentum = self.momentum or 1 / self.num_batches_tracked.item()
        outputs, means, variances = [], [], []
        for rank in range(RANKS):  # the share that DefaultSampler gives to it
            means.append(self.running_mean.clone())
            variances.append(self.running_var.clone())
            statistics = means[-1], variances[-1], self.weight, self.bias
            share = x[rank::RANKS]
            outputs.append(F.batch_norm(share, *statistics, True, momentum, self.eps))
        self.running_mean.copy_(torch.stack(means).mean(0))
        self.running_var.copy_(torch.stack(variances).mean(0))
        return torch.stack(outputs, 1).flatten(0, 1)


@HOOKS.register_module()
class Double(Hook):
    """Trains in float64.

    Sums over other shares round otherwise, and ReLUs and Adam enlarge a difference a hundredfold in
    two steps: in float32 two runs are 0.1 apart before the first event, whatever is averaged.
    """

    priority = 'VERY_HIGH'  # before EMAHook makes its copy

    def before_run(self, runner: Runner) -> None:
        bare_model(runner).double()


@HOOKS.register_module()
class Kill(Hook):
    """Lets every unit in a module die right before an event."""

    priority = 39  # SearchHook has 40

    def __init__(self, name: str, epoch: int) -> None:
        self.name = name
        self.epoch = epoch

    def after_train_epoch(self, runner: Runner) -> None:
        if runner.epoch + 1 == self.epoch:
            for model in (bare_model(runner), *(ema.module for ema in averaged_models(runner))):
                for name, owner in find_owners(model).items():
                    if name.startswith(self.name):
                        owner.unit_bn.weight.data.zero_()


@HOOKS.register_module()
class Fingerprint(Hook):
    """Hashes what every rank must hold alike: all after an event, else all but BN statistics.

    Of these a rank has its own until the next event, and so has its EMA with ``update_buffers``.
    """

    priority = 'LOWEST'

    def before_train(self, runner: Runner) -> None:
        self.found: list[tuple] = []

    def after_train_epoch(self, runner: Runner) -> None:
        state = RunState.of(runner)
        epoch = runner.epoch + 1
        kinds = [event['kind'] for event in state.ticket.events if event['t'] == epoch]
        digest = hashlib.sha256()
        for model in (bare_model(runner), *(ema.module for ema in averaged_models(runner))):
            tensors = model.state_dict() if kinds else dict(model.named_parameters())
            for name, tensor in tensors.items():
                digest.update(name.encode() + tensor.detach().numpy().tobytes())
        for tensors in (state.masks.keep, *state.masks.latent):
            for name, tensor in tensors.items():
                digest.update(name.encode() + tensor.numpy().tobytes())
        self.found.append((epoch, kinds, digest.hexdigest()))

    def after_train(self, runner: Runner) -> None:
        torch.save(self.found, Path(runner.work_dir, f'found{get_dist_info()[0]}'))


@HOOKS.register_module()
class ScaleGradients(Hook):
    """Saves the gradient of every unit's scale as the optimizer finds it."""

    def before_train(self, runner: Runner) -> None:
        self.steps: list[dict[str, Tensor]] = []
        owners = find_owners(bare_model(runner))
        runner.optim_wrapper.optimizer.register_step_pre_hook(
            lambda *_: self.steps.append(
                {name: owner.unit_bn.weight.grad.clone() for name, owner in owners.items()}
            )
        )

    def after_train(self, runner: Runner) -> None:
        torch.save(self.steps, Path(runner.work_dir, f'gradients{get_dist_info()[0]}'))


def _free_port() -> int:
    with socket.socket() as free:
        free.bind(('localhost', 0))
        return free.getsockname()[1]


def _run(command: list, folder: Path) -> str:
    """Run a program, and return what it printed."""
    done = subprocess.run(
        [sys.executable, '-m', *command],
        cwd=folder,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, (done.stdout + done.stderr)[-3000:]
    return done.stdout


def _on_ranks(config: Config) -> None:
    """Turn the config of one process into that of two, on the same global batches."""
    config.launcher = 'pytorch'
    config.env_cfg.dist_cfg.backend = 'gloo'
    config.train_dataloader.batch_size //= RANKS


def _torchrun(folder: Path, *configs: Config) -> None:
    """Train each config on two ranks; the hooks above leave what they found in the work dir."""
    names = [f'config{index}.py' for index in range(len(configs))]
    for name, config in zip(names, configs, strict=True):
        _on_ranks(config)
        config.dump(folder / name)
    launch = ['torch.distributed.run', f'--nproc_per_node={RANKS}', f'--master_port={_free_port()}']
    _run([*launch, __file__, *names], folder)


def _of_ranks(work_dir: Path, name: str) -> list:
    return [torch.load(work_dir / f'{name}{rank}', weights_only=True) for rank in range(RANKS)]


def _assert_close(ours: dict[str, Tensor], theirs: dict[str, Tensor], where: str) -> None:
    assert ours.keys() == theirs.keys()
    for name, tensor in theirs.items():
        torch.testing.assert_close(
            ours[name], tensor, rtol=1e-6, atol=1e-6, msg=lambda m, n=name: f'{where} {n}: {m}'
        )


@pytest.mark.slow
@pytest.mark.parametrize(
    ('update_buffers', 'killed', 'target', 'straight_through'),
    [
        (True, None, dict(macs='80%'), None),
        (False, BRANCH, None, None),
        (True, None, PARAMS, 'soft'),
    ],
    ids=[
        'EMA of buffers, a target',
        'a branch dies',
        'masked weights learn, units cost parameters and are reaped',
    ],
)
def test_ranks_equal_one_process(
    update_buffers: bool,
    killed: str | None,
    target: dict | None,
    straight_through: str | None,
    tiny_config: Callable[..., Config],
    tmp_path: Path,
) -> None:
    work_dirs = tmp_path / 'one', tmp_path / 'ranks'
    for work_dir in work_dirs:
        config = tiny_config(
            work_dir,
            ema=dict(update_buffers=update_buffers),
            search=dict(
                interval=EVENT,
                warmup=2,
                target=target,
                cost='params' if target == PARAMS else 'macs',
            ),
            prune=dict(
                interval=EVENT // 2, step=0.45, end=EVENT, straight_through=straight_through
            ),
            reactivate=None if straight_through else {},
            train_cfg=dict(max_epochs=END, val_interval=END + 1),
            default_hooks=dict(checkpoint=dict(interval=EVENT)),
        )
        config.param_scheduler[0].total_steps = END
        if killed:
            config.custom_hooks.append(dict(type='Kill', name=killed, epoch=EVENT))
        if straight_through:
            config.custom_hooks.append(dict(type='ReapHook'))
        config.custom_hooks += [dict(type='Double'), dict(type='Fingerprint')]
        if work_dir.name == 'ranks':
            _torchrun(tmp_path, config)
        else:
            config.model.backbone.norm_cfg.type = config.model.neck.norm_cfg.type = 'GhostBN'
            Runner.from_cfg(config).train()

    first, second = _of_ranks(work_dirs[1], 'found')
    assert first == second
    assert {epoch: kinds for epoch, kinds, _ in first if kinds} == {
        EVENT // 2: ['prune'],
        EVENT: ['search', 'prune', 'reap']
        if straight_through
        else ['search', 'reactivate', 'prune'],
    }
    for epoch in (EVENT, END):
        one, ranks = (load_checkpoint(folder / f'epoch_{epoch}.pth') for folder in work_dirs)
        ticket, theirs = ranks['meta']['ticket'], one['meta']['ticket']
        assert ticket['units'] == theirs['units']
        assert sum(event.get('removed', 0) for event in ticket['events']) > 0
        if killed:
            assert not any(ticket['units'][f'{killed}.0'].values())
        for name, mask in theirs['masks'].items():
            assert torch.equal(ticket['masks'][name]['bits'], mask['bits']), name
        for weights in ('state_dict', 'ema_state_dict'):
            ours, theirs = ranks[weights], one[weights]
            if epoch == END:  # rank 0 saves statistics of its own
                ours, theirs = (
                    {name: t for name, t in state.items() if 'running' not in name}
                    for state in (ours, theirs)
                )
            _assert_close(ours, theirs, f'{weights} at epoch {epoch}')


@pytest.mark.slow
def test_penalty_gradient(tiny_config: Callable[..., Config], tmp_path: Path) -> None:
    """The mean over ranks has the penalty once; see also tests/hooks/test_penalty_gradient.py."""
    configs = {}
    for counts, rho in itertools.product((1, 3), (0.0, RHO)):  # 4 iterations: 3 + 1
        config = tiny_config(
            tmp_path / f'{counts}-{rho}',
            search=dict(rho=rho, warmup=0, interval=100),
            prune=None,
            reactivate=None,
            ema=None,
            train_cfg=dict(max_epochs=2, val_interval=10),
            optim_wrapper=dict(
                _delete_=True,
                type='OptimWrapper',
                optimizer=dict(type='SGD', lr=0.0),  # the same weights in both runs
                accumulative_counts=counts,
            ),
            param_scheduler=[dict(type='ConstantLR', factor=1.0)],
        )
        config.custom_hooks.append(dict(type='ScaleGradients'))
        configs[counts, rho] = config
    _torchrun(tmp_path, *configs.values())
    model = MODELS.build({**config.model, '_scope_': 'mmseg'})
    costs = unit_costs(find_owners(model), input_sizes(model, (3, 64, 128)))
    for counts, steps in ((1, 4), (3, 2)):
        without, _ = _of_ranks(tmp_path / f'{counts}-0.0', 'gradients')
        first, second = _of_ranks(tmp_path / f'{counts}-{RHO}', 'gradients')
        assert len(without) == len(first) == len(second) == steps
        for before, ours, theirs in zip(without, first, second, strict=True):
            for name, cost in costs.items():
                expected = before[name] + RHO * cost.float()  # a scale is 1 in the beginning
                torch.testing.assert_close(ours[name], expected, rtol=1e-5, atol=1e-7)
                assert torch.equal(ours[name], theirs[name])


@pytest.mark.slow
def test_resuming_a_searched_ticket(
    tiny_config: Callable[..., Config], ticket_run: Path, tmp_path: Path
) -> None:
    """The distributed wrapper is built before the checkpoint brings its shapes."""
    config = tiny_config(tmp_path / 'run', resume=True)
    config.load_from = str(ticket_run / 'epoch_3.pth')
    config.custom_hooks.append(dict(type='Fingerprint'))
    _torchrun(tmp_path, config)
    first, second = _of_ranks(tmp_path / 'run', 'found')
    assert [epoch for epoch, *_ in first] == [4, 5, 6]
    assert first == second


@pytest.mark.slow
def test_command_line(tiny_config: Callable[..., Config], tmp_path: Path) -> None:
    """``mim train`` launches the ranks, on a CPU too, if the config says gloo."""
    config = tiny_config(
        tmp_path / 'unused',
        search=dict(interval=1),
        prune=dict(interval=1, step=0.9, end=1),
        train_cfg=dict(max_epochs=2, val_interval=2),
        log_level='INFO',
    )
    config.param_scheduler[0].total_steps = 2
    _on_ranks(config)
    config.launcher = 'none'  # the option of the tool has to do
    config.dump(tmp_path / 'config.py')
    launch = ['--launcher', 'pytorch', '--gpus', str(RANKS), '--port', str(_free_port())]
    printed = _run(['mim', 'train', 'mmseg', 'config.py', *launch, '--work-dir', 'run'], tmp_path)
    assert 'torch.distributed.launch' in printed
    [log] = (tmp_path / 'run').glob('*/*.log')
    assert f'GPU number: {RANKS}' in log.read_text()
    saved = load_checkpoint(tmp_path / 'run' / 'epoch_2.pth')
    kinds = {event['kind'] for event in saved['meta']['ticket']['events']}
    assert {'search', 'prune'} <= kinds


if __name__ == '__main__':
    for path in sys.argv[1:]:
        Runner.from_cfg(Config.fromfile(path)).train()

"""Private members of mmengine's Runner and FlexibleRunner: each is read in this file alone.

Each other private member that st_mm uses has one place too: the fixes in :mod:`st_mm.compat`,
``_params_init_info`` in :mod:`st_mm.models.init`, the hooks of registration
and of loading in
:mod:`st_mm.units.stock`, the dtype detour in :func:`st_mm.units.loading.set_data`, and torch's
``_foreach_*`` in :mod:`st_mm.optim.rmsprop`, :mod:`st_mm.prune.masks` and
:mod:`st_mm.prune.straight_through`.
``tests/test_contract.py`` names them all: a new mmengine or torch fails there first.
"""

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from mmengine.model import BaseAveragedModel
from mmengine.runner import Runner
from mmengine.runner.base_loop import BaseLoop
from mmengine.visualization import BaseVisBackend, LocalVisBackend, Visualizer
from torch import nn
from torch.distributed.fsdp import FullyShardedDataParallel
from torch.utils import checkpoint as checkpointing


def load_from(runner: Runner) -> str | None:
    """Return the checkpoint that a run is to load, or to resume from."""
    # FlexibleRunner takes a path for resume too
    path: str | None = runner._resume if isinstance(runner._resume, str) else runner._load_from
    return path


def is_to_resume(runner: Runner) -> bool:
    """Tell whether a run was told to resume, even if there is no checkpoint."""
    return bool(runner._resume)


def has_loaded(runner: Runner) -> bool:
    """Tell whether a run has loaded a checkpoint."""
    return bool(runner._has_loaded)


def resumed(runner: Runner) -> bool:
    """Tell whether a training continues; without a checkpoint to resume from it begins."""
    return is_to_resume(runner) and has_loaded(runner)


def is_training(runner: Runner) -> bool:
    """Tell whether a run trains: its loop is a dict until ``Runner.train`` builds it."""
    return isinstance(runner._train_loop, BaseLoop)


def compile_step(runner: Runner) -> None:
    """Compile the training step again, as the config says."""
    strategy = getattr(runner, 'strategy', None)
    if strategy is None:
        runner._maybe_compile('train_step')
        return
    options = runner._compile if isinstance(runner._compile, dict) else {}
    strategy.compile_model(runner.model, {'target': 'train_step', **options})


def refresh_average(average: BaseAveragedModel) -> None:
    """Make an averaged model find its tensors again, after shapes have changed.

    With ``update_buffers`` it keeps a ``state_dict`` from its start, whose tensors do not follow
    the parameters (``mmengine/model/averaged_model.py``).
    """
    if average.update_buffers:
        average.avg_parameters = average.module.state_dict()


def vis_backends(visualizer: Visualizer) -> Iterable[BaseVisBackend]:
    """The backends that a visualizer writes to."""
    return list(visualizer._vis_backends.values())


def local_folder(backend: BaseVisBackend) -> Path | None:
    """The folder of the backend that writes ``scalars.json``; None for another backend."""
    return Path(backend._save_dir) if isinstance(backend, LocalVisBackend) else None


@contextmanager
def checkpoints_for_grad() -> Iterator[None]:
    """Let ``torch.autograd.grad`` go through what a model recomputes (gradient checkpointing).

    The reentrant kind refuses that; it is computed as the other kind meanwhile, however the model
    has imported ``checkpoint``.
    """
    with _replaced('CheckpointFunction', _NotReentrant):
        yield


class _NotReentrant:
    @staticmethod
    def apply(function: Callable[..., Any], preserve: bool, *args: Any) -> Any:
        return checkpointing.checkpoint(
            function, *args, use_reentrant=False, preserve_rng_state=preserve
        )


@contextmanager
def without_checkpoints() -> Iterator[None]:
    """Let a model keep what it would recompute: a mode of torch functions ends before backward."""
    with (
        _replaced('CheckpointFunction', _Inline),
        _replaced(_NOT_REENTRANT, _nothing_around),
    ):
        yield


_NOT_REENTRANT = '_checkpoint_without_reentrant_generator'
if hasattr(checkpointing, f'{_NOT_REENTRANT}_impl'):
    _NOT_REENTRANT += '_impl'  # torch from 2.14 on; the other name stays there, unused


class _Inline:
    @staticmethod
    def apply(function: Callable[..., Any], preserve: bool, *args: Any) -> Any:
        return function(*args)


def _nothing_around(*_: Any, **__: Any) -> Iterator[None]:
    yield  # between what torch does before a forward and after it


@contextmanager
def _replaced(name: str, stand_in: Any) -> Iterator[None]:
    """Replace a global name of ``torch.utils.checkpoint``, which ``checkpoint`` looks up there."""
    original = getattr(checkpointing, name)
    setattr(checkpointing, name, stand_in)
    try:
        yield
    finally:
        setattr(checkpointing, name, original)


def wrap_anew(runner: Runner, model: nn.Module) -> nn.Module:
    """Build the distributed wrapper of a run again; that of a FlexibleRunner by its strategy."""
    strategy = getattr(runner, 'strategy', None)
    if strategy is None:
        wrapped: nn.Module = runner.wrap_model(runner.cfg.get('model_wrapper_cfg'), model)
        return wrapped
    strategy.model = None  # it holds the old reducer as well
    strategy.model = wrapped = strategy._wrap_model(model)
    return wrapped


def shards(runner: Runner) -> str | None:
    """What splits single parameters over ranks in a run, by name; None if nothing does."""
    for module in runner.model.modules():
        if isinstance(module, FullyShardedDataParallel):
            return type(module).__name__
    strategy: Any = getattr(runner, 'strategy', None)
    names = [cls.__name__ for cls in type(strategy).__mro__]
    if 'DeepSpeedStrategy' in names:
        stage = strategy.config.get('zero_optimization', {}).get('stage', 0)
        return f'DeepSpeed ZeRO-{stage}' if stage == 3 else None
    found = [name for name in names if name in ('FSDPStrategy', 'ColossalAIStrategy')]
    return found[0] if found else None

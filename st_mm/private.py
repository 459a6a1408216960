"""Private members of mmengine's Runner: each is read in this file alone.

Each other private member that st_mm uses has one place too: the fixes in :mod:`st_mm.compat`,
``_params_init_info`` in :mod:`st_mm.models.init`, the registration hook in
:mod:`st_mm.units.stock`, the dtype detour in :func:`st_mm.units.loading.set_data`, and torch's
``_foreach_*`` in :mod:`st_mm.optim.rmsprop` and :mod:`st_mm.prune.masks`.
``tests/test_contract.py`` names them all: a new mmengine or torch fails there first.
"""

from mmengine.model import BaseAveragedModel
from mmengine.runner import Runner
from mmengine.runner.base_loop import BaseLoop


def load_from(runner: Runner) -> str | None:
    """Return the checkpoint that a run is to load, or to resume from."""
    path: str | None = runner._load_from
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
    runner._maybe_compile('train_step')


def refresh_average(average: BaseAveragedModel) -> None:
    """Make an averaged model find its tensors again, after shapes have changed.

    With ``update_buffers`` it keeps a ``state_dict`` from its start, whose tensors do not follow
    the parameters (``mmengine/model/averaged_model.py``).
    """
    if average.update_buffers:
        average.avg_parameters = average.module.state_dict()

"""What mmengine's Runner does not tell in public: each private member is read in this file alone.

The others that st_mm touches have one place each as well: the fixes in :mod:`st_mm.compat`,
``_params_init_info`` in :mod:`st_mm.models.init`, the registration hook in
:mod:`st_mm.units.stock`, the dtype detour in :func:`st_mm.units.loading.set_data`, and torch's
``_foreach_*`` in :mod:`st_mm.optim.rmsprop` and :mod:`st_mm.prune.masks`.
``tests/test_contract.py`` names them all: a new mmengine or torch fails there first.
"""

from mmengine.model import BaseAveragedModel
from mmengine.runner import Runner
from mmengine.runner.base_loop import BaseLoop


def load_from(runner: Runner) -> str | None:
    """The checkpoint that a run is to load, or to resume from where it resumes."""
    path: str | None = runner._load_from
    return path


def is_to_resume(runner: Runner) -> bool:
    """Whether a run was told to resume, with or without a checkpoint to resume from."""
    return bool(runner._resume)


def has_loaded(runner: Runner) -> bool:
    """Whether a run has loaded a checkpoint."""
    return bool(runner._has_loaded)


def resumed(runner: Runner) -> bool:
    """Whether a training goes on; one that is to resume but finds no checkpoint begins."""
    return is_to_resume(runner) and has_loaded(runner)


def is_training(runner: Runner) -> bool:
    """Whether a run trains: its loop is built when ``Runner.train`` begins, a dict before."""
    return isinstance(runner._train_loop, BaseLoop)


def compile_step(runner: Runner) -> None:
    """Compile the training step anew, as the config says."""
    runner._maybe_compile('train_step')


def refresh_average(average: BaseAveragedModel) -> None:
    """Let an averaged model find its tensors again, after shapes have changed.

    With ``update_buffers`` it holds a ``state_dict`` made once, whose tensors do not follow the
    parameters (``mmengine/model/averaged_model.py``).
    """
    if average.update_buffers:
        average.avg_parameters = average.module.state_dict()

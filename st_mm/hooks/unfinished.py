"""The best score of a training whose schedule has not ended: it may be that of a denser network."""

from collections.abc import Callable
from typing import Any

from mmengine.hooks import CheckpointHook, EarlyStoppingHook, Hook
from mmengine.runner import EpochBasedTrainLoop, Runner


def judges(runner: Runner) -> list[Hook]:
    """The hooks that compare validations: ``save_best`` and early stopping."""
    return [
        hook
        for hook in runner.hooks
        if (isinstance(hook, CheckpointHook) and hook.save_best)
        or isinstance(hook, EarlyStoppingHook)
    ]


def judge_at_target(runner: Runner, at_target: Callable[[], bool]) -> None:
    """Let the hooks that compare validations see those at the target alone.

    Args:
        runner (Runner): The run.
        at_target (Callable): Whether the network is at its target now.
    """
    for hook in judges(runner):
        if 'after_val_epoch' not in vars(hook):  # a second training would do it again
            setattr(hook, 'after_val_epoch', _only(hook.after_val_epoch, at_target))  # noqa: B010


def _only(look: Callable[..., None], at_target: Callable[[], bool]) -> Callable[..., None]:
    def after_val_epoch(runner: Runner, metrics: dict[str, Any] | None = None) -> None:
        if at_target():
            look(runner, metrics)

    return after_val_epoch


def warn_of_best(runner: Runner, last_prune: int | None, by_epoch: bool) -> None:
    """Say that the best checkpoint may be denser than the target, if it may.

    Args:
        runner (Runner): The run, its loops built.
        last_prune (int, optional): Time of the last prune.
        by_epoch (bool): Whether that is in epochs or in iterations.
    """
    found = judges(runner)
    if not found or not last_prune or runner.val_loop is None:
        return
    begin, interval = runner.val_begin, runner.val_interval
    first = max(begin + -begin % interval, interval)
    if isinstance(runner.train_loop, EpochBasedTrainLoop) and not by_epoch:
        first *= len(runner.train_dataloader)
    if first < last_prune:
        runner.logger.warning(
            f'{type(found[0]).__name__} compares validations from {first} on, but the last prune '
            f'is at {last_prune}: the best may be denser than the target. Set best_at_target=True '
            'in the pruning hook, or let validations begin later (val_begin)'
        )

"""Where the averages of the weights stand among the hooks of a run, and how many there are."""

from mmengine.hooks import EMAHook, Hook
from mmengine.runner import Runner, get_priority


def check_averages(runner: Runner, hook: Hook) -> None:
    """Refuse averages that would go wrong, before training.

    An average that is taken before the masks are set to zero is dense, and so are the files, whose
    weights are the average's. Of two averages, mmengine swaps each with the model in turn, for a
    validation and into the file, and the weights in training are lost.

    Args:
        runner (Runner): The run.
        hook (Hook): One of ours.

    Raises:
        ValueError: If there are several, or one works before the hook and belongs after it.
    """
    hooks, normal = runner.hooks, EMAHook.priority
    averages = [other for other in hooks if isinstance(other, EMAHook)]
    if len(averages) > 1:
        kinds = ' and '.join(type(other).__name__ for other in averages)
        raise ValueError(
            f'custom_hooks has {kinds}, {len(averages)} averages of the weights: mmengine swaps '
            'both with the model at a validation and saves both under one key, so that the '
            'weights in training are lost; keep one of them'
        )
    if get_priority(hook.priority) > get_priority(normal):
        return
    for other in averages:
        if hooks.index(other) < hooks.index(hook):
            name = type(hook).__name__
            raise ValueError(
                f'{type(other).__name__} averages at priority {other.priority!r}, before {name} '
                f'({hook.priority}) has set masked weights to zero or removed units, so that the '
                f'tickets would be dense: give it the priority {normal!r}, its default'
            )

"""When the latent weights of straight-through masks stand in the network: to step, to average."""

from collections.abc import Callable
from typing import Any
from weakref import WeakKeyDictionary

from mmengine.hooks import EMAHook
from mmengine.runner import Runner
from torch.optim import Optimizer

from st_mm.prune import StraightThrough

from .run_state import optim_wrapper

_ATTACHED: 'WeakKeyDictionary[Runner, Learning]' = WeakKeyDictionary()


class Learning:
    """Lets the optimizer of a run, and its averages, see latent weights instead of what runs.

    Gradients are those of what runs: the optimizer's step is the only moment of an iteration at
    which the live model holds latent weights, and the update of an average the only one at which
    the average does too. What is evaluated and saved is the average through the masks.

    Args:
        runner (Runner): The run; an earlier training of it is let go.
        through (StraightThrough): What learns; it begins now.

    Raises:
        ValueError: If the optimizer does not tell when it steps.
    """

    def __init__(self, runner: Runner, through: StraightThrough) -> None:
        optimizer = optim_wrapper(runner).optimizer
        if not isinstance(optimizer, Optimizer):
            raise ValueError(
                'straight_through needs an optimizer of torch, whose steps it can follow, and this '
                f'one is a {type(optimizer).__name__}: leave straight_through out'
            )
        if runner in _ATTACHED:
            _ATTACHED[runner].remove()
        self.through = through
        steps = (
            optimizer.register_step_pre_hook(lambda *_: through.lift()),
            optimizer.register_step_post_hook(lambda *_: through.lower()),
        )
        self._undo: list[Callable[[], Any]] = [handle.remove for handle in steps]
        averages = [hook for hook in runner.hooks if isinstance(hook, EMAHook)]
        for index, hook in enumerate(averages, start=1):
            self._follow(hook, index)
        through.hold()
        _ATTACHED[runner] = self

    def remove(self) -> None:
        """Leave the optimizer and the averages alone again."""
        for undo in self._undo:
            undo()
        self._undo = []

    def _follow(self, hook: EMAHook, index: int) -> None:
        update, through = hook.after_train_iter, self.through

        def after_train_iter(*args: Any, **kwargs: Any) -> None:
            through.lift()
            through.lift(index)
            update(*args, **kwargs)
            through.lower(index)
            through.lower()

        vars(hook)['after_train_iter'] = after_train_iter
        self._undo.append(lambda: vars(hook).pop('after_train_iter'))

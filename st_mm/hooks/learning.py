"""When the latent weights of straight-through masks stand in the network: to step."""

from weakref import WeakKeyDictionary

from mmengine.runner import Runner
from torch.optim import Optimizer

from st_mm.prune import StraightThrough

from .run_state import optim_wrapper

_ATTACHED: 'WeakKeyDictionary[Runner, Learning]' = WeakKeyDictionary()


class Learning:
    """Lets the optimizer of a run see latent weights instead of what runs.

    Gradients are those of what runs: the optimizer's step is the only moment of an iteration at
    which the model holds latent weights. What is averaged, evaluated and saved is what runs.

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
        self._handles = (
            optimizer.register_step_pre_hook(lambda *_: through.lift()),
            optimizer.register_step_post_hook(lambda *_: through.lower()),
        )
        through.hold()
        _ATTACHED[runner] = self

    def remove(self) -> None:
        """Leave the optimizer alone again."""
        for handle in self._handles:
            handle.remove()

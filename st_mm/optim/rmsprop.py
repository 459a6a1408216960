"""RMSprop with eps inside the root, as in the published ImageNet recipe."""

from collections import defaultdict
from collections.abc import Callable, Iterable
from math import inf
from typing import Any

import torch
from mmengine.registry import OPTIMIZERS
from torch import Tensor
from torch.optim import Optimizer

from st_mm.arguments import number

# what a group may set for itself, and its range [lower bound, upper bound)
BOUNDS = dict(lr=(0, inf), alpha=(0, 1), eps=(0, inf), momentum=(0, 1), weight_decay=(0, inf))


@OPTIMIZERS.register_module()
class RMSpropEpsInRoot(Optimizer):
    """RMSprop that divides by ``sqrt(square_avg + eps)``, as TensorFlow's does.

    ``torch.optim.RMSprop`` divides by ``sqrt(square_avg) + eps``. With the published eps of 1e-3
    and gradients of 1e-3, its steps are sixteen times as long. With the gradient g of a weight w::

        g = g + weight_decay * w
        square_avg = alpha * square_avg + (1 - alpha) * g ** 2
        momentum_buffer = momentum * momentum_buffer + g / sqrt(square_avg + eps)
        w = w - lr * momentum_buffer

    This is the optimizer of the ImageNet recipes of AtomNAS, HR-NAS and SuperTickets. Its state has
    the shapes of its parameters, so it can be cut with a network that shrinks in training.

    Args:
        params (Iterable): Parameters, or dicts of groups of them.
        lr (float): Learning rate. Defaults to 0.016.
        alpha (float): Decay of the running mean of squares. Defaults to 0.9.
        eps (float): Number that is added to that mean, above 0. Defaults to 1e-3.
        momentum (float): Momentum; 0 for none. Defaults to 0.9.
        weight_decay (float): Decay, added to the gradient (an L2 term). Defaults to 0.

    Raises:
        ValueError: If an argument, or one of a group, is out of its range.
    """

    def __init__(
        self,
        params: Iterable[Tensor] | Iterable[dict[str, Any]],
        lr: float = 0.016,
        alpha: float = 0.9,
        eps: float = 1e-3,
        momentum: float = 0.9,
        weight_decay: float = 0,
    ) -> None:
        defaults = dict(lr=lr, alpha=alpha, eps=eps, momentum=momentum, weight_decay=weight_decay)
        super().__init__(params, defaults)

    def add_param_group(self, param_group: dict[str, Any]) -> None:
        """Add a group of parameters.

        Args:
            param_group (dict): ``params``, and settings that differ from the defaults.

        Raises:
            ValueError: If an argument is out of its range.
        """
        for name, (low, high) in BOUNDS.items():
            value = param_group.get(name, self.defaults[name])
            below = None if high == inf else high
            number(name, value, least=None if name == 'eps' else low, below=below)
            if name == 'eps' and value <= 0:
                raise ValueError(
                    f'eps must be above 0, got {value!r}: a weight without gradients divides by it'
                )
        super().add_param_group(param_group)

    @torch.no_grad()
    def step(self, closure: Callable[[], Any] | None = None) -> Any:
        """Take one step.

        Args:
            closure (Callable, optional): Computes the loss and its gradients anew.

        Returns:
            The loss of ``closure``, if there is one.

        Raises:
            TypeError: If a gradient is sparse or complex; then no weight has changed.
        """
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        # mm makes a group of each parameter; groups with the same settings are updated together
        batches: dict[tuple[float, ...], list[Tensor]] = defaultdict(list)
        for group in self.param_groups:
            with_gradient = [p for p in group['params'] if p.grad is not None]
            for p in with_gradient:
                if p.grad.layout is not torch.strided or p.grad.is_complex():
                    raise TypeError(
                        'RMSpropEpsInRoot takes dense real gradients, but a parameter of shape '
                        f'{tuple(p.shape)} has one of {p.grad.layout}, {p.grad.dtype}: train it '
                        'with another optimizer, or without sparse=True'
                    )
            batches[tuple(group[name] for name in BOUNDS)] += with_gradient
        for settings, params in batches.items():
            if params:
                self._update(params, *settings)
        return loss

    def _update(
        self,
        params: list[Tensor],
        lr: float,
        alpha: float,
        eps: float,
        momentum: float,
        weight_decay: float,
    ) -> None:
        gradients = [p.grad for p in params if p.grad is not None]
        if weight_decay:
            gradients = list(torch._foreach_add(gradients, params, alpha=weight_decay))
        squares = self._state_of(params, 'square_avg')
        torch._foreach_mul_(squares, alpha)
        torch._foreach_addcmul_(squares, gradients, gradients, 1 - alpha)
        roots = torch._foreach_add(squares, eps)
        torch._foreach_sqrt_(roots)
        if momentum:
            buffers = self._state_of(params, 'momentum_buffer')
            torch._foreach_mul_(buffers, momentum)
            torch._foreach_addcdiv_(buffers, gradients, roots)
            torch._foreach_add_(params, buffers, alpha=-lr)
        else:
            torch._foreach_addcdiv_(params, gradients, roots, -lr)

    def _state_of(self, params: list[Tensor], key: str) -> list[Tensor]:
        """Return the state tensors of the parameters; zeros at first."""
        states = [self.state[p] for p in params]
        for p, state in zip(params, states, strict=True):
            if key not in state:
                state[key] = torch.zeros_like(p)
        return [state[key] for state in states]

"""The resource-aware L1 penalty on the importance of search units (paper Section 3.1)."""

from collections.abc import Callable, Collection, Mapping
from typing import NamedTuple

import torch
from torch import Tensor
from torch.utils.hooks import RemovableHandle

from st_mm.units.owner import UnitOwner

from .importance import importance


def penalty(owners: Mapping[str, UnitOwner], costs: Mapping[str, Tensor], rho: float) -> Tensor:
    """Compute the penalty: ``rho * sum over units of cost * |r|``.

    Args:
        owners (Mapping[str, UnitOwner]): The owners of the units.
        costs (Mapping[str, Tensor]): (units,) cost per owner.
        rho (float): Strength.

    Returns:
        Tensor: A float64 scalar on the CPU.
    """
    total = torch.zeros((), dtype=torch.float64)
    for name, owner in owners.items():
        total += (importance(owner).cpu().double() * costs[name]).sum()
    return rho * total


def ramp(progress: float, warmup: float) -> float:
    """Compute the share of the full strength: it rises from 0, and is 1 from ``warmup`` on.

    The published recipes rise over 25 epochs.

    Args:
        progress (float): Epochs (or iterations) that are done.
        warmup (float): Length of the ramp, in the same unit; 0 for none.
    """
    return 1.0 if progress >= warmup else progress / warmup


class Limit(NamedTuple):
    """How far one step may take a scale.

    Attributes:
        whole (float | Tensor): The gradient that brings a scale from 1 to zero, in one step or, by
            momentum, after some.
        most (float): The largest part of that way at once.
        carried (Tensor, optional): (units,) the gradient of what momentum does anyway. Defaults to
            None: there is none.
    """

    whole: float | Tensor
    most: float
    carried: Tensor | None = None

    def hold(self, pull: Tensor, scale: Tensor, sign: Tensor) -> Tensor:
        """Hold a penalty's gradient back.

        Where momentum alone would carry a scale through zero, it brakes: no harder than the penalty
        would pull on the other side.

        Args:
            pull (Tensor): (units,) the gradient, towards zero.
            scale (Tensor): (units,) the scales.
            sign (Tensor): (units,) their signs.

        Returns:
            Tensor: (units,) what is left of it, between its negative and itself.
        """
        left = scale.abs() * self.whole
        if self.carried is not None:
            left = left - sign * self.carried
        return torch.minimum(pull, left.clamp(max=self.most * self.whole)).maximum(-pull)


class PenaltyGradient:
    """Adds the penalty's gradient to that of the norm scales, inside the backward pass.

    The sum is what autograd would give for ``loss + penalty``, but the loss has no such term. The
    sum is complete before gradients are reduced over ranks or clipped.

    Args:
        owners (Mapping[str, UnitOwner]): The owners of the units.
        costs (Mapping[str, Tensor]): (units,) cost per owner.

    Attributes:
        strength (float | Tensor): rho, scaled as the loss is scaled (accumulation, AMP). A scalar
            tensor stays on its device. Starts at 0.
        longest (Mapping[str, Limit]): By owner, how far one step may take a scale. Where given, the
            penalty neither pushes a scale through zero, by momentum either, nor takes it farther at
            once, so that a strong pull does not make scales oscillate. Starts empty: no limit.
    """

    def __init__(self, owners: Mapping[str, UnitOwner], costs: Mapping[str, Tensor]) -> None:
        self.strength: float | Tensor = 0.0
        self.longest: Mapping[str, Limit] = {}
        self._owners = owners
        self._handles: dict[str, RemovableHandle] = {}
        self.update(costs)

    def update(self, costs: Mapping[str, Tensor]) -> None:
        """Take other costs, after units were removed, or begin or stop to take part.

        Args:
            costs (Mapping[str, Tensor]): (units,) cost per owner; owners without have no penalty.
        """
        self._costs = {
            name: costs[name].to(owner.unit_bn.weight)
            for name, owner in self._owners.items()
            if name in costs
        }
        self._remove(self._handles.keys() - self._costs.keys())
        for name in self._costs:
            scale = self._owners[name].unit_bn.weight
            if name not in self._handles and scale.requires_grad:
                self._handles[name] = scale.register_hook(self._hook(name))

    def remove(self) -> None:
        """Leave the parameters alone again."""
        self._remove(set(self._handles))

    def _remove(self, names: Collection[str]) -> None:
        for name in names:
            self._handles.pop(name).remove()

    def _hook(self, name: str) -> Callable[[Tensor], Tensor]:
        scale = self._owners[name].unit_bn.weight

        def add(gradient: Tensor) -> Tensor:
            cost, sign, strength = self._costs[name], scale.detach().sign(), self.strength
            if name in self.longest:
                pull = self.longest[name].hold(cost * strength, scale.detach(), sign)
                return gradient.addcmul(pull, sign)
            if isinstance(strength, Tensor):
                return gradient.addcmul(cost * sign, strength)
            return gradient.addcmul(cost, sign, value=strength) if strength else gradient

        return add

"""Straight-through masks: masked weights go on learning under their masks."""

from collections.abc import Iterable

import torch
from torch import Tensor

from .masks import Masks


class StraightThrough:
    """Lets masked weights learn at every step.

    The method is ST-3 (Vanderschueren and De Vleeschouwer, WACV 2023), without its rescaling of
    channels, which a batch norm would undo. What runs is masked, ``w * keep``; with ``soft`` the
    kept weights lose a size t as well, ``sign(w) * max(|w| - t, 0) * keep``, so that a weight
    enters and leaves near zero. t is that of the largest masked weight of the tensor when the masks
    are chosen, or of the smallest kept one if that is less. The gradient of what runs moves the
    latent weights w, masked or not, as if nothing stood between the two.

    The parameters hold what runs. Only for the optimizer step and the choice of new masks they hold
    the latent weights: :meth:`lift` before, :meth:`lower` after. Meanwhile ``masks.latent`` has the
    latent values of whole tensors for the live model, not of masked weights alone. Copies (EMA) are
    averages of what runs, and masked as any copy is: under a mask a weight of theirs stands still,
    and goes on from there when it comes back.

    Args:
        masks (Masks): The masks.
        names (Iterable[str]): Weights that learn while they are masked.
        soft (bool): Whether the kept weights are softened. Defaults to False.
    """

    def __init__(self, masks: Masks, names: Iterable[str], soft: bool = False) -> None:
        self.masks = masks
        self.names = frozenset(names)
        self.soft = soft

    @property
    def held(self) -> list[str]:
        """Those of the weights that have masks now."""
        return [name for name in self.masks.keep if name in self.names]

    @torch.no_grad()
    def hold(self) -> None:
        """Begin to learn, after the masks have been chosen or loaded.

        Thresholds that the masks know already, those of a resumed training, stay; then so are the
        latent weights those of whole tensors.
        """
        masks, latent = self.masks, self.masks.latent[0]
        held = self.held
        for name in held:
            if name in masks.thresholds:
                continue
            kept = masks.keep[name] != 0
            latent[name] = torch.where(kept, masks.known[name].data, latent[name])
            if self.soft:
                masks.thresholds[name] = _threshold(latent[name].abs(), kept)
        if held:
            self._run(held)

    def release(self) -> None:
        """Give all weights their latent values, and take their masks off: before a new choice."""
        self.lift()
        self.masks.free(self.held)

    @torch.no_grad()
    def lift(self) -> None:
        """Put the latent weights in the place of what runs."""
        if held := self.held:
            _copy(self._weights(held), self._latent(held))

    @torch.no_grad()
    def lower(self) -> None:
        """Keep the latent weights, and put what runs in their place."""
        if held := self.held:
            _copy(self._latent(held), self._weights(held))
            self._run(held)

    def _run(self, held: list[str]) -> None:
        """Make what runs of latent weights, of which there is at least one."""
        masks, weights, latent = self.masks, self._weights(held), self._latent(held)
        if self.soft:
            limits = [masks.thresholds[name] for name in held]
            lost = torch._foreach_clamp_max(latent, limits)
            torch._foreach_clamp_min_(lost, [-limit for limit in limits])
            _copy(weights, latent)
            torch._foreach_sub_(weights, lost)
        torch._foreach_mul_(weights, [masks.keep[name] for name in held])

    def _weights(self, names: list[str]) -> list[Tensor]:
        return [self.masks.known[name].data for name in names]

    def _latent(self, names: list[str]) -> list[Tensor]:
        return [self.masks.latent[0][name] for name in names]


def _threshold(sizes: Tensor, kept: Tensor) -> float:
    """The size up to which weights are masked; less if a kept one would be lost."""
    if kept.all():
        return 0.0
    largest = sizes[~kept].max()
    return float(torch.minimum(largest, sizes[kept].min()) if kept.any() else largest)


def _copy(ours: list[Tensor], theirs: list[Tensor]) -> None:
    if hasattr(torch, '_foreach_copy_'):
        torch._foreach_copy_(ours, theirs)
        return
    torch._foreach_zero_(ours)  # torch 2.1
    torch._foreach_add_(ours, theirs)

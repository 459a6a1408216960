"""Patterns: which weights of a pool are masked, if some can only be masked together."""

import math
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, NamedTuple

import torch
from mmengine.registry import Registry
from torch import Tensor

from st_mm.arguments import integer, is_integer

from .registry import build

NOISE = 1e-12  # relative; schedules round to twelve places


def count(ratio: float, total: float) -> int:
    """Compute how many of ``total`` weights a ratio drops: int(ratio * total), as published.

    A product that differs from an integer only by rounding is that integer: 0.29 * 100 counts as
    29, although in floating point it is a little less.
    """
    product = ratio * total
    nearest = round(product)
    return nearest if math.isclose(product, nearest, rel_tol=NOISE) else int(product)


class Order(NamedTuple):
    """In which order the weights of a tensor go; tensors of (out, in of a group, *kernel).

    Masked weights are dropped first, from the smallest latent value up; then the others, from the
    lowest score up.
    """

    score: Tensor
    latent: Tensor  # size of the latent value of a masked weight
    masked: Tensor  # bool
    least: int = 0  # weights that must stay in each output channel

    @property
    def value(self) -> Tensor:
        """Return the latent values of masked weights, and the scores of the others."""
        return torch.where(self.masked, self.latent, self.score)

    def divided(self, size: float) -> 'Order':
        """Return the order of scores and latent values that are divided by a size."""
        # in float64, as a quotient of half precision may be infinite
        score, latent = self.score.double() / size, self.latent.double() / size
        return self._replace(score=score, latent=latent)

    def may_go(self) -> Tensor:
        """Mark what may be dropped: all but the last ``least`` of each output channel."""
        if not self.least or not self.score.numel():
            return torch.ones_like(self.masked)
        value, masked = (t.reshape(len(t), -1) for t in (self.value, self.masked))
        places = _sorted(value, masked, 1).argsort(1)
        return (places < value.shape[1] - self.least).view(self.masked.shape)


def _sorted(value: Tensor, masked: Tensor, dim: int) -> Tensor:
    """Sort indices along a dim in the order of dropping; equal values by index."""
    by_value = value.argsort(stable=True, dim=dim)
    masked_first = (~masked).gather(dim, by_value).byte().argsort(stable=True, dim=dim)
    return by_value.gather(dim, masked_first)


class Pattern:
    """Base of the patterns.

    Attributes:
        uniform (bool): Whether all weights lose the same share in every scope.
    """

    uniform: ClassVar[bool] = False

    def fits(self, shape: Sequence[int]) -> bool:
        """Check whether a weight of this shape takes part; others stay dense."""
        return True

    def check(self, ratio: float) -> None:
        """Make sure that pruning can end at a ratio.

        Args:
            ratio (float): The final ratio of a schedule or of a rule.

        Raises:
            ValueError: If it cannot.
        """

    def keep(self, pool: Mapping[str, Order], k: int) -> dict[str, Tensor]:
        """Drop the lowest k weights of a pool.

        Args:
            pool (Mapping[str, Order]): The order of each weight, by name; not empty.
            k (int): Number of weights to drop.

        Returns:
            dict[str, Tensor]: Bool masks of the weights' shapes by name, True for what stays.

        Raises:
            ValueError: If so many cannot be dropped.
        """
        raise NotImplementedError


class Unstructured(Pattern):
    """Drops single weights: all up to the k-th, equal ones too (the published threshold)."""

    def keep(self, pool: Mapping[str, Order], k: int) -> dict[str, Tensor]:
        """See :meth:`Pattern.keep`."""
        value, masked, may_go = _flatten(pool.values())
        _check_least(pool, k, int(may_go.sum()))
        first, rest = may_go & masked, may_go & ~masked
        among_first = min(k, int(first.sum()))
        drop = _up_to(value, first, among_first) | _up_to(value, rest, k - among_first)
        return _split(~drop, pool)


def _flatten(orders: Iterable[Order]) -> list[Tensor]:
    """Concatenate values, masked and what may be dropped, each 1-d over the whole pool."""
    parts = [(order.value, order.masked, order.may_go()) for order in orders]
    return [torch.cat([t.flatten() for t in each]) for each in zip(*parts, strict=True)]


def _split(flat: Tensor, pool: Mapping[str, Order]) -> dict[str, Tensor]:
    """Split a 1-d tensor into the weights of the pool."""
    parts = flat.split([order.score.numel() for order in pool.values()])
    return {
        name: part.view(order.score.shape)
        for part, (name, order) in zip(parts, pool.items(), strict=True)
    }


def _up_to(value: Tensor, among: Tensor, k: int) -> Tensor:
    """Mark the k smallest of some of the values, and all that are equal to the k-th."""
    if k == 0:
        return torch.zeros_like(among)
    # not kthvalue: on CUDA, torch refuses it if only deterministic algorithms are allowed
    return among & (value <= value[among].sort().values[k - 1])


def _check_least(pool: Mapping[str, Order], k: int, may_go: int) -> None:
    """Refuse to drop more than ``min_per_channel`` allows."""
    if k > may_go:
        bound = next(name for name, order in pool.items() if order.least)
        raise ValueError(
            f'{k} of {sum(order.score.numel() for order in pool.values())} weights are to go, but '
            f"min_per_channel (of '{bound}' and {len(pool) - 1} others) allows {may_go}: "
            'lower the ratio or min_per_channel'
        )


def _build(cfg: str | Mapping[str, Any], registry: Registry) -> Pattern:
    if isinstance(cfg, str):
        numbers = re.fullmatch(r'(\d+):(\d+)', cfg)
        if not numbers:
            raise ValueError(f"a pattern must be a dict or a string as '2:4', got {cfg!r}")
        cfg = dict(type='NM', n=int(numbers[1]), m=int(numbers[2]))
    pattern: Pattern = build(cfg, registry)
    return pattern


PATTERNS = Registry('prune pattern', build_func=_build, scope='st_mm')


@PATTERNS.register_module()
@dataclass(frozen=True)
class NM(Pattern):
    """Of every m consecutive input channels, n stay (sparse tensor cores run 2:4 fast).

    Groups are counted at each output channel and kernel position. Weights whose
    input channels are not a multiple of m (depthwise convolutions, an RGB stem) do not take part.
    On the way to the final ratio of 1 - n / m, every group loses int(ratio * m).

    Attributes:
        n (int): Number of weights of a group that stay. Defaults to 2.
        m (int): Number of weights in a group. Defaults to 4.

    Raises:
        ValueError: If n and m are not integers with 0 < n < m.
    """

    n: int = 2
    m: int = 4
    uniform: ClassVar[bool] = True

    def __post_init__(self) -> None:
        if not (is_integer(self.n, 1) and is_integer(self.m, self.n + 1)):
            raise ValueError(
                f'n and m must be integers with 0 < n < m, got {self.n!r} and {self.m!r}'
            )

    def fits(self, shape: Sequence[int]) -> bool:
        """Check whether the number of a weight's input channels is a multiple of m."""
        return len(shape) > 1 and shape[1] % self.m == 0

    def check(self, ratio: float) -> None:
        """Make sure that pruning ends at n of m; see :meth:`Pattern.check`."""
        final = (self.m - self.n) / self.m
        if not math.isclose(ratio, final, rel_tol=NOISE):
            raise ValueError(
                f'the pattern {self.n}:{self.m} ends at a ratio of {final!r}, but the ratio is '
                f'{ratio!r}: set it to {final!r}'
            )

    def keep(self, pool: Mapping[str, Order], k: int) -> dict[str, Tensor]:
        """Drop the same number from each group; see :meth:`Pattern.keep`."""
        groups = sum(order.score.numel() for order in pool.values()) // self.m
        drop = k // max(groups, 1)  # int(ratio * m), since k is int(ratio * m * groups)
        if drop > self.m - self.n:
            raise ValueError(
                f'the pattern {self.n}:{self.m} drops at most {self.m - self.n} of {self.m}, but '
                f'{k} of {groups * self.m} weights are to go: lower the ratio'
            )
        masks = {}
        for name, order in pool.items():
            out, channels, *kernel = order.score.shape
            grouped = (channels // self.m, self.m)
            value, masked = (t.unflatten(1, grouped) for t in (order.value, order.masked))
            masks[name] = (_sorted(value, masked, 2).argsort(2) >= drop).flatten(1, 2)
            stay = math.prod(kernel) * grouped[0] * (self.m - drop)
            least = min(order.least, math.prod(kernel) * channels)
            if out and stay < least:
                raise ValueError(
                    f'the pattern {self.n}:{self.m} leaves {stay} weights in each output channel '
                    f"of '{name}', but min_per_channel wants {least}: lower min_per_channel"
                )
        return masks


@PATTERNS.register_module()
@dataclass(frozen=True)
class ChannelBlock(Pattern):
    """Drops blocks of consecutive output channels, at one input channel and kernel position.

    Block-sparse kernels on CPUs need this. The score of a block is the mean of its scores. A block
    that is masked completely counts as masked, with the mean of its latent values. The last block
    of a tensor may be shorter. The lowest blocks are dropped, in the number that is closest to the
    k weights asked for: the difference is at most half a block, since of equal blocks the first
    ones are dropped.

    Attributes:
        size (int): Output channels of a block. Defaults to 4.

    Raises:
        ValueError: If the size is not at least 1.
    """

    size: int = 4

    def __post_init__(self) -> None:
        integer('size', self.size, 1)

    def keep(self, pool: Mapping[str, Order], k: int) -> dict[str, Tensor]:
        """Drop the lowest blocks; see :meth:`Pattern.keep`."""
        lengths = {name: self._sum(torch.ones_like(o.score)) for name, o in pool.items()}
        blocks = {
            name: Order(
                self._sum(order.score) / lengths[name],
                self._sum(order.latent) / lengths[name],
                self._sum(order.masked) == lengths[name],
                order.least,
            )
            for name, order in pool.items()
        }
        value, masked, may_go = _flatten(blocks.values())
        length = torch.cat([each.flatten() for each in lengths.values()]).long()
        _check_least(pool, k, int(length[may_go].sum()))
        lowest = may_go.nonzero().flatten()[_sorted(value[may_go], masked[may_go], 0)]
        dropped = torch.cat([length.new_zeros(1), length[lowest]]).cumsum(0)
        drop = torch.zeros_like(may_go)
        drop[lowest[: int((dropped - k).abs().argmin())]] = True
        return {
            name: keep.repeat_interleave(self.size, 0)[: len(pool[name].score)]
            for name, keep in _split(~drop, blocks).items()
        }

    def _sum(self, tensor: Tensor) -> Tensor:
        """(out, ...) to sums over blocks, (ceil(out / size), ...) float64."""
        missing = -len(tensor) % self.size
        filled = torch.cat([tensor, tensor.new_zeros(missing, *tensor.shape[1:])])
        blocks: Tensor = filled.unflatten(0, (len(filled) // self.size, self.size))
        return blocks.sum(1, dtype=torch.float64)

"""Scopes: how many weights each tensor loses."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import accumulate, pairwise
from math import prod, sqrt

import torch
from torch import Tensor

from st_mm.arguments import choice, integer, number

from .layout import PLAIN, Layout
from .patterns import Order, Pattern, Unstructured, count
from .prunable import matches

Shapes = Mapping[str, Sequence[int]]
Pools = list[
    tuple[list[str], int]
]  # names of the weights of each pool, how many of them are dropped


@dataclass(frozen=True)
class Rule:
    """An exception for the weights of some names.

    Attributes:
        names (str): Shell pattern of weight names.
        ratio (float, optional): Each of these weights is pruned to this ratio by itself, and the
            rest of the network to the schedule's ratio among itself; in [0, 1). Defaults to
            None: the schedule's ratio.
        min_per_channel (int): Weights that stay in each output channel, those of the
            largest scores; all where a channel has no more. Defaults to 0.

    Raises:
        ValueError: If a field is out of its range.
    """

    names: str
    ratio: float | None = None
    min_per_channel: int = 0

    def __post_init__(self) -> None:
        if not (isinstance(self.names, str) and self.names):
            raise ValueError(f'names must be a shell pattern of weight names, got {self.names!r}')
        if self.ratio is not None:
            number('ratio', self.ratio, least=0, below=1, where=f"'{self.names}'")
        integer('min_per_channel', self.min_per_channel, 0, where=f"'{self.names}'")


def assign(rules: Sequence[Rule], names: Iterable[str]) -> dict[str, Rule]:
    """Find the rule of each weight: the first that matches.

    Args:
        rules (Sequence[Rule]): The rules.
        names (Iterable[str]): Names of the prunable weights.

    Returns:
        dict[str, Rule]: Rules by weight name, for the weights that have one.

    Raises:
        ValueError: If a rule matches none of the weights, or earlier ones match all of them.
    """
    names = list(names)
    for rule in rules:
        if not any(matches(name, [rule.names]) for name in names):
            raise ValueError(f"the rule for '{rule.names}' matches no prunable weight")
    first: dict[str, Rule] = {}
    for rule in rules:
        free = [name for name in names if matches(name, [rule.names]) and name not in first]
        if not free:
            raise ValueError(
                f"the rule for '{rule.names}' never applies: earlier rules match all of its "
                'weights; put it before them, or drop it'
            )
        first.update(dict.fromkeys(free, rule))
    return first


def in_effect(rules: Sequence[Rule], names: Iterable[str]) -> list[Rule]:
    """Keep the rules that are the first to match any of the names."""
    matching = ((rule for rule in rules if matches(name, [rule.names])) for name in names)
    firsts = {id(next(found, None)) for found in matching}
    return [rule for rule in rules if id(rule) in firsts]


def _global(shapes: Shapes, ratio: float) -> Pools:
    """Make one pool: a threshold over all weights."""
    return [(list(shapes), count(ratio, sum(map(prod, shapes.values()))))]


def _layer(shapes: Shapes, ratio: float) -> Pools:
    """Make a pool of each weight, with the same ratio."""
    return [([name], count(ratio, prod(shape))) for name, shape in shapes.items()]


def _erk(shapes: Shapes, ratio: float) -> Pools:
    """Make a pool of each weight, by Erdos-Renyi-Kernel (Mocanu 2018, Evci 2020 Section 3).

    A density is proportional to sum(shape) / prod(shape). If that is above 1, the weight stays
    dense and the others are sparser.
    """
    sizes = {name: prod(shape) for name, shape in shapes.items()}
    kept = dict.fromkeys(shapes, 0.0)  # weights that stay, in theory
    left, sparse = (1 - ratio) * sum(sizes.values()), [n for n, size in sizes.items() if size]
    while sparse:
        factor = left / sum(sum(shapes[name]) for name in sparse)
        kept |= {name: min(factor * sum(shapes[name]), sizes[name]) for name in sparse}
        dense = [name for name in sparse if kept[name] == sizes[name]]
        if not dense:
            break
        left -= sum(sizes[name] for name in dense)
        sparse = [name for name in sparse if name not in dense]
    # rounded as running totals, so that their sum is int(ratio * n)
    totals = [0.0, *accumulate(sizes[name] - kept[name] for name in shapes)]
    gone = [b - a for a, b in pairwise(count(1, total) for total in totals)]
    return [([name], k) for name, k in zip(shapes, gone, strict=True)]


def sigma(shape: Sequence[int]) -> float:
    """The usual size of a weight of some shape: ``1 / sqrt(sum(shape))``.

    It stands for the standard deviation that a layer of its width has, as in the published code of
    ST-3-sigma (Vanderschueren and De Vleeschouwer, WACV 2023). A threshold on ``|w| / sigma`` takes
    fewer weights of wide layers and more of narrow ones, such as the stem, whose weights are large
    and whose MACs are many.
    """
    return 1 / sqrt(max(sum(shape), 1))


SCOPES: dict[str, Callable[[Shapes, float], Pools]] = {
    'global': _global,
    'sigma': _global,  # of scores that are divided by sigma first
    'layer': _layer,
    'erk': _erk,
}


def check_scope(scope: str, pattern: Pattern | None) -> None:
    """Refuse an unknown scope, or one that a pattern does not allow.

    Args:
        scope (str): Name of a scope.
        pattern (Pattern, optional): Which weights are dropped together.

    Raises:
        ValueError: If there is no such scope, or the pattern drops the same share everywhere.
    """
    choice('scope', scope, SCOPES)
    if pattern and pattern.uniform and scope == 'erk':
        raise ValueError(
            f"scope must be 'global' or 'layer': {pattern} drops the same share of each weight"
        )


def choose(
    scores: Mapping[str, Tensor],
    ratio: float,
    scope: str = 'global',
    rules: Sequence[Rule] = (),
    pattern: Pattern | None = None,
    masked: Mapping[str, tuple[Tensor, Tensor]] | None = None,
    share: float = 1.0,
    layouts: Mapping[str, Layout] | None = None,
) -> dict[str, Tensor]:
    """Choose the weights that stay.

    Args:
        scores (Mapping[str, Tensor]): Scores by weight name; they may be negative.
        ratio (float): Share to drop, in [0, 1].
        scope (str): ``'global'`` drops what is lowest in the whole network (published),
            ``'sigma'`` the same after each score is divided by the sigma of its weight, see
            :func:`sigma`, ``'layer'`` the same share of each weight, ``'erk'`` less of small
            weights (Erdos-Renyi-Kernel). Defaults to ``'global'``.
        rules (Sequence[Rule]): Exceptions by weight name; the first that matches counts.
            Defaults to none.
        pattern (Pattern, optional): Which weights are dropped together. A weight that it does not
            fit stays dense and is not counted. Defaults to None: each by itself.
        masked (Mapping[str, tuple[Tensor, Tensor]], optional): What is masked (bool) and its
            latent values, by weight name (:meth:`~st_mm.prune.Masks.masked`). These are dropped
            before all others, from the smallest value up. Defaults to None: nothing is masked.
        share (float): Share of its final ratio that the schedule has reached, in [0, 1]: the
            rules' own ratios are multiplied by it. Defaults to 1.
        layouts (Mapping[str, Layout], optional): Layouts of the weights whose first dimension is
            not that of the output channels, or that cannot lose all of a channel, see
            :func:`~st_mm.prune.layout.layouts_of`. Defaults to None: there are none.

    Returns:
        dict[str, Tensor]: Bool masks of the scores' shapes, True for what stays.

    Raises:
        ValueError: If an argument is out of its range, a score is nan, or the ratio cannot be
            reached.
    """
    for argument, value in (('ratio', ratio), ('share', share)):
        number(argument, value, least=0, most=1)
    check_scope(scope, pattern)
    pattern = pattern or Unstructured()
    of_weight = assign(rules, scores)
    masked, layouts = masked or {}, layouts or {}
    orders: dict[str, Order] = {}
    own: Pools = []
    for name, score in scores.items():
        layout = layouts.get(name, PLAIN)
        if not pattern.fits(layout.shape(score.shape)):
            continue
        rule = of_weight.get(name, NO_RULE)
        least = max(rule.min_per_channel, layout.least)
        orders[name] = _order(name, score, masked.get(name), least, layout)
        if scope == 'sigma':
            orders[name] = orders[name].divided(sigma(score.shape))
        if rule.ratio is not None:
            if rule.ratio:
                pattern.check(rule.ratio)
            own.append(([name], count(rule.ratio * share, score.numel())))
    exceptions = {name for names, _ in own for name in names}
    rest = {name: orders[name].score.shape for name in orders if name not in exceptions}
    masks = {name: torch.ones_like(score, dtype=torch.bool) for name, score in scores.items()}
    for names, k in own + SCOPES[scope](rest, ratio):
        if names:
            chosen = pattern.keep({name: orders[name] for name in names}, k)
            masks |= {n: layouts.get(n, PLAIN).turn(mask) for n, mask in chosen.items()}
    return masks


NO_RULE = Rule('*')


def _order(
    name: str,
    score: Tensor,
    masked: tuple[Tensor, Tensor] | None,
    least: int,
    layout: Layout,
) -> Order:
    where, latent = masked or (torch.zeros_like(score, dtype=torch.bool), score)
    turn = layout.turn
    order = Order(turn(score), turn(latent.abs()), turn(where), least)
    if (order.score.isnan() | order.value.isnan()).any():
        raise ValueError(f"a score of '{name}' is nan: has the training diverged?")
    return order


def lowest(scores: Mapping[str, Tensor], ratio: float) -> dict[str, Tensor]:
    """Build the masks that drop the lowest scores of the whole network.

    With n scores and k = int(ratio * n), everything up to the k-th smallest score is dropped,
    equal scores too (the published threshold).

    Args:
        scores (Mapping[str, Tensor]): Scores by weight name.
        ratio (float): Share to drop, in [0, 1].

    Returns:
        dict[str, Tensor]: Bool masks of the scores' shapes, True for what stays.
    """
    return choose(scores, ratio)

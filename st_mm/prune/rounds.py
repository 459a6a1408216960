"""Pruning in rounds: a part at a time, with new scores in between, and without training."""

from collections.abc import Callable, Mapping

import torch
from torch import Tensor

from .evidence import Evidence
from .stand_ins import Weights

Scores = Mapping[str, Tensor]
Masks = dict[str, Tensor]


def iterate(
    score: Callable[[Weights, Evidence], Scores],
    weights: Weights,
    evidence: Evidence,
    ratio: float,
    rounds: int,
    choose: Callable[[Scores, float], Masks],
    start: float = 0.0,
) -> Masks:
    """Choose masks in rounds; each round scores the weights that earlier rounds have left.

    The density falls by the same factor in each round: after round k of n it is
    ``(1 - start) * ((1 - ratio) / (1 - start)) ** (k / n)`` (SynFlow, Tanaka et al. 2020, with
    n = 100; iterative SNIP, de Jorge et al., ICLR 2021). Weights that a round drops are zeros in
    the next one and score -inf there, so they stay dropped. The weights themselves do not change.

    Args:
        score (Callable): The criterion, its options bound.
        weights (Mapping[str, Tensor]): Weights by name.
        evidence (Evidence): Data for the criterion.
        ratio (float): Share of the weights that the final masks drop.
        rounds (int): Number of rounds; 1 is ``choose(score(weights, evidence), ratio)``.
        choose (Callable): ``choose(scores, ratio)`` gives bool masks of the scores' shapes, True
            for what stays, that drop this share of all weights, the lowest scores first.
        start (float): Share that is already masked. It is part of the ratio, and ``choose`` drops
            those weights first. Defaults to 0.

    Returns:
        dict[str, Tensor]: The masks of the last round.

    Raises:
        ValueError: If there are no rounds.
    """
    if rounds < 1:
        raise ValueError(f'rounds must be at least 1, got {rounds}')
    left = 1 - min(start, ratio)
    masks: Masks = {}
    for k in range(1, rounds + 1):
        # the last round has exactly the ratio, without rounding of the power
        target = ratio if k == rounds else 1 - left * ((1 - ratio) / left) ** (k / rounds)
        kept = {
            name: torch.where(masks[name], weight.detach(), 0) if masks else weight
            for name, weight in weights.items()
        }
        scores = score(kept, evidence)
        if masks:
            scores = {
                name: values.masked_fill(~masks[name], -torch.inf)
                for name, values in scores.items()
            }
        masks = choose(scores, target)
    return masks

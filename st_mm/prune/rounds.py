"""Pruning in rounds: a little at a time, with new scores in between and no training."""

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
    """Choose masks in rounds, each of which scores the weights that the ones before have left.

    The density falls by the same factor in each round: after round k of n it is
    ``(1 - start) * ((1 - ratio) / (1 - start)) ** (k / n)`` (SynFlow, Tanaka et al. 2020, with
    n = 100; iterative SNIP, de Jorge et al., ICLR 2021). Weights that a round drops are zeros in
    the next one and score -inf there, so that they stay dropped. The weights themselves are not
    changed.

    Args:
        score (Callable): The criterion, its options bound.
        weights (Mapping[str, Tensor]): Weights by name.
        evidence (Evidence): What the criterion may look at.
        ratio (float): Share of the weights that the final masks drop.
        rounds (int): Number of rounds; 1 is ``choose(score(weights, evidence), ratio)``.
        choose (Callable): ``choose(scores, ratio)`` gives bool masks of the scores' shapes, True
            for what stays, that drop this share of all weights, the lowest scores first.
        start (float): Share that is masked already and counts in the ratio, where ``choose`` drops
            those weights first. Defaults to 0.

    Returns:
        dict[str, Tensor]: The masks of the last round.

    Raises:
        ValueError: If there is no round.
    """
    if rounds < 1:
        raise ValueError(f'rounds must be at least 1, got {rounds}')
    left = 1 - min(start, ratio)
    masks: Masks = {}
    for k in range(1, rounds + 1):
        # the last round hits the ratio itself, whatever the power rounds to
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

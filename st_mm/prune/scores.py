"""Pruning criteria: how much each weight matters; one pure function each."""

from collections.abc import Callable, Mapping

import torch
from torch import Tensor

Weights = Mapping[str, Tensor]
Score = Callable[[Weights], dict[str, Tensor]]


def magnitude(weights: Weights) -> dict[str, Tensor]:
    """Score by |w| (paper Section 3.2).

    Args:
        weights (Mapping[str, Tensor]): Weights by name.

    Returns:
        dict[str, Tensor]: Non-negative scores of the weights' shapes.
    """
    return {name: weight.detach().abs() for name, weight in weights.items()}


def random(weights: Weights, seed: int = 0) -> dict[str, Tensor]:
    """Score by uniform random numbers, the baseline of the paper's Table 1.

    Args:
        weights (Mapping[str, Tensor]): Weights by name.
        seed (int): Seed of the numbers, the same on every rank. Defaults to 0.

    Returns:
        dict[str, Tensor]: Scores in [0, 1) of the weights' shapes.
    """
    generator = torch.Generator().manual_seed(seed)
    return {
        name: torch.rand(weight.shape, generator=generator).to(weight)
        for name, weight in weights.items()
    }


SCORES: dict[str, Score] = dict(magnitude=magnitude, random=random)

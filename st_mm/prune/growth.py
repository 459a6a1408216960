"""Growth: which masked weights to set free (RigL, Evci et al., ICML 2020)."""

from collections.abc import Mapping

import torch
from torch import Tensor

from .patterns import count


def grow(
    scores: Mapping[str, Tensor], masked: Mapping[str, Tensor], share: float
) -> dict[str, Tensor]:
    """Pick the masked weights with the highest scores in the whole network.

    Args:
        scores (Mapping[str, Tensor]): Scores by weight name, such as the size of the gradient.
        masked (Mapping[str, Tensor]): Bool tensors, True for what is masked.
        share (float): Share of the masked weights to pick, in [0, 1].

    Returns:
        dict[str, Tensor]: Bool tensors, True for what to set free: int(share * masked) weights,
        or more if scores are equal.
    """
    if not masked:
        return {}
    flat = torch.cat([scores[name][where] for name, where in masked.items()])
    k = count(share, flat.numel())
    if k == 0:
        return {name: torch.zeros_like(where) for name, where in masked.items()}
    threshold = flat.sort(descending=True).values[k - 1]
    return {name: where & (scores[name] >= threshold) for name, where in masked.items()}

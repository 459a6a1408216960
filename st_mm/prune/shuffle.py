"""Random masks of the same density in every layer: the control "ST w/ RP" (paper Table 7)."""

from collections.abc import Mapping

import torch
from torch import Tensor


def shuffle(masks: Mapping[str, Tensor], seed: int = 0) -> dict[str, Tensor]:
    """Put as many masked weights at random places of the same tensor.

    Args:
        masks (Mapping[str, Tensor]): Bool masks by weight name, True for what stays.
        seed (int): Seed of the places. Defaults to 0.

    Returns:
        dict[str, Tensor]: Masks of the same names, shapes and densities.
    """
    generator = torch.Generator().manual_seed(seed)
    shuffled = {}
    for name in sorted(masks):
        places = torch.randperm(masks[name].numel(), generator=generator)
        shuffled[name] = masks[name].flatten()[places.to(masks[name].device)].view_as(masks[name])
    return shuffled

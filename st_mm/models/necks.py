"""Necks after the supernet, for any task of a kind; the heads are those of the mm libraries."""

from collections.abc import Sequence
from itertools import pairwise
from typing import Any

import torch
from mmcv.cnn import ConvModule
from mmengine.model import BaseModule
from mmengine.registry import MODELS
from torch import Tensor, nn
from torch.nn import functional as F

from st_mm.arguments import counts, integer, number, settings
from st_mm.units.loading import TicketModule

from .atomic_block import AtomicBlock
from .norm_cfg import norm_or

_NORM_CFG = dict(type='BN', eps=1e-3, momentum=0.01)


def branches(name: str, value: object) -> tuple[int, ...]:
    """Check the channels of at least one branch.

    Raises:
        ValueError: If they are something else.
    """
    channels = counts(name, value)
    if not channels:
        raise ValueError(f'{name} must name the channels of at least one branch, got none')
    return channels


@MODELS.register_module()
class HRFusionNeck(TicketModule, BaseModule):
    """All branches at the finest resolution, mixed by one block, for dense tasks.

    Args:
        in_channels (Sequence[int]): Channels per branch, from fine to coarse.
            Defaults to (18, 36, 72, 144).
        out_channels (int): Channels of the output (90; ADE20K 180). Defaults to 90.
        kernel_sizes (Sequence[int]): Kernels of the block. Defaults to (3, 5, 7).
        expand_ratio (int): Hidden channels per kernel over input channels. Defaults to 4.
        norm_cfg (dict, optional): Config of the norm layers.
            Defaults to ``dict(type='BN', eps=1e-3, momentum=0.01)``.
        init_cfg (dict, optional): Defaults to ``dict(type='MnasNet')``.

    Shape:
        Input: a sequence of (B, C_i, H_i, W_i); output: a tuple of one (B, out_channels, H_0, W_0).
    """

    def __init__(
        self,
        in_channels: Sequence[int] = (18, 36, 72, 144),
        out_channels: int = 90,
        kernel_sizes: Sequence[int] = (3, 5, 7),
        expand_ratio: int = 4,
        norm_cfg: dict[str, Any] | None = None,
        init_cfg: dict[str, Any] | list[Any] | None = None,
    ) -> None:
        super().__init__(
            init_cfg=settings('init_cfg', init_cfg, several=True) or dict(type='MnasNet')
        )
        self.block = AtomicBlock(
            sum(branches('in_channels', in_channels)),
            out_channels,
            kernel_sizes=kernel_sizes,
            expand_ratio=expand_ratio,
            norm_cfg=norm_or(norm_cfg, _NORM_CFG),
        )

    def forward(self, inputs: Sequence[Tensor]) -> tuple[Tensor, ...]:
        """Fuse the branches; see the class for shapes."""
        finest, *coarser = inputs
        resized = [
            F.interpolate(x, finest.shape[-2:], mode='bilinear', align_corners=False)
            for x in coarser
        ]
        return (self.block(torch.cat([finest, *resized], 1)),)


@MODELS.register_module()
class HRClassificationNeck(TicketModule, BaseModule):
    """A chain over the branches that ends in one feature vector, for classification.

    Args:
        in_channels (Sequence[int]): Channels per branch, from fine to coarse.
            Defaults to (18, 36, 72, 144).
        head_channels (Sequence[int]): Channels to which the branches are widened.
            Defaults to (36, 72, 144, 320).
        out_channels (int): Length of the feature vector. Defaults to 1600.
        dropout (float): Dropout ratio after the pooling. Defaults to 0.2.
        kernel_sizes (Sequence[int]): Kernels of the blocks. Defaults to (3, 5, 7).
        expand_ratio (int): Hidden channels per kernel over input channels. Defaults to 4.
        norm_cfg (dict, optional): Config of the norm layers.
            Defaults to ``dict(type='BN', eps=1e-3, momentum=0.01)``.
        init_cfg (dict, optional): Defaults to ``dict(type='MnasNet')``.

    Shape:
        Input: a sequence of (B, C_i, H_i, W_i); output: a tuple of one (B, out_channels).
    """

    def __init__(
        self,
        in_channels: Sequence[int] = (18, 36, 72, 144),
        head_channels: Sequence[int] = (36, 72, 144, 320),
        out_channels: int = 1600,
        dropout: float = 0.2,
        kernel_sizes: Sequence[int] = (3, 5, 7),
        expand_ratio: int = 4,
        norm_cfg: dict[str, Any] | None = None,
        init_cfg: dict[str, Any] | list[Any] | None = None,
    ) -> None:
        super().__init__(
            init_cfg=settings('init_cfg', init_cfg, several=True) or dict(type='MnasNet')
        )
        in_channels = branches('in_channels', in_channels)
        head_channels = branches('head_channels', head_channels)
        if len(in_channels) != len(head_channels):
            raise ValueError(
                f'head_channels must have one entry per branch of in_channels {in_channels}, got '
                f'{head_channels}'
            )
        out_channels = integer('out_channels', out_channels, 1)
        dropout = number('dropout', dropout, least=0, below=1)
        norm_cfg = norm_or(norm_cfg, _NORM_CFG)
        block_cfg: dict[str, Any] = dict(
            kernel_sizes=kernel_sizes, expand_ratio=expand_ratio, norm_cfg=norm_cfg
        )
        self.widen = nn.ModuleList(
            AtomicBlock(before, after, **block_cfg)
            for before, after in zip(in_channels, head_channels, strict=True)
        )
        self.down = nn.ModuleList(
            AtomicBlock(before, after, stride=2, **block_cfg)
            for before, after in pairwise(head_channels)
        )
        self.final = ConvModule(head_channels[-1], out_channels, 1, norm_cfg=norm_cfg)
        self.dropout = nn.Dropout(dropout)

    def forward(self, inputs: Sequence[Tensor]) -> tuple[Tensor, ...]:
        """Compute the feature vector; see the class for shapes."""
        wide = [widen(x) for widen, x in zip(self.widen, inputs, strict=True)]
        x = wide[0]
        for down, coarser in zip(self.down, wide[1:], strict=True):
            x = coarser + down(x)
        return (self.dropout(self.final(x).mean((2, 3))),)

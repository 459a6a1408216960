"""HRSupernet: the multi-branch backbone of HR-NAS from which tickets are drawn."""

from collections.abc import Sequence
from typing import Any

import torch
from mmcv.cnn import ConvModule
from mmengine.model import BaseModule
from mmengine.registry import MODELS
from torch import Tensor, nn
from torch.nn import functional as F

from st_mm.arguments import counts, flag, integer, settings
from st_mm.units.loading import TicketModule

from .atomic_block import AtomicBlock
from .norm_cfg import norm_or


class FusionLayer(BaseModule):
    """Exchange between neighbouring resolutions, and one new branch if asked for.

    Args:
        in_channels (Sequence[int]): Channels per input branch, from fine to coarse.
        out_channels (Sequence[int]): Channels per output branch: as many branches as the input has,
            or one more.
        block_cfg (dict): Further arguments of every :class:`AtomicBlock`.
    """

    def __init__(
        self, in_channels: Sequence[int], out_channels: Sequence[int], block_cfg: dict[str, Any]
    ) -> None:
        super().__init__()
        self.in_branches = len(in_channels)
        self.paths = nn.ModuleDict()  # 'JtoI': from input branch J to output branch I
        for i, channels in enumerate(out_channels[: self.in_branches]):
            for j in self._neighbours(i):
                self.paths[f'{j}to{i}'] = AtomicBlock(
                    in_channels[j], channels, stride=2 if j < i else 1, **block_cfg
                )
        self.grow = len(out_channels) > self.in_branches
        if self.grow:
            last, new = out_channels[-2:]
            self.new_branch = AtomicBlock(last, new, stride=2, **block_cfg)

    def _neighbours(self, i: int) -> range:
        return range(max(i - 1, 0), min(i + 2, self.in_branches))

    def forward(self, branches: list[Tensor]) -> list[Tensor]:
        """Fuse branches of (B, C_i, H / 2^i, W / 2^i); return as many, or one more."""
        fused = [F.relu(self._fuse(branches, i)) for i in range(self.in_branches)]
        return [*fused, self.new_branch(fused[-1])] if self.grow else fused

    def _fuse(self, branches: list[Tensor], i: int) -> Tensor:
        """Sum up the neighbours of output branch i, at the size of the first."""
        first, *others = self._neighbours(i)
        total: Tensor = self.paths[f'{first}to{i}'](branches[first])
        for j in others:
            summand = self.paths[f'{j}to{i}'](branches[j])
            if j > i:
                summand = F.interpolate(summand, scale_factor=2, mode='nearest')
            if summand.shape[-2:] != total.shape[-2:]:  # odd sizes
                summand = F.interpolate(
                    summand, total.shape[-2:], mode='bilinear', align_corners=False
                )
            total = total + summand
        return total


class Stage(BaseModule):
    """A fusion and the parallel branches after it.

    Args:
        in_channels (Sequence[int]): Channels per input branch.
        out_channels (Sequence[int]): Channels per output branch.
        blocks (Sequence[int]): Blocks per branch.
        block_cfg (dict): Further arguments of every :class:`AtomicBlock`.
    """

    def __init__(
        self,
        in_channels: Sequence[int],
        out_channels: Sequence[int],
        blocks: Sequence[int],
        block_cfg: dict[str, Any],
    ) -> None:
        super().__init__()
        self.fusion = FusionLayer(in_channels, out_channels, block_cfg)
        self.branches = nn.ModuleList(
            nn.Sequential(*(AtomicBlock(channels, channels, **block_cfg) for _ in range(depth)))
            for channels, depth in zip(out_channels, blocks, strict=True)
        )

    def forward(self, branches: list[Tensor]) -> list[Tensor]:
        """Fuse, then run each branch through its blocks."""
        fused = self.fusion(branches)
        return [branch(x) for branch, x in zip(self.branches, fused, strict=True)]


@MODELS.register_module()
class HRSupernet(TicketModule, BaseModule):
    """Multi-branch supernet (HR-NAS, CVPR 2021; paper Section 4.1).

    Two stride-2 convolutions, then pairs of a fusion between neighbouring resolutions and
    parallel branches of :class:`AtomicBlock`. A checkpoint may have any part of the units: the
    network takes the checkpoint's shapes. It refuses a checkpoint of another architecture.

    Args:
        in_channels (int): Channels of the picture. Defaults to 3.
        stem_channels (Sequence[int]): Channels of the two stem convolutions.
            Defaults to (24, 24).
        stage_channels (Sequence[Sequence[int]]): Channels per branch and stage. A stage has as
            many branches as the stage before it, or one more. Defaults to the paper's supernet.
        stage_blocks (Sequence[Sequence[int]]): Blocks per branch and stage.
        kernel_sizes (Sequence[int]): Kernel sizes that every block mixes. Defaults to (3, 5, 7).
        expand_ratio (int): Hidden channels per kernel over input channels. Defaults to 4.
        tokens (int): Tokens of the mixers on the identity paths; 0 for no mixers, as in the
            published configs (the paper's text has 64). Defaults to 0.
        channels_last (bool): Whether features are in memory with their channels last. The results
            are the same; a step takes less than half the time on a CPU. Defaults to False.
        norm_cfg (dict, optional): Config of the norm layers.
            Defaults to ``dict(type='BN', eps=1e-3, momentum=0.01)``.
        init_cfg (dict, optional): Defaults to ``dict(type='MnasNet')``.

    Shape:
        Input (B, in_channels, H, W); output a tuple of (B, C_i, H / 2^(2+i), W / 2^(2+i)), one
        per branch of the last stage.
    """

    load_required = True

    def __init__(
        self,
        in_channels: int = 3,
        stem_channels: Sequence[int] = (24, 24),
        stage_channels: Sequence[Sequence[int]] = (
            (24,),
            (18, 36),
            (18, 36, 72),
            (18, 36, 72, 144),
            (18, 36, 72, 144),
        ),
        stage_blocks: Sequence[Sequence[int]] = (
            (1,),
            (2, 2),
            (2, 2, 3),
            (2, 2, 3, 4),
            (2, 2, 3, 4),
        ),
        kernel_sizes: Sequence[int] = (3, 5, 7),
        expand_ratio: int = 4,
        tokens: int = 0,
        channels_last: bool = False,
        norm_cfg: dict[str, Any] | None = None,
        init_cfg: dict[str, Any] | list[Any] | None = None,
    ) -> None:
        super().__init__(
            init_cfg=settings('init_cfg', init_cfg, several=True) or dict(type='MnasNet')
        )
        _check_stages(stage_channels, stage_blocks)
        in_channels = integer('in_channels', in_channels, 1)
        stem = counts('stem_channels', stem_channels)
        if len(stem) != 2:
            raise ValueError(f'stem_channels must be two integers, got {stem_channels!r}')
        norm_cfg = norm_or(norm_cfg, dict(type='BN', eps=1e-3, momentum=0.01))
        block_cfg: dict[str, Any] = dict(
            kernel_sizes=kernel_sizes, expand_ratio=expand_ratio, tokens=tokens, norm_cfg=norm_cfg
        )
        first, second = stem
        self.stem = nn.Sequential(
            ConvModule(in_channels, first, 3, 2, 1, norm_cfg=norm_cfg),
            ConvModule(first, second, 3, 2, 1, norm_cfg=norm_cfg),
        )
        inputs = [(second,), *stage_channels[:-1]]
        self.stages = nn.ModuleList(
            Stage(before, channels, blocks, block_cfg)
            for before, channels, blocks in zip(inputs, stage_channels, stage_blocks, strict=True)
        )
        self.channels_last = flag('channels_last', channels_last)
        self.out_channels = tuple(stage_channels[-1])

    def forward(self, x: Tensor) -> tuple[Tensor, ...]:
        """Compute the features of every branch; see the class for shapes."""
        if self.channels_last:
            x = x.contiguous(memory_format=torch.channels_last)
        branches = [self.stem(x)]
        for stage in self.stages:
            branches = stage(branches)
        return tuple(branches)


def _check_stages(
    stage_channels: Sequence[Sequence[int]], stage_blocks: Sequence[Sequence[int]]
) -> None:
    """Refuse stages that cannot be connected."""
    for name, value, least in (
        ('stage_channels', stage_channels, 1),
        ('stage_blocks', stage_blocks, 0),
    ):
        if isinstance(value, str) or not isinstance(value, Sequence):
            raise ValueError(f'{name} must be a list of lists of integers, got {value!r}')
        for index, each in enumerate(value):
            counts(f'{name}[{index}]', each, least)
    if not stage_channels:
        raise ValueError('stage_channels must name the channels of at least one stage, got none')
    shape = [len(channels) for channels in stage_channels]
    if shape != [len(blocks) for blocks in stage_blocks]:
        raise ValueError(
            'stage_channels and stage_blocks must name the same branches, got '
            f'{stage_channels} and {stage_blocks}'
        )
    grown = zip([1, *shape], shape, strict=False)
    if any(after - before not in (0, 1) for before, after in grown):
        raise ValueError(
            'a stage has as many branches as the one before it or one more (the first one 1 or '
            f'2), got {shape} branches in stage_channels'
        )

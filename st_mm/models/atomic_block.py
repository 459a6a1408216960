"""AtomicBlock: the mixed-kernel inverted residual whose hidden channels are search units."""

from collections.abc import Iterator, Sequence
from math import gcd
from typing import Any

import torch
from mmcv.cnn import build_norm_layer
from mmengine.model import BaseModule
from mmengine.registry import MODELS
from torch import Tensor, nn
from torch.nn import functional as F

from st_mm.arguments import integer, kernels, settings
from st_mm.units.loading import TicketModule, misfit
from st_mm.units.owner import StateDict, UnitSlice, Widths, check_norm
from st_mm.units.settled import Path, outputs_of_zero, settled

from .norm_cfg import norm_or
from .token_mixer import TokenMixer


@MODELS.register_module()
class AtomicBlock(TicketModule, BaseModule):
    """Inverted residual that mixes depthwise kernels (AtomNAS; paper Section 3.1).

    It computes ``sum over k of project_k(relu(bn(depthwise_k(relu(bn(expand_k(x)))))))``, then one
    BN, and adds a shortcut. The kernels share one expand and one project convolution, which is the
    same function in fewer and larger products. Every hidden channel is one search unit: a row of
    the expand convolution, a depthwise filter, and a column of the project convolution. Units are
    in the order of the kernels. Any number of them may be removed, even all.

    Args:
        in_channels (int): Channels of the input.
        out_channels (int): Channels of the output.
        stride (int): Stride of the depthwise convolutions. Defaults to 1.
        kernel_sizes (Sequence[int]): Odd depthwise kernel sizes in rising order. Defaults to
            (3, 5, 7).
        expand_ratio (int): Hidden channels per kernel over input channels. Defaults to 4.
        tokens (int): Tokens of a :class:`TokenMixer` on the identity path, if the block has such a
            path; 0 for no mixer. Defaults to 0.
        norm_cfg (dict): Config of the norm layers. Defaults to ``dict(type='BN')``.
        init_cfg (dict, optional): Initialization config. Defaults to None.

    Shape:
        Input (B, in_channels, H, W), output (B, out_channels, ceil(H / stride), ceil(W / stride)).
    """

    least_units = 0

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        stride: int = 1,
        kernel_sizes: Sequence[int] = (3, 5, 7),
        expand_ratio: int = 4,
        tokens: int = 0,
        norm_cfg: dict[str, Any] | None = None,
        init_cfg: dict[str, Any] | None = None,
    ) -> None:
        super().__init__(init_cfg=settings('init_cfg', init_cfg, several=True))
        in_channels = integer('in_channels', in_channels, 1)
        out_channels = integer('out_channels', out_channels, 1)
        stride = integer('stride', stride, 1)
        kernel_sizes = kernels('kernel_sizes', kernel_sizes)
        expand_ratio = integer('expand_ratio', expand_ratio, 1)
        tokens = integer('tokens', tokens, 0)
        norm_cfg = norm_or(norm_cfg, dict(type='BN'))
        width = in_channels * expand_ratio
        hidden = width * len(kernel_sizes)
        self.in_channels = in_channels
        self.out_channels = out_channels
        self.stride = stride
        self.max_width = width  # per kernel; a checkpoint may have fewer, never more

        self.expand = nn.Conv2d(in_channels, hidden, 1, bias=False)
        # the fan_out that each kernel's own expand convolution would have
        self.expand.init_fan_out = width  # type: ignore[assignment]
        self.expand_bn = build_norm_layer(norm_cfg, hidden)[1]
        self.depthwise = nn.ModuleDict(
            {
                f'k{k}': nn.Conv2d(width, width, k, stride, k // 2, groups=width, bias=False)
                for k in kernel_sizes
            }
        )
        self.depthwise_bn = build_norm_layer(norm_cfg, hidden)[1]
        self.project = nn.Conv2d(hidden, out_channels, 1, bias=False)
        self.project_bn = build_norm_layer(norm_cfg, out_channels)[1]
        for norm in (self.expand_bn, self.depthwise_bn, self.project_bn):
            check_norm(norm, norm_cfg)
        self.shortcut: nn.Module
        if stride != 1 or in_channels != out_channels:
            groups = gcd(in_channels, out_channels)
            self.shortcut = nn.Conv2d(
                in_channels, out_channels, 1, stride, groups=groups, bias=False
            )
        elif tokens:  # its norms have the default eps and momentum, as published
            self.shortcut = TokenMixer(in_channels, tokens, dict(type=norm_cfg['type']))
        else:
            self.shortcut = nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        """Compute the block; see the class for shapes."""
        outputs: Tensor = self.shortcut(x) + self.project_bn(self._mix(x))
        return outputs

    def _mix(self, x: Tensor) -> Tensor:
        """Sum up the paths of the kernels, before the last BN."""
        if not self.expand.out_channels:
            height, width = (-(-size // self.stride) for size in x.shape[-2:])
            empty = x.new_zeros(x.shape[0], self.out_channels, height, width)
            if self.project.bias is not None:  # where mmcv has fused the BN into the projection
                empty = empty + self.project.bias[:, None, None]
            return self._touch_empty(empty)
        hidden = self.expand_bn(self.expand(x))  # (B, units, H, W)
        widths = list(self.unit_groups().values())
        # ReLU after the split: its output is dense, so that no convolution has to copy it
        paths = [
            conv(F.relu(part))
            for (_, conv), part in zip(self._kernels(), hidden.split(widths, 1), strict=True)
            if conv.out_channels
        ]
        hidden = paths[0] if len(paths) == 1 else torch.cat(paths, 1)
        mixed = self.project(F.relu(self.depthwise_bn(hidden), inplace=True))
        return mixed if len(paths) == len(widths) else self._touch_empty(mixed)

    def _touch_empty(self, x: Tensor) -> Tensor:
        """Keep parameters without elements in the graph, because DDP wants a gradient of each."""
        if not self.training:
            return x
        return x + sum(p.sum() for p in self.parameters() if not p.numel())

    def _kernels(self) -> Iterator[tuple[str, nn.Conv2d]]:
        """Yield the depthwise convolutions with their names."""
        for name, conv in self.depthwise.items():
            assert isinstance(conv, nn.Conv2d)
            yield name, conv

    # Search units

    @property
    def unit_bn(self) -> nn.BatchNorm2d:
        """Return the BN after the depthwise convolutions: its scale is the units' importance."""
        norm: nn.BatchNorm2d = self.depthwise_bn
        return norm

    def unit_groups(self) -> dict[str, int]:
        """Count the channels alive per kernel."""
        return {name: conv.out_channels for name, conv in self._kernels()}

    def unit_slices(self) -> list[UnitSlice]:
        """List the tensors that have one entry per hidden channel."""
        slices = [UnitSlice('expand.weight', 0), UnitSlice('project.weight', 1)]
        for norm in ('expand_bn', 'depthwise_bn'):
            for name in ('weight', 'bias', 'running_mean', 'running_var'):
                slices.append(UnitSlice(f'{norm}.{name}', 0))
        for name in self.depthwise:
            slices.append(UnitSlice(f'depthwise.{name}.weight', 0, name))
        return slices

    def unit_macs(self, input_size: tuple[int, int]) -> Tensor:
        """Compute the MACs of each hidden channel.

        Args:
            input_size (tuple[int, int]): Height and width of the block's input.

        Returns:
            Tensor: (units,) float64, a row of expand, a filter, and a column of project.
        """
        height, width = input_size
        positions_in = height * width
        positions_out = -(-height // self.stride) * -(-width // self.stride)
        macs = [
            positions_in * self.in_channels
            + positions_out * (conv.kernel_size[0] * conv.kernel_size[1] + self.out_channels)
            for _, conv in self._kernels()
        ]
        groups = torch.tensor(list(self.unit_groups().values()))
        return torch.tensor(macs, dtype=torch.float64).repeat_interleave(groups)

    def saved_macs(self, input_size: tuple[int, int], dead: Tensor) -> float:
        """Compute the MACs that removing the dead channels together saves: their sum."""
        return float(self.unit_macs(input_size)[dead.cpu()].sum())

    @torch.no_grad()
    def absorb_units(self, dead: Tensor) -> None:
        """Fold what the dead channels feed into the projection into the BN after it.

        A unit whose scale is about 0 still gives the constant relu(bias) in eval mode. What the
        projection makes of it is constant over the picture, so it can go into the running mean.

        Args:
            dead (Tensor): (units,) bool, the channels about to be removed.
        """
        constant = F.relu(self.depthwise_bn.bias) * dead
        share = self.project.weight.flatten(1) @ constant
        self.project_bn.running_mean.sub_(share.to(self.project_bn.running_mean.dtype))

    def settled_units(self) -> Tensor:
        """Work out which channels give a constant; see :func:`~st_mm.units.settled.settled`.

        Returns:
            Tensor: (units,) float64, what the norm of a channel gives everywhere in eval mode; nan
            where that depends on the picture or the place.
        """
        path = Path(
            before=outputs_of_zero(self.expand_bn, self.expand).relu(),
            rows=self.expand.weight,
            filters=[conv.weight for _, conv in self._kernels()],
            norm=self.depthwise_bn,
            columns=self.project.weight,
        )
        return settled(path)

    def sync_units(self) -> None:
        """Set the layers' channel counts to the shapes of their weights."""
        units = self.expand.weight.shape[0]
        self.expand.out_channels = self.project.in_channels = units
        self.expand_bn.num_features = self.depthwise_bn.num_features = units
        for _, conv in self._kernels():
            conv.in_channels = conv.out_channels = conv.groups = conv.weight.shape[0]

    def widths_in(self, state_dict: StateDict, prefix: str) -> Widths:
        """Read how many channels each kernel has in a state dict.

        Args:
            state_dict (Mapping[str, Tensor]): What is being loaded.
            prefix (str): Prefix of the block's keys.

        Returns:
            Mapping[str, int]: Channels per kernel; the present number if it has no filters.

        Raises:
            RuntimeError: If a kernel has more channels there than the config gives it.
        """
        widths = self.unit_groups()
        for name, conv in self._kernels():
            key = f'{prefix}depthwise.{name}.weight'
            if key not in state_dict:
                continue
            incoming, kernel = tuple(state_dict[key].shape), (1, *conv.kernel_size)
            if incoming[1:] != kernel or incoming[0] > self.max_width:
                expected = f'at most {self.max_width} filters of shape {kernel}'
                raise misfit(key, incoming, expected)
            widths[name] = incoming[0]
        return widths

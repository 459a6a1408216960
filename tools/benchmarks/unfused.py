"""The naive form of the AtomicBlock, for comparison: kernel by kernel, masks in every forward."""

import torch
from torch import Tensor, nn

from st_mm.models import AtomicBlock


class MaskedConv2d(nn.Conv2d):
    """A convolution without bias whose weight is multiplied by a mask at every call."""

    def __init__(self, weight: Tensor, **kwargs) -> None:
        groups = kwargs.get('groups', 1)
        kernel = tuple(weight.shape[2:])
        super().__init__(weight.shape[1] * groups, weight.shape[0], kernel, bias=False, **kwargs)
        self.weight.data.copy_(weight)
        self.register_buffer('mask', (weight != 0).to(weight.dtype))

    def forward(self, x: Tensor) -> Tensor:
        return self._conv_forward(x, self.weight * self.mask, None)


class UnfusedBlock(nn.Module):
    """The function of an AtomicBlock in the published form; exact zeros become masks.

    ``sum over kernels of project(relu(bn(depthwise(relu(bn(expand(x)))))))``, then one BN.
    """

    def __init__(self, block: AtomicBlock) -> None:
        super().__init__()
        self.paths = nn.ModuleList()
        start = 0
        for name, width in block.unit_groups().items():
            units = slice(start, start + width)
            start += width
            if not width:
                continue
            depthwise = block.depthwise[name]
            cut = dict(stride=depthwise.stride, padding=depthwise.padding, groups=width)
            path = nn.Sequential(
                MaskedConv2d(block.expand.weight[units]),
                part_of(block.expand_bn, units),
                nn.ReLU(),
                MaskedConv2d(depthwise.weight, **cut),
                part_of(block.depthwise_bn, units),
                nn.ReLU(),
                MaskedConv2d(block.project.weight[:, units]),
            )
            self.paths.append(path)
        self.norm = block.project_bn
        self.shortcut = block.shortcut
        if isinstance(self.shortcut, nn.Conv2d):
            shortcut = self.shortcut
            cut = dict(stride=shortcut.stride, groups=shortcut.groups)
            self.shortcut = MaskedConv2d(shortcut.weight, **cut)

    def forward(self, x: Tensor) -> Tensor:
        return self.shortcut(x) + self.norm(sum(path(x) for path in self.paths))


@torch.no_grad()
def part_of(norm: nn.BatchNorm2d, units: slice) -> nn.BatchNorm2d:
    """The norm of some channels."""
    part = nn.BatchNorm2d(len(norm.weight[units]), norm.eps, norm.momentum)
    for name in ('weight', 'bias', 'running_mean', 'running_var'):
        getattr(part, name).copy_(getattr(norm, name)[units])
    return part.train(norm.training).to(norm.weight)


def unfuse(module: nn.Module) -> nn.Module:
    """Replace every AtomicBlock in a module; a block without units stays as it is."""
    if isinstance(module, AtomicBlock):
        return UnfusedBlock(module) if sum(module.unit_groups().values()) else module
    for name, child in module.named_children():
        setattr(module, name, unfuse(child))
    return module

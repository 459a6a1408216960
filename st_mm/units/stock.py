"""Search units in the blocks of mmseg, mmpose and mmpretrain, whose classes stay unchanged."""

from collections.abc import Callable, Sequence
from operator import attrgetter
from typing import Any, NamedTuple

import torch
from mmcv.cnn import ConvAWS2d, ConvModule, ConvWS2d
from numpy.polynomial.hermite_e import hermegauss
from torch import Tensor, nn
from torch.nn.modules.module import register_module_module_registration_hook
from torch.utils.hooks import RemovableHandle

from .loading import check_fit, misfit, take_widths
from .owner import (
    ADAPTERS,
    StateDict,
    UnitOwner,
    UnitSlice,
    Widths,
    adapter_of,
    measures_importance,
    owner_of,
)
from .settled import settled_of_layers

WIDTH = 'width_of_config'  # attribute of a block: its units before any cut or load
STANDARDIZED = (ConvWS2d, ConvAWS2d)  # without one column, all others change
NORM = ('weight', 'bias', 'running_mean', 'running_var')


class Layer(NamedTuple):
    """Names of a convolution and of the norm after it, relative to their block."""

    conv: str
    norm: str

    @classmethod
    def of(cls, block: nn.Module, name: str) -> 'Layer':
        """Name the two layers in a ConvModule."""
        return cls(f'{name}.conv', f'{name}.{attrgetter(name)(block).norm_name}')


class HiddenChannels:
    """The hidden channels of a stock block as search units; the block itself is not changed.

    In ``project(excite(act(bn(conv(...)))))`` a unit is one output channel of the layers that feed
    the projection, its part of a squeeze-and-excitation between them, and one column of the
    projection. The projection is 1x1 and a batch norm follows it, so the constant of a dead unit
    can be folded into that norm's running mean. This is exact without an excitation. With one, the
    weight of the constant depends on the picture, and its mean is folded. That mean assumes
    normal outputs of the batch norm, with its present scales and biases.

    Args:
        block (nn.Module): The block.
        layers (Sequence[Layer]): The layers with one output channel per unit, in order; the norm
            of the last one measures importance.
        project (Layer): The projection.
        act (Callable): What follows the last norm.
        excite (str, optional): Name of the squeeze-and-excitation layer. Defaults to None.
        stride (int): Stride of what comes before the layers. Defaults to 1.
    """

    least_units = 1  # a convolution without channels does not run

    def __init__(
        self,
        block: nn.Module,
        layers: Sequence[Layer],
        project: Layer,
        act: Callable[[Tensor], Tensor],
        excite: str | None = None,
        stride: int = 1,
    ) -> None:
        self.block = block
        self.layers = layers
        self.project = project
        self.act = act
        self.excite = excite
        self.stride = stride

    def _get(self, name: str) -> Any:
        return attrgetter(name)(self.block)

    def is_plain(self) -> bool:
        """Check whether all layers are plain convolutions with batch norms after them."""
        for layer in (*self.layers, self.project):
            conv = self._get(layer.conv)
            if not isinstance(conv, nn.Conv2d) or isinstance(conv, STANDARDIZED):
                return False
            if not measures_importance(self._get(layer.norm)):
                return False
        kernel: tuple[int, ...] = self._get(self.project.conv).kernel_size
        return kernel == (1, 1)

    @property
    def unit_bn(self) -> nn.BatchNorm2d:
        """Return the BN after the last layer."""
        norm: nn.BatchNorm2d = self._get(self.layers[-1].norm)
        return norm

    def unit_groups(self) -> dict[str, int]:
        """Count the channels alive, under the name of their kernel."""
        conv = self._get(self.layers[-1].conv)
        return {f'k{conv.kernel_size[0]}': conv.weight.shape[0]}

    def unit_slices(self) -> list[UnitSlice]:
        """List the tensors that have one entry per hidden channel."""
        slices = [UnitSlice(f'{self.project.conv}.weight', 1)]
        convs = [layer.conv for layer in self.layers]
        for layer in self.layers:
            slices += [UnitSlice(f'{layer.norm}.{name}', 0) for name in NORM]
        if self.excite:
            slices.append(UnitSlice(f'{self.excite}.conv1.conv.weight', 1))
            convs.append(f'{self.excite}.conv2.conv')
        for conv in convs:
            slices.append(UnitSlice(f'{conv}.weight', 0))
            if self._get(conv).bias is not None:
                slices.append(UnitSlice(f'{conv}.bias', 0))
        return slices

    def unit_macs(self, input_size: tuple[int, int]) -> Tensor:
        """Compute the MACs of each channel: (units,) float64, at an input (height, width)."""
        macs, stride = 0.0, self.stride
        for layer in self.layers:
            conv = self._get(layer.conv)
            stride *= conv.stride[0]
            macs += _positions(input_size, stride) * conv.weight[0].numel()
        macs += _positions(input_size, stride) * self._get(self.project.conv).out_channels
        if self.excite:  # works on one position
            macs += 2 * self._get(f'{self.excite}.conv1.conv').out_channels
        return torch.full(self.unit_bn.weight.shape, macs, dtype=torch.float64)

    def saved_macs(self, input_size: tuple[int, int], dead: Tensor) -> float:
        """Compute the MACs that removing the dead channels together saves: their sum."""
        return float(self.unit_macs(input_size)[dead.cpu()].sum())

    @torch.no_grad()
    def absorb_units(self, dead: Tensor) -> None:
        """Fold what the dead channels feed into the projection into the BN after it.

        Args:
            dead (Tensor): (units,) bool, the channels about to be removed.
        """
        norm, project = self._get(self.project.norm), self._get(self.project.conv)
        constant = self.act(self.unit_bn.bias.clone()) * dead
        share = constant
        if self.excite:
            squeeze = self._get(f'{self.excite}.conv1')
            means = _mean(self.act, self.unit_bn)[None, :, None, None]
            share = constant * self._get(f'{self.excite}.conv2')(squeeze(means)).flatten()
            squeeze.conv.bias.add_(squeeze.conv.weight.flatten(1) @ constant)
        norm.running_mean.sub_((project.weight.flatten(1) @ share).to(norm.running_mean.dtype))

    def settled_units(self) -> Tensor:
        """Work out which channels give a constant: (units,) float64, nan for the others."""
        layers = [(self._get(layer.conv), self._get(layer.norm)) for layer in self.layers]
        outer = self._get(self.layers[0].conv.removesuffix('.conv'))
        between = outer.activate if getattr(outer, 'with_activation', False) else nn.Identity()
        squeeze = self._get(f'{self.excite}.conv1.conv').weight if self.excite else None
        project = self._get(self.project.conv).weight
        return settled_of_layers(layers, between, self.act, project, squeeze)

    def sync_units(self) -> None:
        """Set the layers' channel counts to the shapes of their weights."""
        units = self.unit_bn.weight.shape[0]
        for layer in self.layers:
            self._get(layer.norm).num_features = units
            conv = self._get(layer.conv)
            if conv.groups > 1:
                self._set(layer.conv, in_channels=units, groups=units)
            self._set(layer.conv, out_channels=units)
        self._set(self.project.conv, in_channels=units)
        if self.excite:
            self._set(f'{self.excite}.conv1.conv', in_channels=units)
            self._set(f'{self.excite}.conv2.conv', out_channels=units)

    def _set(self, name: str, **attributes: int) -> None:
        """Set attributes of a convolution and of the ConvModule around it, which has them too."""
        outer = self._get(name.removesuffix('.conv'))
        for module in (self._get(name), outer):
            for key, value in attributes.items():
                setattr(module, key, value)

    def widths_in(self, state_dict: StateDict, prefix: str) -> Widths:
        """Read how many channels a state dict has.

        Args:
            state_dict (Mapping[str, Tensor]): What is being loaded.
            prefix (str): Prefix of the block's keys.

        Returns:
            Mapping[str, int]: Channels under the name of their kernel; the present number if the
            state dict has none.

        Raises:
            RuntimeError: If it has more channels than the config, or no channels.
        """
        ((group, width),) = self.unit_groups().items()
        key = f'{prefix}{self.layers[-1].conv}.weight'
        if key not in state_dict:
            return {group: width}
        most = getattr(self.block, WIDTH, width)
        incoming = tuple(state_dict[key].shape)
        if not incoming or not self.least_units <= incoming[0] <= most:
            raise misfit(key, incoming, f'{self.least_units} to {most} filters')
        return {group: incoming[0]}


def _positions(size: tuple[int, int], stride: int) -> int:
    """Count the positions that a padded convolution with a stride visits in (height, width)."""
    height, width = (-(-length // stride) for length in size)
    return height * width


def _mean(act: Callable[[Tensor], Tensor], norm: nn.BatchNorm2d) -> Tensor:
    """Compute the mean of an activation over normal outputs of a norm: (channels,)."""
    quadrature = hermegauss(16)  # type: ignore[no-untyped-call]
    points, weights = (norm.weight.new_tensor(values) for values in quadrature)
    outputs = norm.bias[:, None] + norm.weight[:, None] * points  # (channels, points)
    return act(outputs) @ (weights / weights.sum())


def from_sequence(block: Any) -> UnitOwner | None:
    """Adapt MobileNetV2's block: ``conv`` is a sequence of [expand,] depthwise and project."""
    return _inverted(block, [f'conv.{index}' for index in range(len(block.conv))])


def from_names(block: Any) -> UnitOwner | None:
    """Adapt the block of MobileNetV3 and EfficientNet, whose layers have names."""
    names = ['expand_conv'] if block.with_expand_conv else []
    names += ['depthwise_conv', 'linear_conv']
    return _inverted(block, names, 'se' if block.with_se else None)


def _inverted(block: Any, names: list[str], excite: str | None = None) -> UnitOwner | None:
    """Adapt an inverted residual; without an expansion it has no channels of its own."""
    modules = [attrgetter(name)(block) for name in names]
    if len(names) != 3 or not all(isinstance(m, ConvModule) and m.with_norm for m in modules):
        return None
    depthwise = modules[1].conv
    squeeze = attrgetter(f'{excite}.conv1.conv')(block) if excite else None
    if depthwise.weight.shape[1] != 1 or (squeeze is not None and squeeze.bias is None):
        return None
    act = modules[1].activate if modules[1].with_activation else nn.Identity()
    expand, filters, project = (Layer.of(block, name) for name in names)
    owner = HiddenChannels(block, (expand, filters), project, act, excite)
    return owner if owner.is_plain() else None


def from_bottleneck(block: Any) -> UnitOwner | None:
    """Adapt ResNet's bottleneck: the channels between its 3x3 convolution and its last one.

    Those before the 3x3 convolution stay. It pads with zeros, so what a dead channel adds there is
    not constant over the picture.
    """
    if block.conv2.groups != 1 or getattr(block, 'with_plugins', False):
        return None
    filters = Layer('conv2', block.norm2_name)
    project = Layer('conv3', block.norm3_name)
    stride = block.conv1.stride[0]
    owner = HiddenChannels(block, (filters,), project, block.relu, stride=stride)
    return owner if owner.is_plain() else None


ADAPTERS.update(
    {
        'mmseg.models.utils.inverted_residual.InvertedResidual': from_sequence,
        'mmpose.models.backbones.mobilenet_v2.InvertedResidual': from_sequence,
        'mmpretrain.models.backbones.mobilenet_v2.InvertedResidual': from_sequence,
        'mmseg.models.utils.inverted_residual.InvertedResidualV3': from_names,
        'mmpose.models.backbones.utils.inverted_residual.InvertedResidual': from_names,
        'mmpretrain.models.utils.inverted_residual.InvertedResidual': from_names,
        'mmseg.models.backbones.resnet.Bottleneck': from_bottleneck,
        'mmpose.models.backbones.resnet.Bottleneck': from_bottleneck,
        'mmpretrain.models.backbones.resnet.Bottleneck': from_bottleneck,
    }
)


def expect_ticket(block: Any) -> None:
    """Let a stock block take the width of whatever is loaded into it.

    A config still names ``MobileNetV2``. Every path that loads weights ends in the block's own
    ``_load_from_state_dict``, which first calls the hook that is set here.
    """
    if not isinstance(block, nn.Module) or hasattr(block, WIDTH):
        return
    adapter = adapter_of(type(block))
    owner = adapter(block) if adapter else None
    if owner is not None:
        setattr(block, WIDTH, owner.unit_bn.weight.shape[0])
        # what `register_load_state_dict_pre_hook` calls, which torch has from 2.5 on
        block._register_load_state_dict_pre_hook(take_ticket, with_module=True)


def take_ticket(block: nn.Module, state_dict: StateDict, prefix: str, *_: object) -> None:
    """Take the width of what is about to be loaded into a block.

    If the width is that of the config, nothing is checked: torch and mmengine treat such a file
    as they treat any file of a stock network, with a warning where only a part of it fits.

    Raises:
        RuntimeError: If the width is another one and the tensors are not those of the block.
    """
    owner = owner_of(block)
    if owner is None:
        return
    if sum(owner.widths_in(state_dict, prefix).values()) != getattr(block, WIDTH):
        check_fit(block, state_dict, prefix, required=False)
    take_widths(block, state_dict, prefix)


def watch_registrations() -> None:
    """Prepare every module that gets a parent, if it has units, to take the width of a ticket.

    ``import st_mm`` calls this; a second call changes nothing.
    """
    global _watch
    if _watch is None:
        _watch = register_module_module_registration_hook(
            lambda parent, name, block: expect_ticket(block)
        )


def stop_watching() -> None:
    """Stop preparing modules that are built from now on; undoes :func:`watch_registrations`.

    In a Runner with hooks of st_mm they still take tickets, since the hooks prepare the model.
    """
    global _watch
    if _watch is not None:
        _watch.remove()
        _watch = None


_watch: RemovableHandle | None = None
watch_registrations()

"""Layouts: which dimensions of a weight are output and input channels."""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from torch import Tensor, nn
from torch.nn.modules.conv import _ConvTransposeNd
from torch.nn.modules.module import register_module_parameter_registration_hook
from torch.utils.weak import WeakIdKeyDictionary


class Layout(NamedTuple):
    """How the dimensions of a weight run.

    Scopes and patterns take every weight as (output channels, input channels of a group,
    *kernel), which is how convolutions and linear layers store it.

    Attributes:
        groups (int): Groups of a transposed convolution, which stores (input channels, output
            channels of a group, *kernel); 0 for other layers. Defaults to 0.
        least (int): Weights without which an output channel cannot run: 1 where the layer divides
            by the norm of its weights. Defaults to 0.
    """

    groups: int = 0
    least: int = 0

    def shape(self, shape: Sequence[int]) -> tuple[int, ...]:
        """Shape with the output channels first."""
        if not self.groups:
            return tuple(shape)
        inputs, outputs, *kernel = shape
        return (outputs * self.groups, inputs // self.groups, *kernel)

    def turn(self, weight: Tensor) -> Tensor:
        """Bring the output channels of a weight, or of what has its shape, to the front.

        The same call undoes it.
        """
        if not self.groups:
            return weight
        parts: Tensor = weight.unflatten(0, (self.groups, len(weight) // self.groups))
        return parts.transpose(1, 2).flatten(0, 1)


PLAIN = Layout()

_LAYOUTS: Any = WeakIdKeyDictionary()  # of each weight that is stored otherwise


def layout_of(weight: Tensor) -> Layout:
    """The layout of a weight, as it was noted when its layer got it."""
    layout: Layout = _LAYOUTS.get(weight, PLAIN)
    return layout


def layouts_of(weights: Mapping[str, Tensor]) -> dict[str, Layout]:
    """The layouts of weights that are not stored with the output channels first, by name."""
    found = {name: layout_of(weight) for name, weight in weights.items()}
    return {name: layout for name, layout in found.items() if layout != PLAIN}


def note_layout(module: nn.Module, weight: Tensor, least: int = 0) -> None:
    """Remember the layout of a layer's weight.

    Args:
        module (nn.Module): A convolution or linear layer.
        weight (Tensor): Its weight, or another tensor of that shape that it makes its weight of.
        least (int): Weights that have to stay in an output channel. Defaults to 0.
    """
    groups = 0
    if getattr(module, 'transposed', False) or isinstance(module, _ConvTransposeNd):
        groups = int(getattr(module, 'groups', 1))
    layout = Layout(groups, least)
    if layout != PLAIN and weight.numel():
        _LAYOUTS[weight] = layout


def _note(module: nn.Module, name: str, parameter: Any) -> None:
    if name == 'weight' and isinstance(module, _ConvTransposeNd) and parameter is not None:
        note_layout(module, parameter)


# a weight that is handed on without its layer is known all the same
register_module_parameter_registration_hook(_note)

"""The layers with weights that a mask can apply to, and the tensors that it has to apply to.

A mask has to reach the kernel. Mostly the kernel sees the parameter ``weight`` itself. Where a
layer makes its weight anew in every pass (weight norm, spectral norm, weight standardization), it
is tried out: a mask is put on what the weight is made of, and the layer shows whether the kernel
gets the same zeros.
"""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.func import functional_call
from torch.nn.modules.conv import _ConvNd
from torch.nn.parameter import is_lazy
from torch.overrides import TorchFunctionMode

from st_mm.calibration.random_state import frozen_random_state

from .layout import layout_of, note_layout

ATTENTION = ('in_proj_weight', 'q_proj_weight', 'k_proj_weight', 'v_proj_weight')
PLAIN = (
    nn.Linear,
    nn.Conv1d,
    nn.Conv2d,
    nn.Conv3d,
    nn.ConvTranspose1d,
    nn.ConvTranspose2d,
    nn.ConvTranspose3d,
)
# operators whose forward takes more than a picture; the kernel sees the parameter itself
OPERATORS = ('torchvision.ops.', 'mmcv.ops.')
PRODUCTS = ('conv', 'linear', 'matmul', 'mm', 'bmm', 'addmm', 'baddbmm', 'einsum')


class Weight(NamedTuple):
    """A weight of a layer.

    Attributes:
        name (str): Its name, relative to the layer.
        tensor (nn.Parameter): The parameter that a mask would apply to.
        reaches (bool): Whether its zeros are zeros in the kernel.
    """

    name: str
    tensor: nn.Parameter
    reaches: bool


def weights_of(layer: nn.Module) -> Iterator[Weight]:
    """Yield the weights of just this module: a convolution, a linear layer or an attention."""
    if isinstance(layer, nn.MultiheadAttention):
        for name in ATTENTION:
            if isinstance(parameter := layer._parameters.get(name), nn.Parameter):
                yield Weight(name, parameter, reaches=True)
        for name, parameter in layer.named_parameters():
            if name.startswith('parametrizations.') and parameter.dim() > 1:
                yield Weight(name, parameter, reaches=False)
    elif _is_layer(layer):
        parameter = layer._parameters.get('weight')
        if parameter is None:
            yield from _made_of(layer)
        elif not is_lazy(parameter):
            note_layout(layer, parameter)
            reaches = _is_plain(layer) or _reaches(layer, 'weight', parameter)
            yield Weight('weight', parameter, reaches)


def kernels_of(model: nn.Module, weights: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Compute the kernels that run for values of the weights.

    A layer with weight norm runs ``g * v / |v|`` for its weight ``v``, one with spectral norm a
    multiple of it. Most layers run the weight itself.

    Args:
        model (nn.Module): The model; left as it is.
        weights (Mapping[str, Tensor]): Values of weights whose zeros reach the kernel, by their
            names in the model.

    Returns:
        dict[str, Tensor]: Kernels of the weights' shapes, detached; values that are no weights of
        the model as they are.
    """
    modules = dict(model.named_modules(remove_duplicate=False))
    return {name: _kernel(modules, name, value.detach()) for name, value in weights.items()}


def _kernel(modules: Mapping[str, nn.Module], name: str, value: Tensor) -> Tensor:
    owner, made, _ = name.partition('.parametrizations.')
    owner = owner if made else name.rpartition('.')[0]
    layer, own = modules.get(owner), name.removeprefix(f'{owner}.')
    if layer is None or not _is_layer(layer) or (own == 'weight' and _is_plain(layer)):
        return value
    kernel = _run_kernel(layer, {own: value}, layer.get_parameter(own))
    if kernel is None:
        return value
    return kernel.detach() if kernel.shape == value.shape else kernel.detach().t()


def _is_layer(module: nn.Module) -> bool:
    if isinstance(module, (_ConvNd, nn.Linear)):
        return True
    # deformable convolutions, and others that are built like torch's
    weight = module._parameters.get('weight')
    if weight is None or is_lazy(weight) or weight.dim() < 3:
        return False
    return all(hasattr(module, name) for name in ('in_channels', 'out_channels', 'kernel_size'))


def _is_plain(layer: nn.Module) -> bool:
    """Whether the class says that the kernel sees the parameter itself."""
    kind: Any = type(layer)
    if any(f'{base.__module__}.'.startswith(OPERATORS) for base in kind.__mro__):
        return True
    return any(
        kind.forward is plain.forward
        and getattr(kind, '_conv_forward', None) is getattr(plain, '_conv_forward', None)
        for plain in PLAIN
    )


def _made_of(layer: nn.Module) -> Iterator[Weight]:
    """Find what a layer makes its weight of: the tensor whose zeros reach the kernel, if any."""
    with _undisturbed(layer):
        shape = getattr(layer, 'weight', torch.empty(0)).shape
    parts = {n: p for n, p in layer.named_parameters() if 'weight' in n and p.shape == shape}
    for name, parameter in parts.items():
        if _reaches(layer, name, parameter):
            yield Weight(name, parameter, reaches=True)
            return
    for name, parameter in parts.items() or _largest(layer):
        yield Weight(name, parameter, reaches=False)
        return


def _largest(layer: nn.Module) -> list[tuple[str, nn.Parameter]]:
    parts = [(n, p) for n, p in layer.named_parameters() if 'weight' in n]
    return sorted(parts, key=lambda part: part[1].numel())[-1:]


def _reaches(layer: nn.Module, name: str, parameter: nn.Parameter) -> bool:
    """Try out whether the zeros of a parameter are zeros in the kernel, and what it can bear.

    A layer that divides by the norm of its weights cannot lose all of them: one has to stay in
    each output channel, as the layout then says.
    """
    note_layout(layer, parameter)
    turn = layout_of(parameter).turn
    if not parameter.numel() or parameter.dim() < 2:
        return False
    with torch.no_grad():
        shape = turn(parameter).shape  # (out, in, ...)
        each = torch.arange(shape[0])
        one_each = torch.zeros(shape[0], shape[1:].numel(), dtype=torch.bool)
        one_each[each, each % one_each.shape[1]] = True
        some = one_each.clone()
        some.flatten()[::2] = True
        one_input_less = torch.ones_like(one_each).view(shape)
        if shape[1] > 1:
            one_input_less[:, 0] = False
        nothing = torch.zeros_like(one_each)
        reaches, bears_one, bears_less, bears_nothing = (
            _same_zeros(layer, name, parameter, turn(keep.view(shape)).to(parameter.device))
            for keep in (some, one_each, one_input_less, nothing)
        )
    if not bears_nothing:
        note_layout(layer, parameter, least=1)
    return reaches and bears_one and bears_less


def _same_zeros(layer: nn.Module, name: str, parameter: nn.Parameter, keep: Tensor) -> bool:
    """Whether the kernel has exactly the zeros that a parameter is given."""
    generator = torch.Generator().manual_seed(0)

    def drawn(tensor: Tensor) -> Tensor:  # from 0.5 to 1.5
        return (torch.rand(tensor.shape, generator=generator) + 0.5).to(tensor)

    tensors = {n: drawn(p) for n, p in layer.named_parameters() if 'weight' in n}
    tensors[name] = drawn(parameter) * keep
    run = _run_kernel(layer, tensors, parameter)
    if run is None or not run.isfinite().all():
        return False
    kernel = run != 0
    return torch.equal(kernel, keep) or (kernel.dim() == 2 and torch.equal(kernel.t(), keep))


def _run_kernel(layer: nn.Module, tensors: dict[str, Tensor], parameter: Tensor) -> Tensor | None:
    """Run a layer with other tensors; the kernel that it uses, None if it shows none."""
    buffers = {name: buffer.clone() for name, buffer in layer.named_buffers()}
    with _undisturbed(layer), torch.no_grad(), _Products() as products, suppress(Exception):
        functional_call(layer, tensors | buffers, (_inputs(layer, parameter),))
    shape = parameter.shape
    seen = [f for f in products.factors if shape in (f.shape, f.shape[::-1])]
    return seen[-1] if seen else None


def _inputs(layer: Any, parameter: Tensor) -> Tensor:
    """Something that a layer takes."""
    if isinstance(layer, nn.Linear):
        return parameter.new_ones(2, layer.in_features)
    spread = [d * (k - 1) + 1 for d, k in zip(layer.dilation, layer.kernel_size, strict=True)]
    return parameter.new_ones(2, layer.in_channels, *(2 * size + 6 for size in spread))


@contextmanager
def _undisturbed(layer: nn.Module) -> Iterator[None]:
    """Run a layer in eval mode, and give its mode, attributes and random state back."""
    kept = [(module, dict(vars(module))) for module in layer.modules()]
    layer.eval()
    try:
        with frozen_random_state():
            yield
    finally:
        for module, attributes in kept:
            vars(module).clear()
            vars(module).update(attributes)


class _Products(TorchFunctionMode):
    """Notes what is multiplied with something, in convolutions and matrix products."""

    def __init__(self) -> None:
        super().__init__()
        self.factors: list[Tensor] = []

    def __torch_function__(
        self,
        func: Callable[..., Any],
        types: Any,
        args: tuple[Any, ...] = (),
        kwargs: dict[str, Any] | None = None,
    ) -> Any:
        if getattr(func, '__name__', '').startswith(PRODUCTS):
            values = (*args, *(kwargs or {}).values())
            self.factors += [value for value in values[1:] if isinstance(value, Tensor)]
        return func(*args, **(kwargs or {}))

"""Evidence: what a criterion may look at beyond the weights, with no trace left behind."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from mmengine.dist import all_reduce, get_rank
from mmengine.model import BaseModel
from torch import Tensor, nn
from torch.func import functional_call
from torch.nn import functional as F
from torch.nn.modules.batchnorm import _BatchNorm
from torch.overrides import TorchFunctionMode

from st_mm.calibration.random_state import frozen_random_state, seed_everything

Weights = Mapping[str, Tensor]

TINY = 1e-300  # a flow from here to 1 / TINY has its full precision in float64
FLOW_INPUTS = (1.0, 1e-280, 1e280)  # what the inputs may be instead of ones


@dataclass(frozen=True)
class Evidence:
    """A model with batches and their loss.

    Every method evaluates the model at the ``weights`` it is given: the live ones, or masked
    copies of them. Parameters, gradients, buffers, modes and random generators are afterwards as
    they were, and no hook of a tensor fires, since the model runs on stand-ins of its tensors.

    The loss is that of training: the model is in train mode, so that BN uses the statistics of
    the batch (each rank its own, SyncBN too, which has no second derivative) and dropout is active.
    What is random is drawn from the seed, alike in every pass. Results are means over the batches
    of all ranks, hence the same on each; every rank has to have the same number of batches.

    Args:
        model (nn.Module): The live model, not wrapped.
        batches (Callable): Without arguments, gives an iterable of the same batches at each call.
        loss (Callable): ``loss(model, batch)`` gives the scalar loss of a batch, its mean over
            the samples.
        input_shape (Sequence[int] | Callable, optional): (channels, height, width) of one picture,
            which :meth:`flow` needs; or what gives it when it is asked for. Defaults to None.
        seed (int): Seed of dropout, and of batches that draw from the global generators.
            Defaults to 0.
    """

    model: nn.Module
    batches: Callable[[], Iterable[Any]]
    loss: Callable[[nn.Module, Any], Tensor]
    input_shape: Sequence[int] | Callable[[], Sequence[int]] | None = None
    seed: int = 0

    def mean(
        self,
        weights: Weights,
        of: Callable[[Tensor, list[Tensor]], Sequence[Tensor | None]],
    ) -> dict[str, Tensor]:
        """Average something that belongs to the loss of one batch over all batches and ranks.

        Args:
            weights (Mapping[str, Tensor]): Weights by their names in the model.
            of (Callable): ``of(loss, leaves)`` gives one tensor per weight, or None for zeros;
                ``leaves`` are the weights that the loss can be differentiated by.

        Returns:
            dict[str, Tensor]: Means of the weights' shapes and dtypes.

        Raises:
            ValueError: If there are no batches, no loss depends on any of the weights, or a mean
                is not finite.
        """
        leaves, given = self._leaves({name: weight.detach() for name, weight in weights.items()})
        tensors = {
            **{name: given.get(id(p), p.detach()) for name, p in self._parameters().items()},
            **{name: buffer.clone() for name, buffer in self.model.named_buffers()},
        }
        call = _Loss(self.model, self.loss)
        tensors = {f'model.{name}': tensor for name, tensor in tensors.items()}
        totals = {name: torch.zeros_like(weight) for name, weight in weights.items()}
        count = reached = 0
        with _as_it_was(self.model), torch.enable_grad():
            self.model.train()
            seed_everything(self.seed + get_rank())
            for batch in self.batches():
                loss = functional_call(call, tensors, (batch,))
                count += 1
                if not loss.requires_grad:
                    continue
                reached += 1
                parts = of(loss, list(leaves.values()))
                for total, part in zip(totals.values(), parts, strict=True):
                    if part is not None:
                        total += part.detach()
        if not reached:
            raise ValueError(
                f'the loss of {type(self.model).__name__} depends on none of the weights to be '
                'scored: pass a loss with its graph, of a model that uses them'
                if count
                else 'there are no batches to score weights by: draw at least one'
            )
        return _over_ranks({name: total / count for name, total in totals.items()})

    def gradients(self, weights: Weights) -> dict[str, Tensor]:
        """Gradient g of the mean loss; zero where no loss depends on a weight.

        Args:
            weights (Mapping[str, Tensor]): Weights by their names in the model.

        Returns:
            dict[str, Tensor]: Gradients of the weights' shapes and dtypes.

        Raises:
            ValueError: As :meth:`mean` does.
        """
        return self.mean(weights, partial(torch.autograd.grad, allow_unused=True))

    def hessian_product(self, weights: Weights, direction: Weights) -> dict[str, Tensor]:
        """Hessian H of the mean loss by the weights, times a vector.

        Args:
            weights (Mapping[str, Tensor]): Weights by their names in the model.
            direction (Mapping[str, Tensor]): The vector, in the order and shapes of the weights.

        Returns:
            dict[str, Tensor]: Products of the weights' shapes and dtypes.

        Raises:
            ValueError: As :meth:`mean` does.
        """

        def product(loss: Tensor, leaves: list[Tensor]) -> Sequence[Tensor | None]:
            slopes = torch.autograd.grad(loss, leaves, create_graph=True, allow_unused=True)
            pairs = zip(slopes, direction.values(), strict=True)
            along = sum(((s * d).sum() for s, d in pairs if s is not None), loss.new_zeros(()))
            if not along.requires_grad:  # the loss is linear
                return [None] * len(leaves)
            return torch.autograd.grad(along, leaves, allow_unused=True)

        return self.mean(weights, product)

    def flow(self, weights: Weights) -> dict[str, Tensor]:
        """Slope of the log flow through the model (SynFlow, Tanaka et al. 2020).

        The flow R is the sum of all outputs for a picture of ones, in eval mode, with every
        parameter replaced by its magnitude. Biases count as zero. A norm acts as a scale per
        channel alone: BN by |scale| / sqrt(running_var + eps), the others, which have no
        statistics of their own, by |scale|. An mm model runs with ``mode='tensor'``; weights which
        that leaves out, as those of auxiliary heads, have a slope of zero, and so have the queries
        and keys of an attention, whose softmax is saturated: name them in the hook's ``skip``.

        All is in float64, and the picture is of another constant where a flow out of its range
        asks for it: R is proportional to that constant where R is the product of layers that it
        is made for (convolutions, linear layers, norms, ReLU, pooling, interpolation), and the
        slope of log R does not depend on it. So gains from 1e-580 to 1e580 pass.

        Args:
            weights (Mapping[str, Tensor]): Weights by their names in the model.

        Returns:
            dict[str, Tensor]: d log R / d|w| of the weights' shapes, float64.

        Raises:
            ValueError: If there is no ``input_shape``, the model cannot take it in float64, or no
                finite flow reaches the outputs.
        """
        shape = self.input_shape() if callable(self.input_shape) else self.input_shape
        if shape is None or len(shape) != 3:
            raise ValueError(
                f'input_shape must be (channels, height, width) to compute a flow, got {shape}'
            )
        magnitudes = {name: w.detach().abs().double() for name, w in weights.items()}
        leaves, given = self._leaves(magnitudes)
        tensors = {
            name: given[id(p)] if id(p) in given else _stand_in(name, p.detach())
            for name, p in self._parameters().items()
        }
        for name, buffer in self.model.named_buffers():
            dtype = torch.float64 if buffer.is_floating_point() else buffer.dtype
            tensors[name] = buffer.to(dtype, copy=True)
        device = next(iter(magnitudes.values())).device
        picture = torch.ones(1, *shape, dtype=torch.float64, device=device)
        with _as_it_was(self.model), torch.enable_grad():
            self.model.eval()
            for value in FLOW_INPUTS:
                flow = self._flow(tensors, value * picture)
                if TINY < flow.abs() < 1 / TINY:
                    break
            else:
                raise ValueError(
                    f'the flow through {type(self.model).__name__} is {flow.item()}, which no '
                    'weight can be scored by: a layer between input and output has lost all its '
                    'weights or started from zeros, or a parameter is not finite'
                )
            slopes = torch.autograd.grad(
                flow / flow.detach().abs(), list(leaves.values()), allow_unused=True
            )
        return _over_ranks(  # of which each has its own BN statistics
            {
                name: torch.zeros_like(leaf.detach()) if slope is None else slope
                for (name, leaf), slope in zip(leaves.items(), slopes, strict=True)
            }
        )

    def _flow(self, tensors: dict[str, Tensor], picture: Tensor) -> Tensor:
        """Sum of the outputs of the model with other tensors in it."""
        kwargs = dict(data_samples=None, mode='tensor') if isinstance(self.model, BaseModel) else {}
        try:
            with _NormsAsScales():
                outputs = functional_call(self.model, tensors, (picture,), kwargs)
        except (RuntimeError, AssertionError, TypeError) as error:
            raise ValueError(
                f'{type(self.model).__name__} cannot take an input_shape of '
                f'{tuple(picture.shape[1:])} in float64: {error}'
            ) from error
        return torch.stack([output.sum() for output in _floats_in(outputs)]).sum()

    def _parameters(self) -> dict[str, Tensor]:
        """Parameters of the model under each of their names, should they have several."""
        return dict(self.model.named_parameters(remove_duplicate=False))

    def _leaves(self, values: Weights) -> tuple[dict[str, Tensor], dict[int, Tensor]]:
        """What to differentiate by, by name and by the id of the parameter it stands for."""
        own = self._parameters()
        given = {id(own[name]): value.requires_grad_() for name, value in values.items()}
        return {name: given[id(own[name])] for name in values}, given


class _Loss(nn.Module):
    """A loss as a module, so that it can be called with other tensors in the model."""

    def __init__(self, model: nn.Module, loss: Callable[[nn.Module, Any], Tensor]) -> None:
        super().__init__()
        self.model = model
        self.loss = loss

    def forward(self, batch: Any) -> Tensor:
        return self.loss(self.model, batch)


@contextmanager
def _as_it_was(model: nn.Module) -> Iterator[None]:
    """Give modes, requires_grad and random generators back; SyncBN acts as BN meanwhile."""
    modes = [(module, module.training) for module in model.modules()]
    # the `train` of mm backbones freezes stages
    trainable = [(parameter, parameter.requires_grad) for parameter in model.parameters()]
    synced = [module for module in model.modules() if isinstance(module, nn.SyncBatchNorm)]
    for norm in synced:
        vars(norm)['forward'] = partial(_BatchNorm.forward, norm)
    try:
        with frozen_random_state():
            yield
    finally:
        for norm in synced:
            del vars(norm)['forward']
        for module, training in modes:
            module.training = training
        for parameter, requires_grad in trainable:
            parameter.requires_grad_(requires_grad)


def _over_ranks(tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    """Mean over all ranks, checked."""
    for name, tensor in tensors.items():
        if tensor.numel():
            all_reduce(tensor, 'mean')
        if not tensor.isfinite().all():
            raise ValueError(
                f"what '{name}' is to be scored by is not finite: the loss or the weights have "
                'become infinite or nan; score before they do, or lower the learning rate'
            )
    return tensors


def _stand_in(name: str, parameter: Tensor) -> Tensor:
    """What a parameter that is not scored is in a flow."""
    if not parameter.is_floating_point():
        return parameter
    is_bias = 'bias' in name.rpartition('.')[2]  # bias, in_proj_bias, relative_position_bias_table
    return torch.zeros_like(parameter, dtype=torch.float64) if is_bias else parameter.abs().double()


def _floats_in(outputs: Any) -> Iterator[Tensor]:
    """Every floating point tensor in nested lists, tuples and dicts."""
    if isinstance(outputs, Tensor):
        if outputs.is_floating_point():
            yield outputs
    elif isinstance(outputs, Mapping):
        yield from _floats_in(tuple(outputs.values()))
    elif isinstance(outputs, (list, tuple)):
        for output in outputs:
            yield from _floats_in(output)


class _NormsAsScales(TorchFunctionMode):
    """Lets every norm scale its channels, and do nothing else."""

    def __torch_function__(
        self,
        func: Callable[..., Any],
        types: Any,
        args: tuple[Any, ...] = (),
        kwargs: dict[str, Any] | None = None,
    ) -> Any:
        stand_in: Callable[..., Any] = _SCALES.get(func, func)
        return stand_in(*args, **(kwargs or {}))


def _batch_norm(
    x: Tensor,
    running_mean: Tensor | None = None,
    running_var: Tensor | None = None,
    *,
    weight: Tensor | None = None,
    eps: float = 1e-5,
    **_: Any,
) -> Tensor:
    """Stand in for batch_norm and instance_norm: channels are dim 1."""
    scale = x.new_ones(x.shape[1]) if weight is None else weight
    if running_var is not None:
        scale = scale / (running_var + eps).sqrt()
    return x * scale.view(-1, *[1] * (x.dim() - 2))


def _group_norm(x: Tensor, groups: int, *, weight: Tensor | None = None, **_: Any) -> Tensor:
    return _batch_norm(x, weight=weight)


def _layer_norm(x: Tensor, over: Any, *, weight: Tensor | None = None, **_: Any) -> Tensor:
    return x if weight is None else x * weight


_SCALES: dict[Any, Callable[..., Tensor]] = {  # called with the keywords that torch passes on
    F.batch_norm: _batch_norm,
    F.group_norm: _group_norm,
    F.instance_norm: _batch_norm,
    F.layer_norm: _layer_norm,
}

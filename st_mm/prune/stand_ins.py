"""Running a model on copies of its tensors, so that a pass does not change the training."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from functools import partial

from mmengine.dist import all_reduce
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from st_mm.calibration.no_trace import no_trace

Weights = Mapping[str, Tensor]


def parameters_of(model: nn.Module) -> dict[str, Tensor]:
    """Collect the parameters of a model under each of their names; some have several."""
    return dict(model.named_parameters(remove_duplicate=False))


def leaves_for(model: nn.Module, values: Weights) -> tuple[dict[str, Tensor], dict[int, Tensor]]:
    """Make values of a model's parameters into tensors that require gradients.

    Args:
        model (nn.Module): The model.
        values (Mapping[str, Tensor]): Detached values by the names of their parameters.

    Returns:
        tuple[dict, dict]: The values that require gradients, by name and by the id of the
        parameter that each stands for.
    """
    own = parameters_of(model)
    given = {id(own[name]): value.requires_grad_() for name, value in values.items()}
    return {name: given[id(own[name])] for name in values}, given


@contextmanager
def as_it_was(model: nn.Module) -> Iterator[None]:
    """Leave no trace of a pass in a model; SyncBN acts as BN meanwhile."""
    with no_trace([model]):
        for norm in model.modules():
            if isinstance(norm, nn.SyncBatchNorm):
                vars(norm)['forward'] = partial(_BatchNorm.forward, norm)
        yield


def stand_in(model: nn.Module, given: Mapping[int, Tensor]) -> None:
    """Put other tensors into a model, until :func:`as_it_was` puts its own back.

    They stay for the whole pass: what a model recomputes in the backward sees them too.

    Args:
        model (nn.Module): The model, changed in place.
        given (Mapping[int, Tensor]): What stands for a parameter, by the parameter's id; for the
            others their values do, which nothing can be differentiated by.
    """
    stands = dict(given)
    own = []  # held, so that no id is given out twice; modules() gives each module once
    for module in model.modules():
        for tensors in (module._parameters, module._buffers):
            for name, tensor in tensors.items():
                if tensor is None:
                    continue
                if id(tensor) not in stands:
                    is_parameter = tensors is module._parameters
                    stands[id(tensor)] = tensor.detach() if is_parameter else tensor.clone()
                own.append(tensor)
                tensors[name] = stands[id(tensor)]  # type: ignore[assignment]


def over_ranks(tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    """Average over all ranks, and check the result."""
    for name, tensor in tensors.items():
        if tensor.numel():
            all_reduce(tensor, 'mean')
        if not tensor.isfinite().all():
            raise ValueError(
                f"the data to score '{name}' by are not finite: the loss or the weights have "
                'become infinite or nan; score before they do, or lower the learning rate'
            )
    return tensors

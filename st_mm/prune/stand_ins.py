"""Running a model on copies of its tensors, so that a pass does not change the training."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from functools import partial

from mmengine.dist import all_reduce
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from st_mm.calibration.random_state import frozen_random_state

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
    """Restore modes, requires_grad and random generators at the end; SyncBN acts as BN."""
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

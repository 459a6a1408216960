"""What may change in a training: which parameters, norms and units take part now.

The one place that decides. Scores, masks, the penalty, search, recalibration and counting ask it
again at every event, so that a part that is frozen or freed meanwhile is followed from then on.
What takes no part is left as it is in every way.
"""

from collections.abc import Collection, Iterable, Mapping, Sequence
from operator import attrgetter
from typing import Any

from mmengine.model import BaseAveragedModel
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.optim import Optimizer

from st_mm.units.owner import find_owners


def optimized(optimizers: Iterable[Optimizer]) -> frozenset[int]:
    """Collect what optimizers move.

    Args:
        optimizers (Iterable[Optimizer]): The optimizers of the training.

    Returns:
        frozenset[int]: ``id`` of each parameter in their groups. Those of a group whose learning
        rate is 0 by its multiplier, while others learn, are not among them.
    """
    groups = [group for optimizer in optimizers for group in optimizer.param_groups]
    still = [group for group in groups if not _rate(group)]
    moving = groups if len(still) == len(groups) else [g for g in groups if _rate(g)]
    return frozenset(id(parameter) for group in moving for parameter in group['params'])


def _rate(group: Mapping[str, Any]) -> float:
    return float(group.get('initial_lr', group.get('lr', 1.0)))  # schedulers start at 0, maybe


def trains(parameter: Tensor, moved: Collection[int] | None = None) -> bool:
    """Whether a parameter trains now.

    Args:
        parameter (Tensor): The parameter.
        moved (Collection[int], optional): What the optimizers move, by ``id``, see
            :func:`optimized`. Defaults to None: not known, so only ``requires_grad`` counts.
    """
    return parameter.requires_grad and (moved is None or id(parameter) in moved)


def training_names(
    groups: Mapping[str, Sequence[Tensor]], moved: Collection[int] | None = None
) -> frozenset[str]:
    """Names of the groups of parameters that train now as a whole."""
    return frozenset(
        name for name, group in groups.items() if all(trains(each, moved) for each in group)
    )


def unit_parameters(model: nn.Module) -> dict[str, list[Tensor]]:
    """List what a search may cut: by unit owner, the parameters that would lose units.

    Units are left out that cannot be removed alone: of a module that a momentum encoder inside the
    model repeats (it would not follow), and of one that shares a parameter with another.

    Args:
        model (nn.Module): The live model.

    Returns:
        dict[str, list[Tensor]]: Parameters by owner, in the order of :func:`find_owners`.
    """
    shared = _shared(model)
    repeated = tuple(f'{name}.' if name else '' for name in _repeated(model))
    found: dict[str, list[Tensor]] = {}
    for name, owner in find_owners(model).items():
        module = model.get_submodule(name)
        tensors = [attrgetter(unit.name)(module) for unit in owner.unit_slices()]
        parameters: list[Tensor] = [t for t in tensors if isinstance(t, nn.Parameter)]
        if not any(id(parameter) in shared for parameter in parameters) and not (
            repeated and f'{name}.'.startswith(repeated)
        ):
            found[name] = parameters
    return found


def _shared(model: nn.Module) -> set[int]:
    """Parameters that go by several names."""
    seen: set[int] = set()
    several: set[int] = set()
    for _, parameter in model.named_parameters(remove_duplicate=False):
        (several if id(parameter) in seen else seen).add(id(parameter))
    return several


def _repeated(model: nn.Module) -> list[str]:
    """Names of the modules that an averaged model inside the model follows, and its own.

    What it averages may have been put together for it, as MoCo's backbone and neck are: then its
    parts are looked for.
    """
    averages = {
        name: module
        for name, module in model.named_modules()
        if isinstance(module, BaseAveragedModel)
    }
    copies = {id(module) for average in averages.values() for module in average.modules()}
    sources: dict[tuple[Any, ...], list[str]] = {}
    for name, module in model.named_modules() if averages else ():
        if id(module) not in copies:
            sources.setdefault(_form(module), []).append(name)
    found = list(averages)
    waiting = [average.module for average in averages.values()]
    while waiting:
        copy = waiting.pop()
        if next(copy.parameters(), None) is None:
            continue
        if names := sources.get(_form(copy)):
            found += names
        else:
            waiting += copy.children()
    return found


def _form(module: nn.Module) -> tuple[Any, ...]:
    """What a module and its copy have in common: tensors by name and shape."""
    shapes = tuple((name, p.shape) for name, p in module.named_parameters())
    return (type(module), shapes)


def adapting_norms(model: nn.Module) -> frozenset[str]:
    """Find the norms whose statistics training adapts.

    Left out are norms that run in eval mode while the model trains (``norm_eval``,
    ``frozen_stages``), whoever put them there: the ``train`` of mm's backbones, or a hook. Norms
    inside a part that does not train at all (a teacher, a momentum encoder) are left out as well.

    Args:
        model (nn.Module): The live model; modes and ``requires_grad`` are afterwards as they were.

    Returns:
        frozenset[str]: Names of batch norms with running statistics.
    """
    modes = [(module, module.training) for module in model.modules()]
    flags = [(parameter, parameter.requires_grad) for parameter in model.parameters()]
    ran = {id(module) for module, training in modes if training or not model.training}
    model.train()
    try:
        modules = dict(model.named_modules())
        return frozenset(
            name
            for name, module in modules.items()
            if isinstance(module, _BatchNorm)
            and module.track_running_stats
            and module.training
            and id(module) in ran
            and _part_trains(name, modules)
        )
    finally:
        for module, training in modes:
            module.training = training
        for parameter, requires_grad in flags:
            parameter.requires_grad_(requires_grad)


def _part_trains(name: str, modules: Mapping[str, nn.Module]) -> bool:
    """Whether anything trains in a norm, or in the innermost module around it with weights."""
    norm = modules[name]
    if any(parameter.requires_grad for parameter in norm.parameters()):
        return True
    while name:
        name = name.rpartition('.')[0]
        rest = set(modules[name].parameters()) - set(norm.parameters())
        if rest:
            return any(parameter.requires_grad for parameter in rest)
    return True  # a norm without weights around: nothing is frozen

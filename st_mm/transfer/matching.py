"""Which part of a model is which part of a ticket."""

from collections import Counter
from collections.abc import Mapping, Sequence

from mmengine.model import BaseModel
from torch import nn

from st_mm.prune import survey
from st_mm.ticket import Ticket
from st_mm.units.loading import COUNTER, check_fit, shapes_at, state_tensors
from st_mm.units.owner import find_owners

from .names import hit, listed, renamed, tops, under
from .shared import Part, State, Transfer

INIT = "init_cfg=dict(type='Ticket')"


def match(
    model: nn.Module,
    state: State,
    file: str,
    prefix: str | Mapping[str, str] | None = None,
    new: Sequence[str] = (),
    own_head: bool = False,
) -> Transfer:
    """Work out what a model takes from a ticket.

    The parts of a whole model are its children; any other module is one part by itself. A ticket
    that fits a model as a whole is taken as a whole. Otherwise heads start new, necks are taken if
    every tensor fits, and the rest (backbones) has to find all its tensors in the ticket, but those
    of a classifier in it (LeNet's).

    Args:
        model (nn.Module): The target, in the widths of its config; it is not changed.
        state (Mapping[str, Tensor]): Weights of the ticket.
        file (str): The ticket, for messages.
        prefix (str | Mapping[str, str], optional): Name in the ticket of the backbone, or of each
            part by its name in the model. Defaults to None: the same name, else found by the names
            of the tensors.
        new (Sequence[str]): Names or shell patterns of parts, modules or tensors of the model that
            start new. Defaults to none.
        own_head (bool): Whether the head starts new even where everything fits, since it has other
            classes to tell apart. Defaults to False.

    Returns:
        Transfer: What is taken, new and left, part by part.

    Raises:
        ValueError: If nothing is shared, a name does not hit exactly one thing, or something would
            be taken in part only.
    """
    shapes = {name: tensor.shape for name, tensor in state_tensors(model)}
    is_model = isinstance(model, BaseModel)
    names = tops(shapes) if is_model else ['']
    given = _given(prefix, names, file)
    fresh = _fresh(new, list(shapes), file)
    whole = not given and _fits(model, state)
    parts = []
    for name in names:
        own = under(name, shapes)
        wanted = [each for each in own if each not in fresh]
        by_role = is_model and name not in given
        is_head, is_neck = (by_role and role in name for role in ('head', 'neck'))
        source = None
        if wanted and (not is_head or (whole and not own_head)):
            near = is_neck or whole
            source = given[name] if name in given else _find(name, wanted, state, file, near)
        if source is not None and not is_head:
            unfit = _unfit(model, name, source, wanted, state)
            fresh |= unfit
            wanted = [each for each in wanted if each not in unfit]
        if source is not None and (problem := _problem(model, name, source, wanted, state)):
            if not is_neck:
                raise ValueError(
                    f"{file}: part '{name or type(model).__name__}': {problem}; use the network "
                    f'that the ticket was drawn from, or name what is to start new in new of {INIT}'
                )
            source = None
        if source is None:
            parts.append(Part(name, None, {}, tuple(own), tuple(under(name, state))))
            continue
        pairs = {each: renamed(each, name, source) for each in wanted}
        taken = {each: origin for each, origin in pairs.items() if origin in state}
        came, still = set(taken.values()), (each for each in own if each in fresh)
        left = (key for key in under(source, state) if key not in came)
        parts.append(Part(name, source, taken, tuple(still), tuple(left)))
    _check(parts, model, state, file, given)
    placed = {key for part in parts for key in (*part.taken.values(), *part.left)}
    loose = tuple(key for key in state if key not in placed)
    return Transfer(file, tuple(parts), loose, Ticket.of_supernet(model), shapes)


def _given(prefix: str | Mapping[str, str] | None, names: list[str], file: str) -> dict[str, str]:
    """The names in the ticket that the user has given, by part.

    Raises:
        ValueError: If there is no such part, or several may be meant.
    """
    if prefix is None:
        return {}
    if isinstance(prefix, str):
        features = [name for name in names if 'head' not in name and 'neck' not in name]
        if len(features) != 1:
            raise ValueError(
                f"{file}: prefix='{prefix}' could be meant for {listed(features)}: name one of "
                "them, as in prefix=dict(backbone='...')"
            )
        prefix = {features[0]: prefix}
    if unknown := sorted(prefix.keys() - set(names)):
        raise ValueError(
            f"{file}: prefix names the part '{unknown[0]}', but the parts of the model are "
            f'{listed(names)}'
        )
    return {name: source.rstrip('.') for name, source in prefix.items()}


def _fresh(new: Sequence[str], tensors: list[str], file: str) -> set[str]:
    """The tensors that the user wants to start new.

    Raises:
        ValueError: If a pattern matches none.
    """
    found: set[str] = set()
    for pattern in (new,) if isinstance(new, str) else new:
        hits = {name for name in tensors if hit(name, pattern)}
        if not hits:
            raise ValueError(
                f"{file}: '{pattern}' in new of {INIT} matches no tensor of the model: it has "
                f'{listed(tops(tensors))}'
            )
        found |= hits
    return found


def _find(name: str, wanted: Sequence[str], state: State, file: str, near: bool) -> str | None:
    """Find a part in a ticket by the names of its tensors: under its own name, or anywhere.

    Raises:
        ValueError: If two places are alike.
    """
    below = {renamed(each, name, '') for each in wanted}
    if near:
        keys = under(name, state)
        return name if any(renamed(key, name, '') in below for key in keys) else None
    hits: Counter[str] = Counter()
    for key in state:
        pieces = key.split('.')
        for cut in range(len(pieces)):
            if '.'.join(pieces[cut:]) in below:
                hits['.'.join(pieces[:cut])] += 1
    most = max(hits.values(), default=0)
    best = [place for place, count in hits.items() if count == most]
    if name in best or len(best) < 2:
        return name if name in best else next(iter(best), None)
    if most < len({each for each in below if not each.endswith(COUNTER)}):
        return None  # names of a kind that many layers have
    raise ValueError(
        f"{file}: part '{name or 'this module'}' could be {listed(best)} of the ticket: say which "
        f'in prefix of {INIT}'
    )


def _unfit(
    model: nn.Module, name: str, source: str, wanted: Sequence[str], state: State
) -> set[str]:
    """Tensors of a classifier in a backbone (LeNet's) that are not those of the ticket's."""
    layers = {weight.rpartition('.')[0] for weight in survey(model).classifier}
    shapes = {each: tensor.shape for each, tensor in state_tensors(model)}
    own = [each for each in wanted if each.rpartition('.')[0] in layers]
    pairs = {each: renamed(each, name, source) for each in own}
    fits = all(o in state and state[o].shape == shapes[each] for each, o in pairs.items())
    return set() if fits else set(own)


def _problem(
    model: nn.Module, name: str, source: str, wanted: Sequence[str], state: State
) -> str | None:
    """Say what keeps a part from being taken; None if nothing does."""
    pairs = {each: renamed(each, name, source) for each in wanted}
    came = {each: state[origin] for each, origin in pairs.items() if origin in state}
    if not came:
        return f"the ticket has nothing of it under '{source}', but has {listed(tops(state))}"
    missing = [each for each in wanted if each not in came and not each.endswith(COUNTER)]
    if missing:
        return f"the ticket has no '{pairs[missing[0]]}' (and {len(missing) - 1} more)"
    shapes = {each: tensor.shape for each, tensor in state_tensors(model)}
    try:
        for place, owner in find_owners(model).items():
            module, path = model.get_submodule(place), f'{place}.' if place else ''
            if any(each in came for each in under(place, shapes)):
                widths = owner.widths_in(came, path)
                shapes |= {path + n: s for n, s in shapes_at(module, owner, widths).items()}
    except RuntimeError as error:  # more units than the config has
        return str(error).split(': ')[0]
    for each, tensor in came.items():
        if tensor.shape != shapes[each]:
            return (
                f"'{each}' has shape {tuple(tensor.shape)} in the ticket and "
                f'{tuple(shapes[each])} in the model'
            )
    return None


def _check(
    parts: Sequence[Part],
    model: nn.Module,
    state: State,
    file: str,
    given: Mapping[str, str],
) -> None:
    """Refuse a ticket that gives the features nothing, or two parts the same."""
    features = [part for part in parts if 'head' not in part.name and 'neck' not in part.name]
    if not any(part.taken for part in features or parts):
        raise ValueError(
            f'{file} shares no features with {type(model).__name__}, whose parts are '
            f'{listed(part.name for part in parts)}: the ticket has {listed(tops(state))}; it '
            f'belongs to another network, or prefix of {INIT} has to say where its backbone is'
        )
    first: dict[str, str] = {}
    for part in parts:
        if part.source is None or part.name in given:
            continue
        other = first.setdefault(part.source, part.name)
        if other != part.name:
            raise ValueError(
                f"{file}: '{part.source}' of the ticket could be '{other}' or '{part.name}' of "
                f'{type(model).__name__}: name the one that starts new in new of {INIT}, or '
                'both in prefix'
            )


def _fits(model: nn.Module, state: State) -> bool:
    """Whether a state dict is that of the model as a whole, units aside."""
    try:
        check_fit(model, state, '', required=True)
    except RuntimeError:
        return False
    return True

"""A ticket record that a file brings: of the right types and sizes, and that of its weights."""

import math
from collections.abc import Mapping
from itertools import pairwise
from typing import Any, NoReturn

import torch
from torch import Tensor

from st_mm.printable import printable
from st_mm.prune.masks import unpack
from st_mm.tensors import check_dense

MOST = 2**40  # elements of a weight, units of an owner: more is damage
ADVICE = 'the file was edited or damaged'
DIVERGED = 'the training had diverged, or the file was edited: take an earlier checkpoint of it'


def refuse(what: str, advice: str = ADVICE) -> NoReturn:
    """Raise the error of a record that cannot be right."""
    raise ValueError(f'the ticket record {printable(what)}: {advice}')


def check_record(record: Mapping[str, Any]) -> None:
    """Refuse a record that no training can have written.

    Args:
        record (Mapping[str, Any]): The entries of a :class:`~st_mm.ticket.Ticket`.

    Raises:
        ValueError: Naming the first entry that is wrong.
    """
    empty: dict[str, Any] = dict(units={}, total={}, masks={}, config={}, events=[], versions={})
    empty |= dict(removals=[])
    entries = empty | dict(record)
    for name, default in empty.items():
        if not isinstance(entries[name], type(default)):
            refuse(f'has a {type(entries[name]).__name__} for {name}')
    _check_units(entries['units'], entries['total'])
    _check_removals(entries['removals'], entries['units'], entries['total'])
    check_masks(entries['masks'])
    for hook, arguments in entries['config'].items():
        if not isinstance(arguments, dict):
            refuse(f'has no arguments of {_word(hook)}')
        _check_plain(arguments, f'arguments of {_word(hook)}')
    for event in entries['events']:
        _check_event(event)
    for library, version in entries['versions'].items():
        if not isinstance(version, str) or printable(version) != version:
            refuse(f'has {version!r} for the version of {_word(library)}')


def _check_units(units: Mapping[str, Any], total: Mapping[str, Any]) -> None:
    if units.keys() != total.keys():
        refuse('has units and totals of different owners')
    for owner, groups in total.items():
        where = f'has for the units of {_word(owner)!r}'
        kept = units[owner]
        if not isinstance(groups, dict) or not isinstance(kept, dict):
            refuse(f'{where} no dict')
        if list(groups) != list(kept):
            refuse(f'{where} the groups {list(kept)} and totals of {list(groups)}')
        for group, count in groups.items():
            if not _is_count(count):
                refuse(f'{where} a total of {count!r} in {_word(group)}')
            _check_indices(kept[group], count, f'{where} %s in {_word(group)}')


def _check_indices(indices: Any, count: int, where: str) -> None:
    if not isinstance(indices, list) or not all(map(_is_count, indices)):
        refuse(where % 'something else than indices')
    rising = all(one < other for one, other in pairwise(indices))
    if not rising or (indices and indices[-1] >= count):
        refuse(where % 'indices' + f' that do not rise to less than {count}')


def _check_removals(
    removals: list[Any], units: Mapping[str, Any], total: Mapping[str, Any]
) -> None:
    """Refuse units that went from where they never were, that went twice, or that are kept."""
    seen = {(name, g): set(kept) for name, groups in units.items() for g, kept in groups.items()}
    for removal in removals:
        if not isinstance(removal, dict):
            refuse('has a removal that is not a dict')
        for name, groups in removal.items():
            where = f'has for the removals of {_word(name)!r}'
            if (
                name not in total
                or not isinstance(groups, dict)
                or not groups.keys() <= total[name].keys()
            ):
                refuse(f'{where} other groups than the supernet')
            for group, indices in groups.items():
                _check_indices(indices, total[name][group], f'{where} %s in {_word(group)}')
                if seen[name, group].intersection(indices):
                    refuse(f'{where} units in {_word(group)} that are kept, or went before')
                seen[name, group].update(indices)


def check_masks(masks: Any) -> None:
    """Refuse packed masks whose bits are not those of their shapes.

    Args:
        masks (Any): Shape and bits by weight name.

    Raises:
        ValueError: Naming the first that is wrong.
    """
    if not isinstance(masks, dict):
        refuse(f'has a {type(masks).__name__} for masks')
    for name, entry in masks.items():
        where = f'has for the mask of {_word(name)!r}'
        if not isinstance(entry, dict) or entry.keys() != {'shape', 'bits'}:
            refuse(f'{where} something else than shape and bits')
        shape, bits = entry['shape'], entry['bits']
        sizes = isinstance(shape, list) and len(shape) <= 8 and all(map(_is_count, shape))
        if not sizes or math.prod(shape) > MOST:
            refuse(f'{where} the shape {shape!r}')
        packed = torch.is_tensor(bits) and bits.dtype == torch.uint8 and bits.dim() == 1
        if not packed or bits.layout != torch.strided or bits.is_meta:
            refuse(f'{where} something else than packed bits')
        if len(bits) != -(-math.prod(shape) // 8):
            refuse(f'{where} {len(bits)} bytes of bits for the shape {shape}')


def _check_event(event: Any) -> None:
    if not isinstance(event, dict):
        refuse('has an event that is not a dict')
    known = isinstance(event.get('kind'), str) and event.get('unit') in ('epoch', 'iter')
    if not known or not _is_count(event.get('t')):
        refuse(f'has an event without kind, unit and time ({event!r})')
    figures = {'search': {'removed'}, 'prune': {'ratio'}}.get(event['kind'], set())
    numbers = {name: value for name, value in event.items() if name not in ('kind', 'unit')}
    for name, value in numbers.items():
        what = f'has the event {event["kind"]} with {_word(name)} {value!r}'
        if isinstance(value, bool) or not isinstance(value, int | float):
            refuse(what)
        if not math.isfinite(value):
            refuse(what, DIVERGED)
    if missing := figures - numbers.keys():
        refuse(f'has the event {event["kind"]} without {", ".join(missing)}')


def _check_plain(value: Any, where: str, depth: int = 0) -> None:
    if depth > 20:
        refuse(f'has {where} that hold each other')
    if isinstance(value, dict):
        for key, entry in value.items():
            _check_plain(entry, f'{where}, {_word(key)}', depth + 1)
    elif isinstance(value, list | tuple):
        for entry in value:
            _check_plain(entry, where, depth + 1)
    elif isinstance(value, str):
        if printable(value) != value:
            refuse(f'has {where} with control characters')
    elif value is not None and not isinstance(value, bool | int | float):
        refuse(f'has {where} of type {type(value).__name__}')


def _word(name: Any) -> str:
    if not isinstance(name, str) or printable(name, 500) != name:
        refuse(f'has the name {name!r}')
    return name


def _is_count(value: Any) -> bool:
    return type(value) is int and 0 <= value <= MOST


def check_latent(latent: Any, masks: Mapping[str, Any], thresholds: Any = None) -> None:
    """Refuse latent weights that are not those under the masks.

    Args:
        latent (Any): For the weights and each copy of them, values by weight name.
        masks (Mapping[str, Any]): Masks that :func:`check_masks` has passed.
        thresholds (Any): By weight name, those of soft masks; such a weight has values of the whole
            tensor, but not in the copies. Defaults to None: no mask is soft.

    Raises:
        ValueError: Naming the first that is wrong.
    """
    thresholds = {} if thresholds is None else thresholds
    if not isinstance(thresholds, dict) or thresholds.keys() - masks.keys():
        refuse('comes with thresholds of other masks than its own')
    for name, value in thresholds.items():
        if type(value) is not float or not math.isfinite(value) or value < 0:
            nan = type(value) is float and not math.isfinite(value)
            what = f"comes with the threshold {value!r} of the mask of '{name}'"
            refuse(what, DIVERGED if nan else ADVICE)
    if not isinstance(latent, list):
        refuse(f'comes with a {type(latent).__name__} for the values under its masks')
    for index, values in enumerate(latent):
        if not isinstance(values, dict) or values.keys() != masks.keys():
            refuse('comes with values under other masks than its own')
        check_dense(values, 'the values under the masks')
        for name, tensor in values.items():
            masked = int((~unpack(masks[name]['bits'], masks[name]['shape'])).sum())
            whole = index == 0 and name in thresholds
            count = math.prod(masks[name]['shape']) if whole else masked
            if tensor.shape != (count,) or not tensor.is_floating_point():
                refuse(
                    f'comes with {tuple(tensor.shape)} values of {tensor.dtype} under the mask of '
                    f"'{name}', which masks {masked}"
                )
            if not torch.isfinite(tensor).all():
                refuse(f"comes with NaN or infinite values under the mask of '{name}'", DIVERGED)


def check_masked(masks: Mapping[str, Any], state: Mapping[str, Tensor], where: str) -> None:
    """Compare masks with the weights that they are said to lie over: what is masked is zero.

    Args:
        masks (Mapping[str, Any]): Masks that :func:`check_masks` has passed.
        state (Mapping[str, Tensor]): The weights, by name.
        where (str): What they are, for the error.

    Raises:
        ValueError: Naming the first weight that is not there, has another shape, or is not zero.
    """
    for name, entry in masks.items():
        if name not in state:
            refuse(f"has a mask for '{name}', which is not in {where}")
        weight = state[name]
        if list(weight.shape) != entry['shape']:
            refuse(
                f"has a mask of shape {entry['shape']} for '{name}', which has the shape "
                f'{list(weight.shape)} in {where}'
            )
        masked = ~unpack(entry['bits'], entry['shape']).to(weight.device)
        if weight[masked].any():
            refuse(f"says that weights of '{name}' are masked, which are not zero in {where}")

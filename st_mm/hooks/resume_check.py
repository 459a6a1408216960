"""A checkpoint to resume from, looked at as a whole before anything is taken from it."""

import math
from collections.abc import Mapping
from typing import Any, NoReturn

import torch
from mmengine.hooks import EMAHook
from mmengine.runner import Runner
from torch import Tensor

from st_mm.printable import printable
from st_mm.private import load_from
from st_mm.tensors import check_dense, check_values
from st_mm.ticket import Ticket, plain_state
from st_mm.ticket.validation import check_masks
from st_mm.work_dir import read_note

from .plain_checkpoint import HISTORY
from .run_state import BEFORE, LATENT, RESTING, bare_model, optim_wrapper

EMA = 'ema_state_dict'
PREFIX = 'module.'  # of the averaged model's names
# state of an optimizer with a value per weight; others may be a value per row, or a count
PER_WEIGHT = {
    'exp_avg',
    'exp_avg_sq',
    'max_exp_avg_sq',
    'momentum_buffer',
    'square_avg',
    'grad_avg',
    'acc_delta',
    'exp_inf',
    'sum',
}


def check_resumable(runner: Runner, checkpoint: Mapping[str, Any], ticket: Ticket | None) -> None:
    """Refuse to resume from a checkpoint in which something is missing, or does not fit.

    Args:
        runner (Runner): The run, with its optimizer and schedulers built.
        checkpoint (Mapping[str, Any]): What the file holds.
        ticket (Ticket, optional): Its record, validated.

    Raises:
        ValueError: Naming what is wrong.
    """
    _check_parts(runner, checkpoint)
    _check_meta(checkpoint['meta'], ticket)
    _check_ema(runner, checkpoint, ticket)
    _check_optimizer(runner, checkpoint)
    _check_schedulers(runner, checkpoint)
    _check_message_hub(checkpoint['message_hub'])
    rested = checkpoint.get(RESTING, [])
    if not isinstance(rested, list) or not all(isinstance(name, str) for name in rested):
        refuse(f'has {type(rested).__name__} for {RESTING}, which is to be a list of names')
    if ticket is not None and ticket.masks:
        _check_masks(checkpoint, ticket)


def refuse(what: str) -> NoReturn:
    """Raise the error of a checkpoint that cannot be resumed from."""
    raise ValueError(
        f'the checkpoint to resume from {printable(what)}: take an earlier one of the same '
        'training, or load its weights with load_from and without resume'
    )


def _check_parts(runner: Runner, checkpoint: Mapping[str, Any]) -> None:
    path = load_from(runner) or read_note(runner.work_dir)
    if checkpoint.keys() <= {'meta', 'state_dict'}:
        refuse(f'({path}) is a published or an extracted one, which has weights and meta alone')
    needed = ['meta', 'message_hub', 'optimizer']
    if runner.param_schedulers:
        needed.append('param_schedulers')
    for name in needed:
        if name not in checkpoint:
            refuse(f'({path}) has no {name}')
        kinds = list | dict if name == 'param_schedulers' else dict
        if not isinstance(checkpoint[name], kinds):
            refuse(f'({path}) has a {type(checkpoint[name]).__name__} for {name}')


def _check_meta(meta: Mapping[str, Any], ticket: Ticket | None) -> None:
    for unit in ('epoch', 'iter'):
        if not _is_count(meta.get(unit)):
            refuse(f'says {meta.get(unit)!r} for its {unit}')
        late = [e for e in (ticket.events if ticket else []) if e['unit'] == unit]
        if late and late[-1]['t'] > meta[unit]:
            refuse(f'says {unit} {meta[unit]}, and has an event of {unit} {late[-1]["t"]}')
    if meta.get('seed') is not None and type(meta['seed']) is not int:
        refuse(f'says {meta["seed"]!r} for its seed')


def _check_ema(runner: Runner, checkpoint: Mapping[str, Any], ticket: Ticket | None) -> None:
    averages = any(isinstance(hook, EMAHook) for hook in runner.hooks)
    if EMA not in checkpoint:
        if averages and ticket is not None:
            refuse('has no average of the weights, and the config has EMAHook')
        return
    if not averages:
        refuse('has an average of the weights, and the config has no EMAHook')
    check_dense(checkpoint[EMA], f'{EMA} of the checkpoint')
    state, ema = plain_state(checkpoint), checkpoint[EMA]
    live = {name.removeprefix(PREFIX): t for name, t in ema.items() if name.startswith(PREFIX)}
    if live.keys() != state.keys():
        name = sorted(live.keys() ^ state.keys())[0]
        refuse(f"has the tensor '{name}' in one of state_dict and {EMA} alone")
    for name, tensor in live.items():
        if tensor.shape != state[name].shape:
            refuse(
                f"has the tensor '{name}' of shape {tuple(state[name].shape)} in state_dict and "
                f'{tuple(tensor.shape)} in {EMA}'
            )
    check_values(live, bare_model(runner).state_dict().items(), f'{EMA} of the checkpoint')
    steps = ema.get('steps')
    if steps is None or steps.numel() != 1 or steps.is_floating_point() or int(steps) < 0:
        refuse(f'has no number of steps in {EMA}')


def _check_optimizer(runner: Runner, checkpoint: Mapping[str, Any]) -> None:
    saved, optimizer = checkpoint['optimizer'], optim_wrapper(runner).optimizer
    groups, states = saved.get('param_groups'), saved.get('state')
    if not isinstance(groups, list) or not isinstance(states, dict):
        refuse('has an optimizer without state and param_groups')
    ours = [group['params'] for group in optimizer.param_groups]
    theirs: list[Any] = [g.get('params') if isinstance(g, dict) else None for g in groups]
    if [len(part) if isinstance(part, list) else None for part in theirs] != list(map(len, ours)):
        refuse('has an optimizer over other groups of weights than the config')
    for group, current in zip(groups, optimizer.param_groups, strict=True):
        for name, value in current.items():
            if name in group and _is_number(value) and not _is_number(group[name]):
                refuse(f'has {group[name]!r} for {name} of the optimizer')
        if 'lr' not in group:
            refuse('has an optimizer without lr')
    state = plain_state(checkpoint)
    names = {id(weight): name for name, weight in bare_model(runner).named_parameters()}
    flat = [names.get(id(weight), '') for part in ours for weight in part]
    order = [index for part in theirs for index in part]
    if not all(type(index) is int for index in order) or len(set(order)) != len(order):
        refuse('has an optimizer whose weights are not numbered')
    by_index = dict(zip(order, flat, strict=True))
    _check_whole(states, theirs, by_index)
    for index, entry in states.items():
        if index not in by_index or not isinstance(entry, dict):
            refuse(f'has a state of the optimizer for the weight {index!r}, which is not there')
        weight = state.get(by_index[index])
        for name, value in entry.items():
            if not isinstance(name, str) or not name.isidentifier():
                refuse(f"has {name!r} in the optimizer for '{by_index[index]}'")
            if torch.is_tensor(value):
                _check_state(value, weight, f"{name} of '{by_index[index]}'", name)
            elif not _is_number(value) and (value is not None or name == 'step'):
                refuse(f"has {type(value).__name__} for {name} of '{by_index[index]}'")


def _check_whole(states: Mapping[Any, Any], groups: list[Any], names: Mapping[Any, str]) -> None:
    """Refuse states of a group of which one lacks what another has, and has nothing else."""
    for group in groups:
        keys = {i: set(states[i]) for i in group if i in states and isinstance(states[i], dict)}
        for index, own in keys.items():
            if more := next((other - own for other in keys.values() if own < other), None):
                name = sorted(map(str, more))[0]
                refuse(f"has no {name} of '{names[index]}' in the optimizer")


def _check_state(value: Tensor, weight: Tensor | None, where: str, name: str) -> None:
    check_dense({where: value}, 'the optimizer of the checkpoint')
    if not torch.isfinite(value).all():
        refuse(f'has NaN or infinite values for {where} in the optimizer')
    if name in PER_WEIGHT and weight is not None and value.shape != weight.shape:
        refuse(
            f'has the shape {tuple(value.shape)} for {where} in the optimizer, and '
            f'{tuple(weight.shape)} for the weight'
        )


def _check_schedulers(runner: Runner, checkpoint: Mapping[str, Any]) -> None:
    if not runner.param_schedulers:
        return
    saved, ours = checkpoint['param_schedulers'], runner.param_schedulers
    if isinstance(saved, dict) != isinstance(ours, dict) or len(saved) != len(ours):
        refuse(f'has {len(saved)} schedulers, and the config has {len(ours)}')
    if isinstance(ours, dict):
        return
    for number, (state, scheduler) in enumerate(zip(saved, ours, strict=True)):
        where = f'scheduler {number} ({type(scheduler).__name__})'
        if not isinstance(state, dict):
            refuse(f'has a {type(state).__name__} for {where}')
        for name, value in scheduler.state_dict().items():
            if callable(value) or isinstance(value, dict):
                continue
            if name not in state:
                refuse(f'has no {name} for {where}: it is of another kind')
            if not _alike(state[name], value):
                refuse(f'has {state[name]!r} for {name} of {where}')


def _check_message_hub(hub: Mapping[str, Any]) -> None:
    for name in ('log_scalars', 'runtime_info', 'resumed_keys'):
        if not isinstance(hub.get(name), dict):
            refuse(f'has no {name} in its message hub')
    for name, value in hub['resumed_keys'].items():
        if type(value) is not bool:
            refuse(f'has {value!r} for {name} in the resumed_keys of its message hub')
    for name, entry in hub['log_scalars'].items():
        if not isinstance(entry, dict) or HISTORY not in entry:
            continue
        parts: list[Any] = [entry.get(k) for k in (HISTORY, 'count_history', 'max_length')]
        values, counts, most = parts
        rows = isinstance(values, list) and isinstance(counts, list) and len(values) == len(counts)
        # a loss may have been NaN, a count may not
        numbers = rows and all(isinstance(v, int | float) for v in values)
        if not numbers or not all(map(_is_number, counts)) or not _is_count(most) or not most:
            refuse(f'has a damaged history of {name!r} in its message hub')


def _check_masks(checkpoint: Mapping[str, Any], ticket: Ticket) -> None:
    ticket.check_zeros(plain_state(checkpoint), 'state_dict')
    copies = 1
    if EMA in checkpoint:
        copies = 2
        live = {name.removeprefix(PREFIX): tensor for name, tensor in checkpoint[EMA].items()}
        ticket.check_zeros(live, EMA)
    latent, before = checkpoint.get(LATENT), checkpoint.get(BEFORE)
    if not isinstance(latent, list) or len(latent) < copies:
        refuse('has masks, and not the values of the weights under them')
    if before is None:
        refuse('has masks, and not those of its last prune')
    check_masks(before)
    shapes = {name: entry['shape'] for name, entry in ticket.masks.items()}
    for name, entry in before.items():
        if name in shapes and entry['shape'] != shapes[name]:
            refuse(f"has masks of '{name}' of different shapes")


def _alike(theirs: Any, ours: Any) -> bool:
    """Whether a value of a state may stand for ours: a number for a number, and so on."""
    if _is_number(ours):
        return _is_number(theirs)
    if isinstance(ours, list | tuple):
        return isinstance(theirs, list | tuple)
    return ours is None or isinstance(theirs, type(ours))


def _is_count(value: Any) -> bool:
    return type(value) is int and 0 <= value < 2**53


def _is_number(value: Any) -> bool:
    number = isinstance(value, int | float) and not isinstance(value, bool)
    return number and math.isfinite(value)

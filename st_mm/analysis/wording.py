"""How a ticket was drawn, in words."""

from collections.abc import Mapping
from typing import Any

from st_mm.hooks.event_lines import LABELS, counted


def describe_schedule(config: Mapping[str, Mapping[str, Any]]) -> list[str]:
    """Describe the hooks of a ticket record in words, a line each.

    Args:
        config (Mapping[str, dict]): Arguments by hook, as recorded.

    Returns:
        list[str]: Search, pruning, reactivation and fixed masks, as far as they are recorded.
    """
    lines = []
    if search := config.get('SearchHook'):
        lines.append(
            f'search every {_times(search)}: units with a scale of at most '
            f'{search["threshold"]:g} go; rho {search["rho"]:g}, '
            f'rising over {search["warmup"]:g} {_unit(search)}s'
        )
        if cost := search.get('cost'):
            lines.append(f'units cost {_cost(cost)}')
        if target := search.get('target'):
            amounts = (f'{LABELS.get(n, n)} of {_target(value)}' for n, value in target.items())
            lines.append(f'towards {" and ".join(amounts)}')
    for hook in ('ProgressivePruneHook', 'PruneHook'):
        if prune := config.get(hook):
            lines.append(describe_prune(prune))
    if free := config.get('ReactivateHook'):
        when = 'after search steps' if free['on'] == 'search' else 'right after prunes'
        scope = 'in searched blocks' if free['scope'] == 'searched' else 'everywhere'
        value = 'at their latent values' if free['mode'] == 'latent' else 'from zero'
        which = 'masked weights'
        if free['mode'] == 'gradient':
            which = f'{_percent(free["share"])} of the masked weights, of the largest gradients,'
        lines.append(f'reactivate {which} {when}, {scope}, {value}')
    if 'ReapHook' in config:
        lines.append('empty units go after the last prune')
    if 'FixedMaskHook' in config:
        lines.append('retrained under fixed masks')
    return lines or ['none']


def describe_prune(config: Mapping[str, Any]) -> str:
    """Describe a pruning hook of a ticket record in words.

    Args:
        config (Mapping[str, Any]): Its arguments, as recorded.

    Returns:
        str: When it prunes, how much, and which weights first.
    """
    schedule = config['schedule']
    kind, ratio, unit = schedule['type'], schedule['ratio'], _unit(config)
    every = _times({**config, **schedule}) if schedule.get('interval') else ''
    if kind == 'Progressive':
        step = min(schedule['step'], ratio)
        line = f'prune every {every}: {step:.0%} more'
        if step < ratio:
            line += f', up to {_percent(ratio)}'
        if schedule['begin']:
            line += f', counted from {schedule["begin"]}'
    elif kind == 'OneShot':
        line = f'prune once, at {unit} {schedule["at"]}: {_percent(ratio)}'
    elif kind == 'Cubic':
        line = f'prune every {every} from {schedule["begin"]}: along a cubic to {_percent(ratio)}'
    elif kind == 'Constant':
        line = f'hold {_percent(ratio)} from {unit} {schedule["begin"]} on'
        line += f', new masks every {every}' if every else ''
    else:
        line = f'prune by {kind} to {_percent(ratio)}'
    if schedule.get('end') is not None:
        line += f', the last at {schedule["end"]}'
    score = config['score']
    line += f'; by {score["type"]}'
    if score['rounds'] > 1:
        line += f' in {score["rounds"]} rounds'
    if config['scope'] != 'global':
        line += f', scope {config["scope"]}'
    if pattern := config['pattern']:
        numbers = ', '.join(str(value) for name, value in pattern.items() if name != 'type')
        line += f', pattern {pattern["type"]}({numbers})'
    if config['rules']:
        line += f'; rules for {", ".join(rule["names"] for rule in config["rules"])}'
    if through := config.get('straight_through'):
        line += f'; masked weights learn, masks are {through}'
    if config['skip']:
        line += f'; skips {", ".join(config["skip"])}'
    return line


def describe_events(events: list[dict[str, Any]]) -> str:
    """Describe in one sentence what has happened so far."""
    searches = [event for event in events if event['kind'] == 'search']
    prunes = [event for event in events if event['kind'] == 'prune']
    freed = sum(event['kind'] == 'reactivate' for event in events)
    parts = []
    if searches:
        removed = sum(event['removed'] for event in searches)
        parts.append(
            f'{counted(len(searches), "search step")} ({counted(removed, "unit")} removed)'
        )
    if prunes:
        last = prunes[-1]
        parts.append(
            f'{counted(len(prunes), "prune")} (the last at {last["unit"]} {last["t"]}, '
            f'to {_percent(last["ratio"])})'
        )
    if freed:
        parts.append(counted(freed, 'reactivation'))
    if reaped := sum(event['removed'] for event in events if event['kind'] == 'reap'):
        parts.append(f'{counted(reaped, "empty unit")} removed')
    return ', '.join(parts) or 'none yet'


def _percent(share: float) -> str:
    return f'{100 * share:g}%'


def _cost(cost: Mapping[str, Any]) -> str:
    options = ', '.join(str(value) for name, value in cost.items() if name != 'type')
    name = LABELS.get(cost['type'], cost['type'])
    return f'{name} ({options})' if options else name


def _target(value: float | str) -> str:
    return f'{value} of those at the start' if isinstance(value, str) else f'{value:,.10g}'


def _times(hook: Mapping[str, Any]) -> str:
    """Write the interval of a hook with its unit of time."""
    unit = _unit(hook)
    return unit if hook['interval'] == 1 else f'{hook["interval"]} {unit}s'


def _unit(hook: Mapping[str, Any]) -> str:
    return 'epoch' if hook.get('by_epoch', True) else 'iteration'

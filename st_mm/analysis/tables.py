"""Reports as tables for the terminal."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from rich import box
from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from st_mm.ticket import Ticket

from .checkpoints import Facts
from .compare import Comparison, Overlap
from .numbers import scaled
from .report import BlockRow, Cost, LayerRow, TicketReport, Totals

DEAD = '✗'


def header(facts: Facts, ticket: Ticket | None) -> RenderableType:
    """Show where a checkpoint comes from, and how it was drawn.

    Args:
        facts (Facts): Its origin.
        ticket (Ticket, optional): Its record.

    Returns:
        RenderableType: A grid of names and values.
    """
    kind = 'published checkpoint' if facts.published else 'training checkpoint'
    trained = 'unknown'
    if facts.epoch is not None and facts.iteration is not None:
        trained = f'{_count(facts.epoch, "epoch")}, {_count(facts.iteration, "iteration")}'
    lines = [
        ('checkpoint', facts.path),
        ('kind', f'{kind}, {_bytes(facts.size)}'),
        ('config', facts.config),
        ('data', facts.dataset),
        ('trained', trained),
        ('versions', ', '.join(f'{name} {v}' for name, v in facts.versions.items()) or 'unknown'),
    ]
    if ticket is None:
        lines.append(('ticket', 'no record: neither searched nor pruned by st_mm'))
    else:
        lines += [('schedule', line) for line in describe_schedule(ticket.config)]
        lines.append(('events', describe_events(ticket.events)))
    grid = Table.grid(padding=(0, 2))
    grid.add_column(style='bold')
    grid.add_column(overflow='fold')
    previous = None
    for name, value in lines:
        grid.add_row('' if name == previous else name, Text(value))
        previous = name
    return grid


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
        parts.append(f'{_count(len(searches), "search step")} ({_count(removed, "unit")} removed)')
    if prunes:
        last = prunes[-1]
        parts.append(
            f'{_count(len(prunes), "prune")} (the last at {last["unit"]} {last["t"]}, '
            f'to {_percent(last["ratio"])})'
        )
    if freed:
        parts.append(_count(freed, 'reactivation'))
    return ', '.join(parts) or 'none yet'


def blocks(report: TicketReport) -> RenderableType:
    """Show units, parameters, density and MACs per block.

    Args:
        report (TicketReport): The report.

    Returns:
        RenderableType: A table with a column per group of units; its rows sum up to the totals.
    """
    groups = list(dict.fromkeys(group for row in report.blocks for group in row.units))
    title = 'Blocks: units alive / of the supernet' if groups else 'Parts'
    if any(row.dead for row in report.blocks):
        title += f'; {DEAD} marks blocks without any'
    table = _table(title)
    table.add_column('  block' if groups else '  part', footer='  all', overflow='fold')
    for group in groups:
        table.add_column(group, justify='right', no_wrap=True)
    totals = report.totals
    for column, total in (
        ('params', f'{totals.structural.params:,}'),
        ('density', _density(totals.weights.density)),
        ('MACs', scaled(totals.structural.macs)),
        ('nonzero', scaled(totals.nonzero.macs)),
    ):
        table.add_column(column, justify='right', no_wrap=True, footer=total)
    section = above = ''
    for row in report.blocks:
        outer, inner = _split(row.name)
        if outer != section and outer:
            table.add_row(Text(outer, style='bold'))
        section = outer
        mark = DEAD if row.dead else ' '
        if above and row.name.startswith(f'{above}.'):  # an owner inside the owner above
            name = f'{mark}   {row.name.removeprefix(above + ".")}'
        else:
            name = f'{mark} {inner or report.model}'
            above = row.name if row.units else ''
        table.add_row(
            Text(name),
            *(_kept(row, group) for group in groups),
            f'{row.structural.params:,}',
            _density(row.weights.density),
            scaled(row.structural.macs),
            scaled(row.nonzero.macs),
            style='red' if row.dead else '',
        )
    return table


def layers(rows: tuple[LayerRow, ...]) -> RenderableType:
    """Show density and MACs per convolution and linear layer.

    Args:
        rows (tuple[LayerRow, ...]): The layers of a report.

    Returns:
        RenderableType: A table; layers that are not pruned are marked.
    """
    table = _table('Layers', footer=False)
    table.add_column('layer', overflow='fold')
    for name in ('weight', 'density', 'MACs', 'nonzero'):
        table.add_column(name, justify='right')
    for row in rows:
        layer = Text(row.name)
        if not row.prunable:
            layer.append('  not pruned', style='italic')
        table.add_row(
            layer,
            'x'.join(map(str, row.shape)),
            _density(row.density),
            scaled(row.macs),
            scaled(row.nonzero_macs),
        )
    return table


def summary(report: TicketReport) -> RenderableType:
    """Show parameters and MACs of the supernet, after the search, and after pruning.

    Args:
        report (TicketReport): The report.

    Returns:
        RenderableType: A table, then the units and weights that are left.
    """
    totals = report.totals
    table = _table(f'{report.model} at {"x".join(map(str, report.input_shape))}', footer=False)
    table.add_column('')
    for name in ('params', '', 'MACs', ''):
        table.add_column(name, justify='right')
    rows = [('dense', totals.dense), ('after pruning (nonzero)', totals.nonzero)]
    if totals.owners.total:
        rows = [
            ('supernet (dense)', totals.dense),
            ('after the search (structural)', totals.structural),
            ('after search and pruning (nonzero)', totals.nonzero),
        ]
    for name, cost in rows:
        table.add_row(name, *_cost(cost, totals.dense))
    density = totals.weights.density
    if density is not None:
        approximate = totals.approximate_macs
        table.add_row(
            Text(f'  published approximation: MACs x {density:.4f} (1 - p)', style='dim'),
            '',
            '',
            Text(scaled(approximate), style='dim'),
            Text(_share(approximate, totals.dense.macs), style='dim'),
        )
    return Group(table, Text(_what_is_left(totals)))


def comparison(found: Comparison, paths: tuple[str, str], layers: bool = False) -> RenderableType:
    """Show what two tickets, A and B, have in common.

    Args:
        found (Comparison): The comparison.
        paths (tuple[str, str]): Their files.
        layers (bool): Whether to list the masks of every layer. Defaults to False.

    Returns:
        RenderableType: The files, a table of units and one of weights.
    """
    grid = Table.grid(padding=(0, 2))
    for style in ('bold', ''):
        grid.add_column(style=style, overflow='fold')
    for name, path, density in zip('AB', paths, found.densities, strict=True):
        grid.add_row(name, Text(f'{path}, density {_density(density)}'))
    rows = found.layers if layers else ()
    return Group(
        grid,
        Text(),
        _overlaps('Search units that are kept', 'block', found.blocks, found.units),
        _overlaps('Weights that are kept, of units in both', 'layer', rows, found.weights),
    )


def sizes(files: Sequence[tuple[str | Path, int]]) -> RenderableType:
    """Show files and their sizes.

    Args:
        files (Sequence[tuple[str | Path, int]]): Path and size in bytes of each.

    Returns:
        RenderableType: A grid, a row each.
    """
    grid = Table.grid(padding=(0, 2))
    grid.add_column(overflow='fold')
    grid.add_column(justify='right', no_wrap=True)
    for path, size in files:
        grid.add_row(Text(str(path)), _bytes(size))
    return grid


def _overlaps(title: str, name: str, rows: Sequence[Overlap], total: Overlap) -> Table:
    table = _table(title)
    table.add_column(name, footer='all', overflow='fold')
    for column, figure in zip(
        ('of', 'both', 'A only', 'B only', 'flips', 'IoU'), _figures(total), strict=True
    ):
        table.add_column(column, justify='right', no_wrap=True, footer=figure)
    for row in rows:
        table.add_row(Text(row.name), *_figures(row))
    return table


def _figures(row: Overlap) -> list[str]:
    counts = (row.total, row.both, row.first_only, row.second_only, row.flips)
    return [*(f'{count:,}' for count in counts), f'{row.iou:.4f}']


def _what_is_left(totals: Totals) -> str:
    weights = totals.weights
    lines = [
        f'  density {_density(weights.density)}: {weights.nonzero:,} of {weights.total:,} prunable '
        'weights are not zero'
    ]
    if totals.owners.total:
        dead = totals.owners.total - totals.owners.alive
        lines.append(
            f'  {totals.units.alive:,} of {totals.units.total:,} search units in '
            f'{totals.owners.total} unit owners' + (f', {dead} of them dead' if dead else '')
        )
    return '\n'.join(lines)


def _table(title: str, footer: bool = True) -> Table:
    return Table(
        title=title,
        title_style='bold',
        title_justify='left',
        box=box.SIMPLE_HEAD,
        show_footer=footer,
        header_style='bold',
        footer_style='bold',
        padding=(0, 0, 0, 1),
    )


def _split(name: str) -> tuple[str, str]:
    """Split a block's name into the stage (or part) and the rest, for a heading."""
    parts = name.split('.')
    for depth, part in enumerate(parts[:-1], 1):
        if part.isdecimal():
            return '.'.join(parts[:depth]), '.'.join(parts[depth:])
    return '.'.join(parts[:-1]), parts[-1]


def _kept(row: BlockRow, group: str) -> Text:
    if group not in row.units:
        return Text('')
    kept = row.units[group]
    return Text(f'{kept.alive}/{kept.total}', style='' if kept.alive else 'red')


def _cost(cost: Cost, dense: Cost) -> tuple[str, str, str, str]:
    return (
        f'{cost.params:,}',
        _share(cost.params, dense.params),
        scaled(cost.macs),
        _share(cost.macs, dense.macs),
    )


def _share(part: int, whole: int) -> str:
    return f'{part / whole:.1%}' if whole else '-'


def _density(density: float | None) -> str:
    return '-' if density is None else f'{density:.4f}'


def _percent(share: float) -> str:
    return f'{100 * share:g}%'


def _times(hook: Mapping[str, Any]) -> str:
    """Write the interval of a hook with its unit of time."""
    unit = _unit(hook)
    return unit if hook['interval'] == 1 else f'{hook["interval"]} {unit}s'


def _unit(hook: Mapping[str, Any]) -> str:
    return 'epoch' if hook.get('by_epoch', True) else 'iteration'


def _count(number: int, noun: str) -> str:
    return f'{number:,} {noun}' + ('' if number == 1 else 's')


def _bytes(size: int) -> str:
    return f'{size / 2**20:.1f} MiB' if size >= 2**20 else f'{size / 2**10:.1f} KiB'

"""Reports as tables for the terminal."""

from collections.abc import Sequence
from pathlib import Path

from rich import box
from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from st_mm.hooks.event_lines import counted
from st_mm.ticket import Ticket

from .checkpoints import Facts
from .compare import Comparison, Overlap
from .course import courses
from .numbers import scaled
from .report import BlockRow, Cost, LayerRow, TicketReport, Totals
from .wording import describe_events, describe_schedule

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
        trained = f'{counted(facts.epoch, "epoch")}, {counted(facts.iteration, "iteration")}'
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
        lines += [('course', str(course)) for course in courses(ticket)]
        lines.append(('events', describe_events(ticket.events)))
    grid = Table.grid(padding=(0, 2))
    grid.add_column(style='bold')
    grid.add_column(overflow='fold')
    previous = None
    for name, value in lines:
        grid.add_row('' if name == previous else name, Text(value))
        previous = name
    return grid


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


def _bytes(size: int) -> str:
    return f'{size / 2**20:.1f} MiB' if size >= 2**20 else f'{size / 2**10:.1f} KiB'

"""Drawings of what a ticket has kept: its blocks in the supernet's grid, and its densities."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.patches import Patch, Rectangle

from .plots import BLUE, GREEN, ORANGE, PURPLE
from .report import BlockRow, TicketReport

COLOURS = (BLUE, ORANGE, GREEN, PURPLE, '#E69F00', '#56B4E9')
GONE = '#E4E4E4'
HATCHES = ('', '////', '....', 'xxxx', '\\\\\\\\', '++++')  # tell kernels apart in grey
BRANCH = re.compile(r'(?:^|\.)stages\.(\d+)\.branches\.(\d+)\.(\d+)$')
FUSION = re.compile(r'(?:^|\.)stages\.(\d+)\.fusion\.paths\.(\d+)to(\d+)$')
GROWTH = re.compile(r'(?:^|\.)stages\.(\d+)\.fusion\.new_branch$')
PITCH = 0.66  # of columns, inches
GAP = 1.5  # columns of a stage beside its blocks: its fusions
PER_LINE = 10  # blocks in a line, of a network without branches


@dataclass(frozen=True)
class Place:
    """Where a block is drawn.

    Attributes:
        column (float): From left to right, in the order in which the picture passes.
        row (float): From top to bottom: resolutions from fine to coarse.
        label (str): What stands above it.
    """

    column: float
    row: float
    label: str


def plot_architecture(report: TicketReport) -> Figure:
    """Draw the units that every block has kept (as the paper's Fig. 9, with a ticket in it).

    A box is a block of the supernet. Its coloured part is what the search has kept, a colour per
    kernel (or tokens); grey is what has been removed. Rows are the branches of our supernet, from
    fine to coarse, and its stages go from left to right, fusions (a box per input branch) before
    blocks. The blocks of other networks are drawn in lines, in their order.

    Args:
        report (TicketReport): The report over the ticket.

    Returns:
        Figure: The drawing.

    Raises:
        ValueError: If the network has no search units.
    """
    blocks = [block for block in report.blocks if block.units]
    if not blocks:
        raise ValueError(f'{report.model} has no search units to draw')
    places = _places([block.name for block in blocks])
    columns = max(place.column for place in places) + 1
    rows = max(place.row for place in places) + 1
    figure = Figure(figsize=(0.8 + PITCH * columns, 1.2 + 0.8 * rows), layout='constrained')
    FigureCanvasAgg(figure)
    axis = figure.subplots()
    kinds = list(dict.fromkeys(kind for block in blocks for kind in block.units))
    for block, place in zip(blocks, places, strict=True):
        _draw_block(axis, block, place, kinds)
    if any(BRANCH.search(block.name) for block in blocks):
        _name_grid(axis, [block.name for block in blocks], places)
    axis.set_xlim(-0.45, columns)
    axis.set_ylim(rows, -0.35)
    axis.set_axis_off()
    units = report.totals.units
    axis.set_title(f'{report.model}: {units.alive:,} of {units.total:,} search units', fontsize=11)
    handles = [
        Patch(facecolor=colour(kinds, kind), hatch=hatch(kinds, kind), edgecolor='white',
              label=named(kind))
        for kind in kinds
    ]  # fmt: skip
    handles.append(Patch(facecolor=GONE, label='removed'))
    figure.legend(
        handles=handles, loc='outside lower center', ncols=len(handles), frameon=False, fontsize=9
    )
    return figure


def plot_densities(report: TicketReport) -> Figure:
    """Draw the density of every prunable layer, in the order of the network.

    Args:
        report (TicketReport): The report over the ticket.

    Returns:
        Figure: A bar per layer, and a line at the density of the whole.

    Raises:
        ValueError: If nothing is prunable.
    """
    layers = [layer for layer in report.layers if layer.prunable and layer.density is not None]
    whole = report.totals.weights.density
    if not layers or whole is None:
        raise ValueError(f'{report.model} has no prunable layers to draw')
    figure = Figure(figsize=(9, 3.0), layout='constrained')
    FigureCanvasAgg(figure)
    axis = figure.subplots()
    heights = [100 * (layer.density or 0) for layer in layers]
    axis.bar(range(len(layers)), heights, width=1.0, color=BLUE, linewidth=0)
    axis.axhline(100 * whole, color='black', linewidth=1.2, linestyle='--')
    axis.annotate(
        f'all:\n{whole:.1%}',
        (1, 100 * whole),
        xytext=(5, 0),
        xycoords=('axes fraction', 'data'),
        textcoords='offset points',
        va='center',
        fontsize=9,
    )
    axis.set_xlim(-0.7, len(layers) - 0.3)
    axis.set_ylabel('density [%]')
    axis.set_xlabel('prunable layers, from the input to the output')
    axis.set_xticks([])
    axis.spines[['top', 'right']].set_visible(False)
    axis.grid(axis='y', color='0.9', linewidth=0.6)
    axis.set_axisbelow(True)
    return figure


def _places(names: Sequence[str]) -> list[Place]:
    """Put every block somewhere: in the grid of our supernet, or in lines."""
    if not any(BRANCH.search(name) for name in names):
        return [Place(i % PER_LINE, i // PER_LINE, _last(name)) for i, name in enumerate(names)]
    depth: dict[int, int] = {}  # blocks of the deepest branch, by stage
    for name in names:
        if found := BRANCH.search(name):
            stage, _, index = map(int, found.groups())
            depth[stage] = max(depth.get(stage, 0), index + 1)
    start = {stage: sum(GAP + depth[s] for s in depth if s < stage) for stage in depth}
    end = sum(GAP + count for count in depth.values())
    places = []
    others = 0
    for full in names:
        # a mixer on the identity path of a block has its place below the block
        name = full.removesuffix('.shortcut')
        below = 0.26 if name != full else 0
        if found := BRANCH.search(name):
            stage, branch, index = map(int, found.groups())
            places.append(Place(start[stage] + 1.3 + index, branch + below, ''))
        elif found := FUSION.search(name):
            stage, source, target = map(int, found.groups())
            offset = 0.28 * (source - target)
            places.append(Place(start[stage] + 0.1, target + offset + below, ''))
        elif found := GROWTH.search(name):
            stage = int(found[1])
            rows = [
                int(f[3]) for other in names if (f := FUSION.search(other)) and f[1] == found[1]
            ]
            places.append(Place(start[stage] + 0.1, max(rows, default=-1) + 1, ''))
        else:
            places.append(Place(end, others, _last(full)))
            others += 1
    return places


def _name_grid(axis: Any, names: Sequence[str], places: Sequence[Place]) -> None:
    """Write what the columns are above them, and the resolution next to the rows."""
    named: dict[tuple[str, str], float] = {}
    rows = set()
    for name, place in zip(names, places, strict=True):
        if found := BRANCH.search(name.removesuffix('.shortcut')):
            key = (found[1], 'blocks')
            rows.add(int(found[2]))
        elif found := FUSION.search(name) or GROWTH.search(name):
            key = (found[1], 'fusion')
        else:
            continue
        named[key] = min(place.column, named.get(key, place.column))
    for (stage, what), column in named.items():
        axis.text(
            column, 0.0, f'stage {int(stage) + 1}\n{what}', va='center', fontsize=8, color='0.3'
        )
    for row in rows:
        axis.text(-0.4, row + 0.5, f'1/{4 * 2**row}', va='center', fontsize=9, color='0.3')


def _draw_block(axis: Any, block: BlockRow, place: Place, kinds: Sequence[str]) -> None:
    """A box of the block's full width, its kept part coloured by kind."""
    width, height = 0.86, 0.24
    total = sum(kept.total for kept in block.units.values())
    left, top = place.column, place.row + 0.38
    axis.add_patch(Rectangle((left, top), width, height, facecolor=GONE, edgecolor='none'))
    for kind, kept in block.units.items():
        share = width * kept.alive / total
        axis.add_patch(
            Rectangle(
                (left, top), share, height, facecolor=colour(kinds, kind), edgecolor='white',
                hatch=hatch(kinds, kind), linewidth=0,
            )
        )  # fmt: skip
        left += share
    style = '--' if block.dead else '-'
    outline = Rectangle(
        (place.column, top), width, height, fill=False, edgecolor='0.35', linewidth=0.7,
        linestyle=style,
    )  # fmt: skip
    axis.add_patch(outline)
    if place.label:
        middle = place.column + width / 2
        axis.text(middle, top - 0.05, place.label, ha='center', va='bottom', fontsize=8)


def _last(name: str) -> str:
    """The end of a module's name, short enough to stand above its box."""
    return '.'.join(name.split('.')[-2:])[-14:]


def colour(kinds: Sequence[str], kind: str) -> str:
    """Choose the colour of a kernel among those drawn."""
    return COLOURS[kinds.index(kind) % len(COLOURS)]


def hatch(kinds: Sequence[str], kind: str) -> str:
    """Choose the pattern of a kernel, which tells it from others in grey."""
    return HATCHES[kinds.index(kind) % len(HATCHES)]


def named(kind: str) -> str:
    """The group of units in words: k3 is a 3x3 kernel."""
    size = kind.removeprefix('k')
    return f'{size}x{size}' if kind.startswith('k') and size.isdecimal() else kind

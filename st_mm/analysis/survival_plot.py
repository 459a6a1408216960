"""The drawing of the survival of search units: kernels, branches and blocks over the steps."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from .architecture import BRANCH, FUSION, GROWTH, colour, hatch, named
from .plots import BLACK, BLUE, GREEN, ORANGE, PURPLE
from .survival import Survival, branch_of

UNITS = dict(epoch='epoch', iter='iteration')
LINES = (  # colour, marker, dashes: any one of them tells branches apart
    (BLUE, 'o', '-'),
    (ORANGE, 's', '--'),
    (GREEN, '^', '-.'),
    (PURPLE, 'D', ':'),
    (BLACK, 'v', '-'),
)
LABELS = 16  # steps that are named below the drawing, at most
ROW = 0.17  # height of a block, inches


def plot_survival(course: Survival) -> Figure:
    """Draw the units alive at the start of a search and after each of its steps.

    Three panels have one axis of steps: units by kernel, stacked; the share alive in each branch
    of our supernet; and that in each block, darker where more are alive.

    Args:
        course (Survival): Units alive over time.

    Returns:
        Figure: The drawing.
    """
    heights = [1.9, *([1.7] if course.branches else []), 0.2 + ROW * len(course.blocks)]
    figure = Figure(figsize=(9.6, sum(heights) + 0.9), layout='constrained')
    FigureCanvasAgg(figure)
    axes = figure.subplots(len(heights), 1, sharex=True, height_ratios=heights)
    _draw_kernels(axes[0], course)
    if course.branches:
        _draw_branches(axes[1], course)
    shades = _draw_blocks(axes[-1], course)
    figure.colorbar(
        shades, ax=axes[-1], label='alive [%]', fraction=0.05, pad=0.02, aspect=22, anchor=(0, 1),
        shrink=min(1, 2.4 / heights[-1]),
    )  # fmt: skip
    every = -(-len(course.times) // LABELS)
    places = list(range(0, len(course.times), every))
    axes[-1].set_xticks(places, ['start', *(str(course.times[place]) for place in places[1:])])
    axes[-1].set_xlim(-0.5, len(course.times) - 0.5)
    axes[-1].set_xlabel(f'after the search step of {UNITS[course.unit]}')
    figure.align_ylabels(axes[:-1])
    return figure


def _draw_kernels(axis: Any, course: Survival) -> None:
    kinds = list(course.groups)
    below = np.zeros(len(course.times))
    for kind, counts in course.groups.items():
        axis.bar(
            range(len(counts)), counts, 0.85, below, color=colour(kinds, kind),
            hatch=hatch(kinds, kind), edgecolor='white', linewidth=0, label=named(kind),
        )  # fmt: skip
        below += counts
    axis.set_ylabel('units alive')
    axis.yaxis.set_major_formatter(lambda value, _: f'{value:,.10g}')
    _finish(axis)


def _draw_branches(axis: Any, course: Survival) -> None:
    for row, (branch, counts) in enumerate(course.branches.items()):
        total = sum(n for name, n in course.total.items() if branch_of(name) == branch)
        tint, marker, dashes = LINES[row % len(LINES)]
        axis.plot(
            100 * np.array(counts) / max(total, 1), color=tint, marker=marker, linestyle=dashes,
            markersize=4, linewidth=1.4, label=branch,
        )  # fmt: skip
    axis.set_ylabel('alive [%]')
    axis.set_ylim(0, 105)
    _finish(axis)


def _finish(axis: Any) -> None:
    axis.spines[['top', 'right']].set_visible(False)
    axis.grid(axis='y', color='0.9', linewidth=0.6)
    axis.set_axisbelow(True)
    axis.legend(loc='upper left', bbox_to_anchor=(1, 1), frameon=False, fontsize=9)


def _draw_blocks(axis: Any, course: Survival) -> Any:
    shares = [
        100 * np.array(counts) / max(course.total[name], 1)
        for name, counts in course.blocks.items()
    ]
    edges = np.arange(len(course.times) + 1) - 0.5
    rows = np.arange(len(shares) + 1) - 0.5
    shades = axis.pcolormesh(
        edges, rows, np.array(shares), cmap='Blues', vmin=0, vmax=100, edgecolors='white',
        linewidth=0.4,
    )  # fmt: skip
    axis.set_yticks(range(len(shares)), block_names(list(course.blocks)), fontsize=8)
    axis.tick_params(axis='y', length=0)
    axis.set_ylim(len(shares) - 0.5, -0.5)
    axis.spines[:].set_visible(False)
    return shades


def block_names(names: Sequence[str]) -> list[str]:
    """Write the blocks of our supernet in words, those of others by the end of their name."""
    return [_block_name(name) for name in names]


def _block_name(full: str) -> str:
    name = full.removesuffix('.shortcut')
    tokens = '' if name == full else ', tokens'
    if found := BRANCH.search(name):
        return f'stage {int(found[1]) + 1}, {branch_of(name)}, block {int(found[3]) + 1}{tokens}'
    if found := FUSION.search(name):
        source = f'1/{4 * 2 ** int(found[2])}'
        return f'stage {int(found[1]) + 1}, fusion {source} to {branch_of(name)}{tokens}'
    if found := GROWTH.search(name):
        return f'stage {int(found[1]) + 1}, new branch{tokens}'
    return full[-28:]

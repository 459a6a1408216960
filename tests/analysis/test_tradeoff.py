"""Tables and plots of scores against costs."""

from io import StringIO

import pytest
from rich.console import Console

from st_mm.analysis.report import Cost
from st_mm.analysis.tradeoff import (
    COLOURS,
    Point,
    plot_tradeoff,
    tradeoff_markdown,
    tradeoff_table,
)

POINTS = [
    Point('dense', None, 41.1, 1.0, Cost(259_183, 272_019_456), Cost(250_000, 272_019_456)),
    Point('pruned', 0.9, 26.3, 0.1, Cost(200_000, 150_000_000), Cost(24_819, 15_110_000)),
    Point('pruned', 0.5, 33.0, 0.5, Cost(200_000, 150_000_000), Cost(100_000, 70_000_000)),
]
ROW = ['pruned', '0.9', '26.30', '0.1000', '200,000', '24,819', '150.00 M', '15.11 M']


def test_markdown():
    header, line, dense, pruned, _ = tradeoff_markdown(POINTS, 'mIoU').splitlines()

    assert 'mIoU' in header
    assert header.count('|') == line.count('|') == pruned.count('|') == len(ROW) + 1
    assert '| dense | - | 41.10 |' in dense
    assert [cell.strip() for cell in pruned.strip('|').split('|')] == ROW


def test_table():
    console = Console(file=StringIO(), width=100)
    console.print(tradeoff_table(POINTS, 'mIoU'))

    lines = console.file.getvalue().splitlines()
    assert any(all(cell in line for cell in ROW) for line in lines)


def test_plot():
    figure = plot_tradeoff(POINTS, 'mIoU')

    macs, params = figure.axes
    assert (macs.get_ylabel(), macs.get_xscale(), params.get_xscale()) == ('mIoU [%]', 'log', 'log')
    dense, pruned = macs.lines
    assert dense.get_xydata().tolist() == [[272_019_456, 41.1]]
    # by cost, not in the order of the rows
    assert pruned.get_xydata().tolist() == [[15_110_000, 26.3], [70_000_000, 33.0]]
    assert params.lines[1].get_xdata().tolist() == [24_819, 100_000]
    [legend] = figure.legends
    assert [text.get_text() for text in legend.get_texts()] == ['dense', 'pruned']


@pytest.mark.parametrize('number', [1, 10, 70])
def test_every_label_looks_different(number):
    points = [Point(str(n), 0.9, n, 0.1, Cost(9, 9), Cost(1 + n, 1 + n)) for n in range(number)]
    lines = plot_tradeoff(points, 'coco/AP').axes[0].lines

    assert len(COLOURS) == 7
    assert len({(line.get_color(), line.get_marker()) for line in lines}) == number

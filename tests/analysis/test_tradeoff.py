"""Tables and plots of scores against costs."""

import itertools
from statistics import stdev

import pytest

from st_mm.analysis.metrics import METRICS, Metric
from st_mm.analysis.report import Cost
from st_mm.analysis.tradeoff import COLOURS, Mean, Point, plot_tradeoff, rows_of, tradeoff_table

MIOU, AACC = METRICS['mIoU'], METRICS['aAcc']
FULL = Cost(259_183, 272_019_456)
SMALL = Cost(200_000, 150_000_000)
POINTS = [
    Point('dense', None, 0, dict(mIoU=41.1, aAcc=80.0), 1.0, FULL, Cost(250_000, 272_019_456)),
    Point('pruned', 0.9, 0, dict(mIoU=26.3, aAcc=70.0), 0.1, SMALL, Cost(24_819, 15_110_000)),
    Point('pruned', 0.5, 0, dict(mIoU=33.0, aAcc=75.0), 0.5, SMALL, Cost(100_000, 70_000_000)),
]
OTHER_SEED = [
    Point('pruned', 0.9, 1, dict(mIoU=27.3, aAcc=71.0), 0.1, SMALL, Cost(24_821, 15_210_000)),
    Point('pruned', 0.5, 1, dict(mIoU=31.0, aAcc=74.0), 0.5, SMALL, Cost(100_002, 70_200_000)),
]


def test_table() -> None:
    table = tradeoff_table(POINTS, [MIOU, AACC])
    assert table.header == (
        ('', 'p', 'mIoU', 'aAcc', 'density', 'params', 'nonzero', 'MACs', 'nonzero')
    )
    dense, pruned, _ = table.rows
    assert dense[:4] == ('dense', '-', '41.10', '80.00')
    costs = ('0.1000', '200,000', '24,819', '150.0 M', '15.11 M')
    assert pruned == ('pruned', '0.9', '26.30', '70.00', *costs)
    assert not table.notes


def test_seeds_in_the_table() -> None:
    table = tradeoff_table([*POINTS, *OTHER_SEED], [MIOU])
    assert table.header[:4] == ('', 'p', 'seeds', 'mIoU')
    dense, pruned, half = table.rows
    assert dense[2:4] == ('1', '41.10')
    assert pruned[2:4] == ('2', f'26.80 ± {stdev([26.3, 27.3]):.2f}')
    assert pruned[5:] == ('200,000', '24,820', '150.0 M', '15.16 M')
    assert half[3] == f'32.00 ± {stdev([33, 31]):.2f}'
    assert 'standard deviation' in table.notes[0]


def test_a_metric_that_a_row_lacks() -> None:
    poses = Point('poses', None, 0, {'coco/AP': 0.61024}, 1.0, FULL, FULL)
    rows = tradeoff_table([*POINTS, poses], [METRICS['coco/AP']]).rows
    assert [row[2] for row in rows] == ['-', '-', '-', '61.02']  # of shares, percent


def test_plot() -> None:
    figure = plot_tradeoff(POINTS, [MIOU, AACC])
    miou, aacc = figure.axes
    assert [axis.get_ylabel() for axis in (miou, aacc)] == ['mIoU [%]', 'aAcc [%]']
    assert miou.get_xscale() == aacc.get_xscale() == 'log'
    dense, pruned = miou.lines
    assert dense.get_xydata().tolist() == [[272_019_456, 41.1]]
    # by cost, not in the order of the rows
    assert pruned.get_xydata().tolist() == [[15_110_000, 26.3], [70_000_000, 33.0]]
    assert aacc.lines[1].get_ydata().tolist() == [70.0, 75.0]
    [legend] = figure.legends
    assert [text.get_text() for text in legend.get_texts()] == ['dense', 'pruned']


def test_a_linear_axis() -> None:
    [axis] = plot_tradeoff(POINTS, [MIOU], log=False).axes
    assert axis.get_xscale() == 'linear'
    assert axis.get_xlim()[0] == 0


def test_error_bars_are_the_deviations() -> None:
    [axis] = plot_tradeoff([*POINTS, *OTHER_SEED], [MIOU]).axes
    dense, pruned = axis.containers
    assert not dense.has_xerr
    assert not dense.has_yerr
    assert pruned.has_xerr
    assert pruned.has_yerr
    line, _, (_, vertical) = pruned
    assert line.get_ydata().tolist() == [26.8, 32.0]
    spread = [abs(bar[1][1] - bar[0][1]) / 2 for bar in vertical.get_segments()]
    assert spread == pytest.approx([stdev([26.3, 27.3]), stdev([33.0, 31.0])])


@pytest.mark.parametrize('number', [1, 4, 10])
def test_panels_fit(number: int) -> None:
    metrics = list(METRICS.values())[:number]
    scores = {metric.key: 0.5 for metric in metrics}
    figure = plot_tradeoff([Point('x', 0.9, 0, scores, 0.1, SMALL, SMALL)], metrics)
    shown = [axis for axis in figure.axes if axis.axison]
    assert [axis.get_ylabel() for axis in shown] == [metric.label for metric in metrics]


@pytest.mark.parametrize('number', [1, 10, 70])
def test_every_label_looks_different(number: int) -> None:
    points = [
        Point(str(n), 0.9, 0, {'PCK': n / 100}, 0.1, Cost(9, 9), Cost(1 + n, 1 + n))
        for n in range(number)
    ]
    lines = plot_tradeoff(points, [METRICS['PCK']]).axes[0].lines
    lines = [line for line in lines if line.get_linestyle() != 'None']
    assert len(COLOURS) == 7
    assert len({(line.get_color(), line.get_marker()) for line in lines}) == number


def test_every_label_looks_different_in_grey() -> None:
    points = [
        Point(str(n), 0.9, seed, {'PCK': n / 100}, 0.1, Cost(9, 9), Cost(1 + n, 1 + n + seed))
        for n in range(20)
        for seed in (0, 1)
    ]
    figure = plot_tradeoff(points, [METRICS['PCK']])
    lines = [container.lines[0] for container in figure.axes[0].containers]
    looks = {
        (line.get_marker(), line.get_linestyle(), line.get_markerfacecolor() == 'white')
        for line in lines
    }
    assert len(looks) == 20
    [legend] = figure.legends
    shown = [(line.get_marker(), line.get_linestyle()) for line in legend.get_lines()]
    assert shown == [(line.get_marker(), line.get_linestyle()) for line in lines]


@pytest.mark.parametrize('share', [0.8, 0.3, 0.1, 0.03, 0.005])
@pytest.mark.parametrize('number', [1, 3])
def test_labels_do_not_touch(share: float, number: int) -> None:
    metrics = list(METRICS.values())[:number]
    scores = {metric.key: 50 for metric in metrics}
    points = [
        Point(f'SuperTickets, LT-Init {n}', 0.9, 0, scores, 0.1, FULL, Cost(9, round(macs)))
        for n, macs in enumerate((FULL.macs, share * FULL.macs) * 4)
    ]
    figure = plot_tradeoff(points, metrics)
    figure.canvas.draw()
    for axis in figure.axes:
        left, right = axis.get_xlim()
        ticks = zip(axis.get_xticks(), axis.get_xticklabels(), strict=True)
        shown = [label for place, label in ticks if left <= place <= right]
        assert len(shown) >= 2
        boxes = [text.get_window_extent() for text in [*shown, axis.yaxis.label, axis.xaxis.label]]
        assert not any(one.overlaps(two) for one, two in itertools.combinations(boxes, 2))
    [legend] = figure.legends
    boxes = [text.get_window_extent() for text in legend.get_texts()]
    assert not any(one.overlaps(two) for one, two in itertools.combinations(boxes, 2))
    assert figure.bbox.x0 <= min(box.x0 for box in boxes)
    assert max(box.x1 for box in boxes) <= figure.bbox.x1


def test_means() -> None:
    assert Mean.of([3.0]) == Mean(3.0, 0.0, 1)
    assert Mean.of([3.0]).text(1) == '3.0'
    assert Mean.of(iter([1.0, 3.0])).text(3) == '2.000 ± 1.414'


def test_rows_keep_their_order() -> None:
    found = [(row.label, row.ratio, len(row.points)) for row in rows_of([*POINTS, *OTHER_SEED])]
    assert found == [('dense', None, 1), ('pruned', 0.9, 2), ('pruned', 0.5, 2)]


def test_labels_of_metrics() -> None:
    assert METRICS['coco/AP (M)'].label == 'AP_M [%]'
    assert Metric('mDice', 'mDice', unit='').label == 'mDice'

"""The survival of search units: what a record says of each step, counted, and drawn."""

import copy

import pytest
import torch
from torch import nn

from st_mm.analysis.survival import branch_of, survival
from st_mm.analysis.survival_plot import block_names, plot_survival
from st_mm.models import HRFusionNeck, HRSupernet
from st_mm.ticket import Ticket


def searched() -> Ticket:
    """Three steps: units of a block go, then none, then a kernel of it and tokens of another."""
    model = nn.Sequential(
        HRSupernet(
            stem_channels=(4, 4),
            stage_channels=((4,), (4, 6)),
            stage_blocks=((1,), (1, 1)),
            tokens=3,
        ),
        HRFusionNeck((4, 6), 6),
    )
    ticket = Ticket.of_supernet(model)
    block = '0.stages.1.branches.1.0'
    size = sum(ticket.total[block].values())
    ticket.remove({block: torch.arange(size) < 2})
    mixer = f'{block}.shortcut'
    ticket.remove({block: torch.arange(size - 2) >= size - 4, mixer: torch.tensor([1, 0, 0]) > 0})
    ticket.events = [
        dict(kind='search', unit='epoch', t=2, removed=2),
        dict(kind='prune', unit='epoch', t=3, ratio=0.5),
        dict(kind='search', unit='epoch', t=4, removed=0),
        dict(kind='reap', unit='epoch', t=6, removed=3),
    ]
    return ticket


def test_units_alive_after_each_step() -> None:
    ticket = searched()
    course = survival(ticket)
    assert (course.unit, course.times) == ('epoch', (0, 2, 4, 6))
    total = sum(course.total.values())
    for counts in (course.groups, course.blocks):
        sums = [sum(row[step] for row in counts.values()) for step in range(4)]
        assert sums == [total, total - 2, total - 2, total - 5]
    block = '0.stages.1.branches.1.0'
    size = course.total[block]
    assert course.blocks[block] == (size, size - 2, size - 2, size - 4)
    assert course.blocks[f'{block}.shortcut'] == (3, 3, 3, 2)
    k3, k7 = (sum(groups.get(k, 0) for groups in ticket.total.values()) for k in ('k3', 'k7'))
    assert course.groups['k3'] == (k3, k3 - 2, k3 - 2, k3 - 2)
    assert course.groups['k7'] == (k7, k7, k7, k7 - 2)
    assert set(course.branches) == {'1/4', '1/8'}
    ends = course.branches['1/8'][0] - course.branches['1/8'][-1]
    assert ends == 5
    assert len(set(course.branches['1/4'])) == 1


def test_removals_of_an_earlier_training_are_left_out() -> None:
    ticket = searched()
    ticket.events = ticket.events[-1:]
    course = survival(ticket)
    total = sum(course.total.values())
    assert course.times == (0, 6)
    assert [sum(row[step] for row in course.blocks.values()) for step in (0, 1)] == [
        total - 2,
        total - 5,
    ]


def test_what_no_record_says() -> None:
    ticket = searched()
    with pytest.raises(ValueError, match='has no search step'):
        survival(Ticket(units=ticket.units, total=ticket.total))
    older = copy.deepcopy(ticket)
    older.removals = []
    with pytest.raises(ValueError, match='2 search steps that removed units, and says of 0'):
        survival(older)
    ticket.events[0]['removed'] = 5
    with pytest.raises(ValueError, match='5 units went at epoch 2, and names 2'):
        survival(ticket)


def test_the_drawing_shows_these_counts() -> None:
    course = survival(searched())
    kernels, branches, blocks, _ = plot_survival(course).axes
    drawn = [bar.get_height() for bar in kernels.patches]
    assert drawn == [count for counts in course.groups.values() for count in counts]
    hatches = {bar.get_hatch() for bar in kernels.patches}
    assert len(hatches) == len(course.groups)  # told apart in grey
    lines = {line.get_label(): line for line in branches.lines}
    assert lines.keys() == course.branches.keys()
    whole = course.branches['1/8'][0]
    assert lines['1/8'].get_ydata().tolist() == pytest.approx(
        [100 * count / whole for count in course.branches['1/8']]
    )
    assert len({(line.get_marker(), line.get_linestyle()) for line in branches.lines}) == 2
    shares = blocks.collections[0].get_array().reshape(len(course.blocks), 4)
    assert shares[list(course.blocks).index('0.stages.1.branches.1.0.shortcut')].tolist() == (
        pytest.approx([100, 100, 100, 200 / 3])
    )
    assert [label.get_text() for label in blocks.get_xticklabels()] == ['start', '2', '4', '6']


def test_a_network_without_branches_has_no_panel_of_them() -> None:
    ticket = Ticket(
        units={'layer.0': dict(k3=[0])}, total={'layer.0': dict(k3=2)},
        events=[dict(kind='search', unit='iter', t=5, removed=1)],
        removals=[{'layer.0': dict(k3=[1])}],
    )  # fmt: skip
    figure = plot_survival(survival(ticket))
    assert len(figure.axes) == 3  # kernels, blocks, and the scale of those
    assert figure.axes[1].get_xlabel() == 'after the search step of iteration'


def test_names() -> None:
    stage = 'backbone.stages.2.'
    names = [f'{stage}branches.1.0', f'{stage}fusion.paths.0to1.shortcut', 'neck.block']
    assert [branch_of(name) for name in names] == ['1/8', '1/8', None]
    assert block_names([*names, f'{stage}fusion.new_branch']) == [
        'stage 3, 1/8, block 1',
        'stage 3, fusion 1/4 to 1/8, tokens',
        'neck.block',
        'stage 3, new branch',
    ]

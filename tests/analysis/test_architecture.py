"""The drawing of an architecture: every unit that is kept is drawn, and no other."""

import copy

import pytest
import torch
from matplotlib.patches import Rectangle
from torch import nn

from st_mm.analysis.architecture import GONE, plot_architecture, plot_densities
from st_mm.analysis.report import report
from st_mm.models import HRFusionNeck, HRSupernet
from st_mm.search import shrink
from st_mm.ticket import Ticket
from st_mm.units import find_owners


def grid() -> nn.Module:
    backbone = HRSupernet(
        stem_channels=(4, 4),
        stage_channels=((4,), (4, 6), (4, 6, 8)),
        stage_blocks=((1,), (1, 2), (1, 1, 2)),
        tokens=3,
    )
    return nn.Sequential(backbone, HRFusionNeck((4, 6, 8), 6))


def test_a_supernet_is_a_grid_without_two_boxes_in_one_place() -> None:
    model = grid()
    axis = plot_architecture(report(model, model, None, (3, 32, 32))).axes[0]
    outlines = [p.get_bbox() for p in axis.patches if isinstance(p, Rectangle) and not p.fill]
    assert len(outlines) == len(find_owners(model))
    spots = {(round(box.x0, 3), round(box.y0, 3)) for box in outlines}
    assert len(spots) == len(outlines)
    texts = {text.get_text() for text in axis.texts}
    assert {'stage 1\nfusion', 'stage 3\nblocks', '1/4', '1/8', '1/16'} <= texts


def test_widths_are_shares_of_the_units(drawn) -> None:
    figure = plot_architecture(drawn[3])
    coloured = [
        patch
        for patch in figure.axes[0].patches
        if patch.fill and patch.get_facecolor() != _rgba(GONE)
    ]
    full = next(patch for patch in figure.axes[0].patches if not patch.fill).get_width()
    shares = sorted(round(patch.get_width() / full, 6) for patch in coloured if patch.get_width())
    expected = [12 / 48, 16 / 48, 3 / 5, *[16 / 48] * 3]
    assert shares == sorted(round(share, 6) for share in expected)
    assert 'of 197 search units' in figure.axes[0].get_title()


def test_densities_are_those_of_the_layers(drawn) -> None:
    layers = [layer for layer in drawn[3].layers if layer.prunable and layer.density is not None]
    bars = plot_densities(drawn[3]).axes[0].patches
    assert [bar.get_height() for bar in bars] == pytest.approx(
        [100 * layer.density for layer in layers]
    )


def test_a_block_that_died_is_drawn_dashed() -> None:
    supernet = grid()
    model = copy.deepcopy(supernet)
    ticket = Ticket.of_supernet(model)
    dead = {
        name: torch.full_like(owner.unit_bn.weight, name.endswith('branches.1.1'), dtype=torch.bool)
        for name, owner in find_owners(model).items()
    }
    shrink(model, dead)
    ticket.remove(dead)
    figure = plot_architecture(report(supernet, model, ticket, (3, 32, 32)))
    dashed = [p for p in figure.axes[0].patches if not p.fill and p.get_linestyle() == '--']
    assert len(dashed) == 1


def test_a_network_without_units_is_refused() -> None:
    model = nn.Sequential(nn.Conv2d(3, 4, 1))
    with pytest.raises(ValueError, match='has no search units to draw'):
        plot_architecture(report(model, model, None, (3, 8, 8)))


def _rgba(colour: str) -> tuple[float, ...]:
    return Rectangle((0, 0), 1, 1, facecolor=colour).get_facecolor()

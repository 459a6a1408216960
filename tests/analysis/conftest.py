"""A log as mmengine writes it, and a ticket that has been searched and pruned."""

import copy
from collections.abc import Callable

import pytest
import torch
from rich.console import Console
from torch import nn

from st_mm.analysis.curves import Curves, build_curves
from st_mm.analysis.report import TicketReport, report
from st_mm.models import AtomicBlock
from st_mm.prune import Masks, lowest, magnitude, prunable_weights
from st_mm.search import shrink
from st_mm.ticket import Ticket
from st_mm.units import find_owners

SHAPE = (3, 16, 16)
N = 10  # iterations per epoch; logged are the 4th and the 8th


def lines_of(
    first: int, last: int, loss: float, density: float = 1.0, units: int = 90
) -> list[dict]:
    """Scalars of the epochs from first to last: a prune after every 2nd, a search after the 3rd."""
    lines = []
    for epoch in range(first, last + 1):
        for inner in (4, 8):
            step = N * (epoch - 1) + inner
            figures = {'prune/density': density, 'search/units': units}
            lines.append(dict(loss=loss, epoch=epoch, iter=step, step=step, **figures))
        if epoch == 3:
            units = 60
            figures = {'search/removed': 30, 'search/units': units}
            lines.append({**figures, 'search/macs': 1, 'step': N * epoch})
            lines.append({'reactivate/freed': 5, 'reactivate/density': 1.0, 'step': N * epoch})
        if epoch % 2 == 0:
            density = round(density - 0.2, 1)
            lines.append({'prune/ratio': 0.2, 'prune/density': density, 'step': N * epoch})
        lines.append({'aAcc': 1.0, 'mIoU': 10.0 * epoch, 'time': 0.1, 'step': epoch})
    return lines


@pytest.fixture
def curves(log) -> Curves:
    return build_curves('run', [log(1, 4, 2.0)])


class Network(nn.Module):
    """A stem, blocks of which one has tokens, and a task classifier."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, 4, 3, 2, 1, bias=False)
        self.blocks = nn.Sequential(
            AtomicBlock(4, 4, tokens=5), AtomicBlock(4, 8, stride=2), AtomicBlock(8, 8)
        )
        self.decode_head = nn.Module()
        self.decode_head.conv_seg = nn.Conv2d(8, 3, 1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.decode_head.conv_seg(self.blocks(self.stem(x)))


def draw(model: nn.Module, ratio: float = 0.5) -> Ticket:
    """Remove a kernel, some tokens and a whole block; then prune."""
    ticket = Ticket.of_supernet(model)
    dead = {
        name: torch.zeros(sum(owner.unit_groups().values()), dtype=torch.bool)
        for name, owner in find_owners(model).items()
    }
    dead['blocks.0'][:16] = True  # k3
    dead['blocks.0'][16:20] = True  # 4 of k5
    dead['blocks.0.shortcut'][:2] = True
    dead['blocks.2'][:] = True
    shrink(model, dead)
    ticket.remove(dead)
    masks = Masks(prunable_weights(model))
    masks.update(lowest(magnitude(masks.weights), ratio))
    ticket.masks = masks.state()
    ticket.events = [
        dict(kind='search', unit='epoch', t=2, removed=118, units=58, macs=1, penalty=0.1),
        dict(kind='prune', unit='epoch', t=3, ratio=ratio, density=1 - ratio),
    ]
    return ticket


@pytest.fixture
def drawn() -> tuple[nn.Module, nn.Module, Ticket, TicketReport]:
    supernet = Network()
    model = copy.deepcopy(supernet)
    ticket = draw(model)
    return supernet, model, ticket, report(supernet, model, ticket, SHAPE)


@pytest.fixture
def log() -> Callable[..., list[dict]]:
    """Makes the scalars of some epochs, see :func:`lines_of`."""
    return lines_of


@pytest.fixture
def text() -> Callable[[object], str]:
    """Shows what rich can print as plain text of 100 columns."""

    def shown(renderable: object) -> str:
        console = Console(width=100)
        with console.capture() as capture:
            console.print(renderable)
        return capture.get()

    return shown

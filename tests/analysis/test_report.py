"""The report over a searched and pruned network: every figure from a second, plainer count."""

import copy
import json

import pytest
import torch
from mmengine.config import Config
from rich.console import Console
from torch import nn

from st_mm.analysis import tables
from st_mm.analysis.checkpoints import build_model, find_input_shape, load_strictly
from st_mm.analysis.report import Cost, Kept, TicketReport, population, report
from st_mm.hooks import ProgressivePruneHook, PruneHook
from st_mm.measure import count_macs, count_params
from st_mm.models import AtomicBlock
from st_mm.prune import Masks, lowest, magnitude, prunable_weights
from st_mm.search import count_units, shrink
from st_mm.ticket import Ticket
from st_mm.units import find_owners

SHAPE = (3, 16, 16)


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


def text(renderable: object) -> str:
    console = Console(width=100)
    with console.capture() as capture:
        console.print(renderable)
    return capture.get()


def test_units_by_block_and_kernel(drawn):
    units = {row.name: row.units for row in drawn[3].blocks if row.units}

    assert units == {
        'blocks.0': dict(k3=Kept(0, 16), k5=Kept(12, 16), k7=Kept(16, 16)),
        'blocks.0.shortcut': dict(tokens=Kept(3, 5)),
        'blocks.1': dict(k3=Kept(16, 16), k5=Kept(16, 16), k7=Kept(16, 16)),
        'blocks.2': dict(k3=Kept(0, 32), k5=Kept(0, 32), k7=Kept(0, 32)),
    }
    assert [row.name for row in drawn[3].blocks if row.dead] == ['blocks.2']


def test_totals(drawn):
    supernet, model, _, found = drawn
    totals = found.totals
    weights = prunable_weights(model)
    zeros = sum(int((weight == 0).sum()) for weight in weights.values())
    count = sum(weight.numel() for weight in weights.values())

    assert totals.dense == Cost(count_params(supernet)[0], count_macs(supernet, SHAPE).dense)
    assert totals.structural.params == sum(p.numel() for p in model.parameters())
    assert totals.structural.macs < totals.dense.macs
    assert totals.nonzero.macs == count_macs(model, SHAPE).nonzero
    assert (totals.weights.total, totals.weights.nonzero) == (count, count - zeros)
    assert zeros == int(0.5 * count)
    assert totals.approximate_macs == round(totals.structural.macs * (1 - zeros / count))
    assert totals.units == Kept(count_units(find_owners(model)), 48 + 5 + 48 + 96)
    assert totals.owners == Kept(3, 4)


def test_blocks_add_up_to_the_totals(drawn):
    found = drawn[3]
    for total, rows in (
        (found.totals.structural, [row.structural for row in found.blocks]),
        (found.totals.nonzero, [row.nonzero for row in found.blocks]),
    ):
        assert total == Cost(sum(row.params for row in rows), sum(row.macs for row in rows))
    assert found.totals.weights.total == sum(row.weights.total for row in found.blocks)


def test_layers(drawn):
    rows = {row.name: row for row in drawn[3].layers}

    assert rows['blocks.0.depthwise.k3'].shape == (0, 1, 3, 3)
    assert rows['blocks.0.depthwise.k3'].density is None
    assert [name for name, row in rows.items() if not row.prunable] == ['decode_head.conv_seg']
    stem = rows['stem']
    assert stem.macs == 4 * 3 * 9 * 8 * 8
    assert stem.nonzero_macs == stem.nonzero * 8 * 8


def test_a_model_without_units_or_record():
    model = nn.Sequential(nn.Conv2d(3, 2, 1), nn.Conv2d(2, 2, 1))
    found = report(model, model, None, SHAPE)

    assert [row.name for row in found.blocks] == ['0', '1']
    assert found.totals.units == found.totals.owners == Kept(0, 0)
    assert found.totals.weights.density == 1
    assert 'search' not in text(tables.summary(found))


def test_skipped_weights_are_not_prunable(drawn):
    supernet, model, ticket, found = drawn
    ticket.config['ProgressivePruneHook'] = dict(skip=['stem.weight'])
    del ticket.masks['stem.weight']

    skipped = report(supernet, model, ticket, SHAPE).totals.weights
    assert skipped.total == found.totals.weights.total - model.stem.weight.numel()


def test_a_record_that_contradicts_the_weights_is_refused(drawn):
    supernet, model, ticket, _ = drawn
    with torch.no_grad():
        model.stem.weight[0, 0, 0, 0] = 0
    name = 'blocks.1.expand.weight'
    with torch.no_grad():
        weight = model.get_parameter(name)
        weight.copy_(weight + 1)
    with pytest.raises(ValueError, match=f"masked weights of '{name}' are not zero"):
        report(supernet, model, ticket, SHAPE)

    ticket.units['blocks.1']['k3'].pop()
    with pytest.raises(ValueError, match=r"for 'blocks\.1'"):
        report(supernet, model, ticket, SHAPE)


def test_weights_of_another_network_are_refused(drawn):
    state = drawn[1].state_dict()
    load_strictly(Network(), {f'module.{name}': tensor for name, tensor in state.items()})
    for name, change in {
        'stem.weight': lambda tensor: tensor[:2],
        'decode_head.conv_seg.bias': lambda tensor: None,
        'auxiliary.weight': lambda tensor: torch.zeros(1),
    }.items():
        tensor = change(state.get(name))
        broken = {**state, name: tensor} if tensor is not None else {**state}
        if tensor is None:
            del broken[name]
        with pytest.raises(RuntimeError, match=f"tensor '{name}'"):
            load_strictly(Network(), broken)


def test_json_holds_every_figure(drawn):
    found = drawn[3]
    plain = json.loads(json.dumps(found.to_dict()))

    assert plain['totals']['approximate_macs'] == found.totals.approximate_macs
    assert plain['totals']['weights']['density'] == found.totals.weights.density
    assert [block['dead'] for block in plain['blocks']] == [row.dead for row in found.blocks]
    assert plain['layers'][0]['density'] == found.layers[0].density


def test_tables_say_it(drawn):
    found = drawn[3]
    blocks, summary = text(tables.blocks(found)), text(tables.summary(found))

    assert max(map(len, blocks.splitlines())) <= 100
    assert '0/16' in blocks
    assert '12/16' in blocks
    assert '3/5' in blocks
    dead = [line for line in blocks.splitlines() if line.strip().startswith(tables.DEAD)]
    assert len(dead) == 1
    assert dead[0].count('0/32') == 3
    assert f'{found.totals.structural.params:,}' in summary
    assert '1 of them dead' in summary
    assert 'not pruned' in text(tables.layers(found.layers))


def test_schedule_in_words():
    pruner = ProgressivePruneHook(
        ratio=0.9, interval=500, end=4000, skip=['backbone.stem*'], by_epoch=False
    )
    config = dict(
        SearchHook=dict(by_epoch=True, interval=10, rho=1.4e-4, warmup=25, threshold=1e-3),
        ProgressivePruneHook=pruner.config(),
        ReactivateHook=dict(on='search', mode='latent', scope='searched'),
    )
    search, prune, free = tables.describe_schedule(config)

    assert search.startswith('search every 10 epochs')
    assert prune == (
        'prune every 500 iterations: 10% more, up to 90%, the last at 4000; by magnitude; '
        'skips backbone.stem*'
    )
    assert 'after search steps' in free
    assert tables.describe_schedule({}) == ['none']


def test_weights_that_a_pattern_does_not_fit_are_not_counted(drawn):
    _, model, ticket, _ = drawn
    pruner = PruneHook(dict(type='OneShot', ratio=0.5, at=0), pattern='2:4')
    ticket.config = dict(PruneHook=pruner.config())
    everything = prunable_weights(model)
    fitting = [w for w in everything.values() if w.dim() > 1 and w.shape[1] % 4 == 0]
    assert len(population(model, ticket)) == len(fitting) < len(everything)


@pytest.mark.parametrize(
    ('arguments', 'words'),
    [
        (
            dict(schedule=dict(type='OneShot', ratio=0.5, at=0), pattern='2:4'),
            'prune once, at epoch 0: 50%; by magnitude, pattern NM(2, 4)',
        ),
        (
            dict(
                schedule=dict(type='Cubic', ratio=0.8, end=9, interval=3),
                score=dict(type='synflow', rounds=100),
                scope='erk',
            ),
            'prune every 3 epochs from 0: along a cubic to 80%, the last at 9; by synflow in 100 '
            'rounds, scope erk',
        ),
        (
            dict(
                schedule=dict(type='Constant', ratio=0.8, interval=1),
                rules=[dict(names='*.stem.*', ratio=0.3)],
            ),
            'hold 80% from epoch 0 on, new masks every epoch; by magnitude; rules for *.stem.*',
        ),
    ],
)
def test_prunes_in_words(arguments, words):
    assert tables.describe_prune(PruneHook(**arguments).config()) == words


def test_events_in_words(drawn):
    assert tables.describe_events(drawn[2].events) == (
        '1 search step (118 units removed), 1 prune (the last at epoch 3, to 50%)'
    )
    assert tables.describe_events([]) == 'none yet'


@pytest.mark.parametrize(
    ('config', 'shape'),
    [
        (dict(model=dict(data_preprocessor=dict(size=(64, 128)))), (3, 64, 128)),
        (
            dict(model=dict(backbone=dict(in_channels=1)), data_preprocessor=dict(size=32)),
            (1, 32, 32),
        ),
        (
            dict(
                model={},
                train_dataloader=dict(
                    dataset=dict(
                        type='RepeatDataset',
                        dataset=dict(
                            type='D',
                            pipeline=[
                                dict(type='RandomCrop', crop_size=(9, 9)),
                                dict(type='mmpose.TopdownAffine', input_size=(192, 256)),
                            ],
                        ),
                    )
                ),
            ),
            (3, 256, 192),
        ),
    ],
)
def test_input_shape_of_the_training(config, shape):
    assert find_input_shape(Config(config), None) == shape
    ticket = Ticket(config=dict(SearchHook=dict(input_shape=[3, 5, 7])))
    assert find_input_shape(Config(config), ticket) == (3, 5, 7)


def test_no_input_shape_is_an_error():
    with pytest.raises(ValueError, match='--input-shape'):
        find_input_shape(Config(dict(model={})), None)


def test_a_config_without_a_model_is_refused():
    with pytest.raises(ValueError, match='no model'):
        build_model(Config(dict(default_scope='mmseg')))

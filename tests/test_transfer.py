"""Which part of a model is which part of a ticket, and the record restricted to it."""

import pytest
import torch
from mmengine.model import BaseModel
from mmengine.registry import DefaultScope
from mmpretrain.models import ImageClassifier
from torch import Tensor, nn

from st_mm.hooks.labels import differ
from st_mm.models import HRFusionNeck, HRSupernet
from st_mm.prune import pack, shuffle
from st_mm.search import shrink
from st_mm.ticket import RECORD, Ticket
from st_mm.transfer import Carried, carried, match, report, rows
from st_mm.units import find_owners

SLIM = dict(stem_channels=(4, 8), stage_channels=((8,), (6, 12)), stage_blocks=((1,), (1, 1)))


class Net(BaseModel):
    """A model of mm's kind around parts of any name."""

    def __init__(self, **parts: nn.Module) -> None:
        super().__init__()
        for name, part in parts.items():
            self.add_module(name, part)

    def forward(self, inputs: Tensor) -> Tensor:
        return inputs


def _net(width: int = 12, classes: int = 4, **backbone: object) -> Net:
    return Net(
        backbone=HRSupernet(**{**SLIM, **backbone}),
        neck=HRFusionNeck(in_channels=(6, 12), out_channels=width),
        decode_head=nn.Conv2d(width, classes, 1),
    )


@pytest.fixture
def drawn() -> tuple[dict[str, Tensor], Ticket]:
    """Weights and record of a searched and pruned network."""
    torch.manual_seed(0)
    net = _net()
    ticket = Ticket.of_supernet(net)
    owners = find_owners(net)
    dead = {name: torch.rand(owner.unit_bn.weight.shape) < 0.5 for name, owner in owners.items()}
    shrink(net, dead)
    ticket.remove(dead)
    for name, weight in net.named_parameters():
        if weight.dim() == 4 and 'decode_head' not in name:
            keep = torch.rand(weight.shape) < 0.3
            weight.data.mul_(keep)
            ticket.masks[name] = dict(shape=list(keep.shape), bits=pack(keep))
    return net.state_dict(), ticket


def _part(found, name: str):
    return next(part for part in found.parts if part.name == name)


def _moved(state: dict[str, Tensor], old: str, new: str) -> dict[str, Tensor]:
    return {new + k.removeprefix(old) if k.startswith(old) else k: t for k, t in state.items()}


def test_the_same_task_takes_everything(drawn) -> None:
    state, ticket = drawn
    found = match(_net(), state, 'a.pth')
    assert found.whole
    record = found.restrict(ticket)
    assert (record.units, record.total) == (ticket.units, ticket.total)
    assert record.masks == ticket.masks


def test_other_classes_start_the_head_new_and_keep_the_rest(drawn) -> None:
    state, ticket = drawn
    for net, own_head in ((_net(classes=7), False), (_net(), True)):
        found = match(net, state, 'a.pth', own_head=own_head)
        assert not found.whole
        assert _part(found, 'decode_head').taken == {}
        assert _part(found, 'backbone').new == _part(found, 'neck').new == ()
        assert found.restrict(ticket).units == ticket.units
        assert found.restrict(ticket).masks == ticket.masks


def test_a_neck_of_another_width_starts_new_with_all_its_units(drawn) -> None:
    state, ticket = drawn
    net = _net(width=20)
    found = match(net, state, 'a.pth')
    record = found.restrict(ticket)
    assert _part(found, 'neck').taken == {}
    assert record.units['neck.block'] == Ticket.of_supernet(net).units['neck.block']
    assert (
        record.units['backbone.stages.0.fusion.paths.0to0']
        == (ticket.units['backbone.stages.0.fusion.paths.0to0'])
    )
    assert set(record.masks) == {name for name in ticket.masks if name.startswith('backbone.')}


@pytest.mark.parametrize('place', ['', 'model.net.', 'image_encoder.'])
def test_the_backbone_is_found_under_any_name(drawn, place: str) -> None:
    state, ticket = drawn
    moved = _moved(state, 'backbone.', place)
    ticket.units = _moved(ticket.units, 'backbone.', place)
    ticket.total = _moved(ticket.total, 'backbone.', place)
    for prefix in (None, place.rstrip('.')):
        found = match(_net(classes=3), moved, 'a.pth', prefix=prefix)
        assert _part(found, 'backbone').source == place.rstrip('.')
        assert len(_part(found, 'backbone').taken) == len(HRSupernet(**SLIM).state_dict())
        kept = found.restrict(ticket).units['backbone.stages.0.fusion.paths.0to0']
        assert kept == ticket.units[f'{place}stages.0.fusion.paths.0to0']


def test_weights_are_those_of_the_ticket_and_the_models_own(drawn) -> None:
    state, _ = drawn
    net = _net(classes=7)
    full = match(net, state, 'a.pth').weights(net, state, 'a.pth')
    assert full.keys() == net.state_dict().keys()
    for name, tensor in full.items():
        source = net.state_dict() if name.startswith('decode_head') else state
        assert torch.equal(tensor, source[name]), name


def test_a_tied_weight_comes_under_all_its_names() -> None:
    def tied() -> Net:
        net = Net(backbone=nn.Sequential(nn.Linear(3, 3), nn.Linear(3, 3)))
        net.backbone[1].weight = net.backbone[0].weight
        return net

    source, target = tied(), tied()
    state = source.state_dict()
    target.load_state_dict(match(target, state, 'a.pth').weights(target, state, 'a.pth'))
    assert torch.equal(target.backbone[1].weight, source.backbone[1].weight)


def test_what_starts_new_may_be_named(drawn) -> None:
    state, ticket = drawn
    net = _net(stage_channels=((8,), (6, 12), (6, 12)), stage_blocks=((1,), (1, 1), (1, 1)))
    with pytest.raises(ValueError, match=r"a\.pth: part 'backbone': the ticket has no 'b"):
        match(net, state, 'a.pth')
    found = match(net, state, 'a.pth', new=['backbone.stages.2', 'neck'])
    assert {name.split('.')[2] for name in _part(found, 'backbone').new} == {'2'}
    assert _part(found, 'neck').taken == {}
    assert not any(name.startswith('backbone.stages.2') for name in found.restrict(ticket).masks)


def test_a_classifier_in_a_backbone_starts_new_where_the_classes_differ() -> None:
    def lenet(classes: int) -> BaseModel:
        with DefaultScope.overwrite_default_scope('mmpretrain'):  # whatever ran before
            body = dict(type='LeNet5', num_classes=classes)
            return ImageClassifier(body, head=dict(type='ClsHead'))

    state = lenet(4).state_dict()
    last = {'backbone.classifier.2.weight', 'backbone.classifier.2.bias'}
    part = _part(match(lenet(7), state, 'a.pth'), 'backbone')
    assert set(part.new) == last == set(part.left)
    assert set(part.taken) == state.keys() - last
    wider = lenet(7)  # another network besides
    wider.backbone.classifier[0] = nn.Linear(120, 85)
    with pytest.raises(ValueError, match=r"'backbone.classifier.0.weight' has shape \(84, 120\)"):
        match(wider, state, 'a.pth')


def test_the_table_counts_every_weight_once(drawn) -> None:
    state, ticket = drawn
    net = _net(width=20)
    found = match(net, state, 'a.pth')
    record = found.restrict(ticket)
    table = {row[0]: row for row in rows(found, record, state)}
    weights = sum(p.numel() for p in net.backbone.parameters())
    taken = sum(
        tensor.numel()
        for name, tensor in state.items()
        if name.startswith('backbone') and 'running' not in name and 'tracked' not in name
    )
    assert table['backbone'][2] == f'{taken:,}' != f'{weights:,}'
    assert table['neck'][4] == f'{sum(p.numel() for p in net.neck.parameters()):,}'
    masks = [record.mask(name) for name in record.masks]
    density = sum(int(m.sum()) for m in masks) / sum(m.numel() for m in masks)
    assert table['backbone'][7] == f'{density:.4f}'
    assert table['neck'][7] == table['decode_head'][7] == 'dense'
    assert 'a.pth' in report(found, record, state)


@pytest.mark.parametrize(
    ('change', 'message'),
    [
        (dict(net=_net(stage_channels=((8,), (8, 12)))), r"part 'backbone': .* shape"),
        (dict(net=_net(expand_ratio=2)), "part 'backbone'"),
        (dict(net=Net(backbone=nn.Sequential(nn.Conv2d(3, 3, 3)))), 'shares no features'),
        (dict(prefix='elsewhere'), "nothing of it under 'elsewhere'"),
        (dict(prefix=dict(body='backbone')), "the part 'body', but the parts of the model are"),
        (dict(new=['trunk']), "'trunk' in new .* matches no tensor"),
    ],
)
def test_what_does_not_fit_is_refused_by_name(drawn, change: dict, message: str) -> None:
    state, _ = drawn
    change = dict(change)
    net = change.pop('net', None) or _net(classes=3)
    with pytest.raises(ValueError, match=message) as raised:
        match(net, state, 'a.pth', **change)
    assert 'a.pth' in str(raised.value)


def test_two_places_that_are_alike_are_refused(drawn) -> None:
    state, _ = drawn
    body = {k: t for k, t in state.items() if k.startswith('backbone.')}
    twice = _moved(body, 'backbone.', 'student.') | _moved(body, 'backbone.', 'teacher.')
    with pytest.raises(ValueError, match="could be 'student', 'teacher'"):
        match(_net(classes=3), twice, 'a.pth')
    assert _part(match(_net(classes=3), twice, 'a.pth', 'teacher'), 'backbone').source == 'teacher'
    net = Net(backbone=HRSupernet(**SLIM), teacher=HRSupernet(**SLIM), head=nn.Linear(2, 2))
    with pytest.raises(ValueError, match="could be 'backbone' or 'teacher'"):
        match(net, state, 'a.pth')
    both = match(net, state, 'a.pth', prefix=dict(backbone='backbone', teacher='backbone'))
    assert _part(both, 'teacher').taken


def test_another_supernet_is_refused_by_its_units(drawn) -> None:
    state, ticket = drawn
    ticket.total['backbone.stages.0.fusion.paths.0to0'] = dict(k3=99)
    found = match(_net(classes=3), state, 'a.pth')
    with pytest.raises(ValueError, match=r'a\.pth: the supernet of the ticket has .*99'):
        found.restrict(ticket)


def test_latent_weights_follow_their_masks(drawn) -> None:
    state, ticket = drawn
    found = match(_net(width=20), state, 'a.pth')
    latent = [{n: torch.rand(int((~ticket.mask(n)).sum())) for n in ticket.masks} for _ in 'ab']
    record = found.restrict(ticket)
    ours = found.latent(latent, record.masks)
    assert [set(each) for each in ours] == [set(record.masks)] * 2
    assert all(torch.equal(ours[1][name], latent[1][name]) for name in record.masks)
    assert found.latent(None, record.masks) is None


def test_parts_that_were_initialized_apart_are_one_record(drawn) -> None:
    state, ticket = drawn
    net = _net(classes=3)
    for name in ('backbone', 'neck'):
        module = net.get_submodule(name)
        found = match(module, state, 'a.pth', prefix=name)
        record = found.restrict(ticket)
        latent = [{n: torch.ones(int((~record.mask(n)).sum())) for n in record.masks}]
        known = Carried(record, frozenset(found.taken), latent if name == 'neck' else None)
        setattr(module, RECORD, known)
    whole = carried(net)
    assert whole.ticket.units == ticket.units
    assert whole.ticket.masks == ticket.masks
    assert whole.shared == {n for n in net.state_dict() if not n.startswith('decode_head')}
    assert not whole.latent[0]['backbone.stem.0.conv.weight'].any()
    assert whole.latent[0]['neck.block.expand.weight'].all()


def test_random_masks_are_as_dense_in_every_layer() -> None:
    masks = {name: torch.rand(5, 7) < share for name, share in (('a', 0.2), ('b', 0.9))}
    once, again, other = shuffle(masks, 1), shuffle(masks, 1), shuffle(masks, 2)
    for name, mask in masks.items():
        assert once[name].sum() == mask.sum()
        assert torch.equal(once[name], again[name])
        assert not torch.equal(once[name], mask)
        assert not torch.equal(once[name], other[name])


def test_heads_differ_where_labels_do() -> None:
    assert differ(dict(classes=('a', 'b')), dict(classes=['a', 'c']))
    assert not differ(dict(classes=('a', 'b')), dict(classes=['a', 'b']))
    assert not differ(dict(classes=('a', 'b')), {})
    assert differ(dict(keypoint_name2id=dict(nose=0)), dict(keypoint_name2id=dict(neck=0)))

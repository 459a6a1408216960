"""The ratio and the density of a record are those of its file, whichever parts rest and when."""

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from mmengine.hooks import Hook
from mmengine.model import BaseModel
from mmengine.registry import HOOKS
from mmengine.runner import Runner
from torch import nn
from torch.utils.data import DataLoader

from st_mm.hooks.run_state import bare_model
from st_mm.ticket import Ticket, load_checkpoint

PICTURE = (3, 32, 32)
V2 = dict(backbone=dict(type='MobileNetV2', widen_factor=0.1))
WIDER = dict(backbone=dict(type='MobileNetV2', widen_factor=0.35))
V3 = dict(
    backbone=dict(type='MobileNetV3', arch='small_050'),
    head=dict(type='LinearClsHead', num_classes=4, in_channels=288),
)
SEARCH = dict(
    type='SearchHook',
    interval=5,
    rho=1.0,
    warmup=0,
    threshold=0.9,
    min_macs_drop=1,
    input_shape=PICTURE,
    calibration_batches=0,
)
FAST = dict(optim_wrapper=dict(optimizer=dict(type='SGD', lr=0.02, momentum=0.9)))


@HOOKS.register_module()
class Rest(Hook):
    """Lets parts rest in the epochs that are given, and train in the others."""

    priority = 'VERY_HIGH'

    def __init__(self, parts: str | tuple[str, ...], epochs: list[int]) -> None:
        self.parts, self.epochs = parts, epochs

    def before_train(self, runner: Runner) -> None:
        for name, parameter in bare_model(runner).named_parameters():
            if name.startswith(self.parts):
                parameter.requires_grad_(runner.epoch not in self.epochs)

    before_train_epoch = before_train


def prune(ratio: float, schedule: str = 'OneShot', at: int = 1, **kwargs: object) -> dict:
    when = dict(at=at) if schedule == 'OneShot' else dict(begin=1, end=4, interval=1)
    times = dict(type=schedule, ratio=ratio, **when)
    return dict(type='PruneHook', schedule=times, calibration_batches=0, **kwargs)


def check(file: Path, still: str | tuple[str, ...] | None) -> Ticket:
    """Count in a file what its record says: the ratio of what trains, the density of all.

    Args:
        file (Path): The checkpoint.
        still (str | tuple, optional): How the names of resting weights begin.
    """
    saved = load_checkpoint(file)
    ticket, weights = Ticket.from_meta(saved['meta']), saved['state_dict']
    ticket.check_zeros(weights)
    sizes = {n: w.numel() for n, w in weights.items() if w.ndim > 1 and not n.startswith('head')}
    gone = {name: int((~ticket.mask(name)).sum()) for name in ticket.masks}
    trained = [n for n in sizes if still is None or not n.startswith(still)]
    count = sum(sizes[n] for n in trained)
    ratio = sum(gone.get(n, 0) for n in trained) / max(count, 1)
    density = 1 - sum(gone.values()) / max(sum(sizes[n] for n in {*trained, *gone}), 1)
    if events := [event for event in ticket.events if 'ratio' in event]:
        if trained:
            assert 0 <= events[-1]['ratio'] - ratio + 1e-9 < 4 / count, (file.name, events)
        assert events[-1]['density'] == pytest.approx(density, abs=1e-9), (file.name, events)
    return ticket


@pytest.fixture
def ticket(noise_runner: Callable[..., Runner], tmp_path: Path) -> Callable[[dict], str]:
    """Tickets of 80 %: of a network, its file."""

    def build(model: dict) -> str:
        noise_runner([prune(0.8)], 1, 'ticket', model=model, **FAST).train()
        return str(tmp_path / 'ticket' / 'epoch_1.pth')

    return build


@pytest.mark.parametrize(
    ('model', 'parts', 'straight_through'),
    [
        (V2, ['backbone.layer6', 'backbone.layer7'], None),  # masked more than the rest
        (V2, ['backbone.conv2'], 'soft'),
        (V2, ['backbone.layer1', 'backbone.layer2', 'backbone.layer3'], None),  # masked less
        (V3, ['backbone.layer9', 'backbone.layer10'], 'hard'),
    ],
    ids=['deep', 'last', 'shallow', 'v3'],
)
def test_a_ticket_with_frozen_parts_is_pruned_further(
    model: dict,
    parts: list[str],
    straight_through: str | None,
    ticket: Callable[[dict], str],
    noise_runner: Callable[..., Runner],
    tmp_path: Path,
) -> None:
    hooks = [
        dict(type='FreezeHook', parts=parts),
        prune(0.9, at=2, straight_through=straight_through),
    ]
    file = ticket(model)
    noise_runner(hooks, 2, model=model, load_from=file, **FAST).train()
    before = Ticket.from_meta(load_checkpoint(file)['meta'])
    for epoch in (1, 2):
        now = check(tmp_path / 'run' / f'epoch_{epoch}.pth', tuple(f'{p}.' for p in parts))
    assert [event['kind'] for event in now.events] == ['inherit', 'prune']
    assert now.events[-1]['ratio'] == 0.9
    held = [n for n in before.masks if n.startswith(tuple(f'{p}.' for p in parts))]
    assert held
    assert all(torch.equal(now.mask(name), before.mask(name)) for name in held)


def test_what_rests_is_not_the_ratio_that_is_refused(
    ticket: Callable[[dict], str], noise_runner: Callable[..., Runner]
) -> None:
    hooks = [
        dict(type='FreezeHook', parts=['backbone.layer1', 'backbone.layer2']),
        prune(0.8),
    ]
    runner = noise_runner(hooks, model=V2, load_from=ticket(V2), **FAST)
    with pytest.raises(ValueError, match=r'has 0\.8\d* of the weights that train masked') as error:
        runner.train()
    assert 'give it a larger ratio' in str(error.value)


@pytest.mark.parametrize(
    ('parts', 'straight_through'),
    [('backbone.layer6', None), ('backbone.layer3', 'hard'), ('backbone.layer6', 'soft')],
)
def test_units_are_reaped_beside_a_part_that_has_frozen(
    parts: str,
    straight_through: str | None,
    noise_runner: Callable[..., Runner],
    tmp_path: Path,
) -> None:
    """And what a search takes afterwards is fitted to the ratio that they leave."""
    hooks = [
        dict(type='Rest', parts=parts, epochs=[3, 4, 5]),
        SEARCH,
        prune(0.9, 'Cubic', straight_through=straight_through),
        dict(type='ReapHook'),
    ]
    noise_runner(hooks, 6, model=WIDER, **FAST).train()
    for epoch in range(1, 7):
        ticket = check(tmp_path / 'run' / f'epoch_{epoch}.pth', parts if epoch > 3 else None)
    kinds = [event['kind'] for event in ticket.events]
    assert kinds[-5:] == ['prune', 'reap', 'search', 'refit', 'reap']


def test_nothing_is_reaped_while_all_rests(
    noise_runner: Callable[..., Runner], tmp_path: Path
) -> None:
    """No share of no weights becomes the ratio of those that train again."""
    hooks = [
        dict(type='Rest', parts='backbone', epochs=[3]),
        prune(0.9, 'Cubic'),
        dict(type='ReapHook'),
    ]
    noise_runner(hooks, 6, model=V2, **FAST).train()
    ticket = check(tmp_path / 'run' / 'epoch_6.pth', None)
    assert [e['kind'] for e in ticket.events if e['t'] > 3] == ['prune', 'refit', 'reap']
    assert ticket.events[-2]['ratio'] == 0.9


class Parts(BaseModel):
    """Three parts, of which the first has the smallest weights, and a classifier."""

    def __init__(self) -> None:
        super().__init__()
        self.a, self.b, self.c = (nn.Conv2d(3, 3, 3, padding=1) for _ in range(3))
        self.head = nn.Linear(3, 2)
        for part, scale in zip((self.a, self.b, self.c), (0.3, 1, 3), strict=True):
            part.weight.data *= scale

    def forward(self, inputs, mode='tensor'):
        x = self.c(self.b(self.a(inputs).relu()).relu())
        scores = self.head(x.mean((2, 3)))
        return dict(loss=scores.square().mean()) if mode == 'loss' else scores


def small(work_dir: Path, hooks: list[dict], epochs: int, **config: object) -> Runner:
    torch.manual_seed(0)
    data = [torch.randn(3, 6, 6) for _ in range(4)]
    return Runner(
        Parts(),
        str(work_dir),
        train_dataloader=DataLoader(data, batch_size=2, collate_fn=lambda x: (torch.stack(x),)),
        train_cfg=dict(by_epoch=True, max_epochs=epochs),
        optim_wrapper=dict(optimizer=dict(type='SGD', lr=0.05, momentum=0.9, weight_decay=0.1)),
        custom_hooks=hooks,
        log_level='ERROR',
        experiment_name=f'parts-{work_dir}',
        randomness=dict(seed=0),
        **config,
    )


@settings(max_examples=10, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(
    part=st.sampled_from(['a.', 'b.', 'c.', ('a.', 'b.'), ('a.', 'b.', 'c.')]),
    begin=st.integers(0, 4),
    length=st.integers(1, 5),
    inherited=st.booleans(),
    ratio=st.sampled_from([0.6, 0.9]),
    straight_through=st.sampled_from([None, 'hard']),
    scope=st.sampled_from(['global', 'layer']),
    stop=st.integers(1, 5),
)
@example(  # stopped just before they freeze
    part='b.',
    begin=3,
    length=3,
    inherited=False,
    ratio=0.9,
    straight_through=None,
    scope='global',
    stop=3,
)
@example(  # and just before they train again
    part='a.',
    begin=0,
    length=3,
    inherited=True,
    ratio=0.9,
    straight_through='hard',
    scope='layer',
    stop=3,
)
def test_parts_rest_and_train_again(
    part, begin, length, inherited, ratio, straight_through, scope, stop, tmp_path_factory
) -> None:
    """Whichever and whenever, in a training that begins with a ticket or without one."""
    folder = tmp_path_factory.mktemp('rest')
    rest = list(range(begin, begin + length))
    hooks = [
        dict(type='Rest', parts=part, epochs=rest),
        prune(ratio, 'Cubic', straight_through=straight_through, scope=scope),
        dict(type='EMAHook', momentum=0.3),
    ]
    load: dict = {}
    if inherited:
        small(folder / 'ticket', [prune(0.5)], 1).train()
        load = dict(load_from=str(folder / 'ticket' / 'epoch_1.pth'))
    try:
        small(folder / 'run', hooks, 6, **load).train()
    except ValueError as error:  # what trains is masked more than the ratio, by chance
        assert inherited and 'give it a larger ratio' in str(error)  # noqa: PT017, PT018
        return
    files = [folder / 'run' / f'epoch_{epoch}.pth' for epoch in range(1, 7)]
    for epoch, file in enumerate(files):
        check(file, part if epoch in rest else None)
    again = dict(load_from=str(files[stop - 1]), resume=True)
    small(folder / 'again', hooks, 6, **again).train()
    whole, ended = (load_checkpoint(folder / run / 'epoch_6.pth') for run in ('run', 'again'))
    for entry in ('state_dict', 'ema_state_dict'):
        for name, tensor in whole[entry].items():
            assert torch.equal(ended[entry][name], tensor), name
    assert ended['meta']['ticket']['events'] == whole['meta']['ticket']['events']

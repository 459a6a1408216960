"""A search with a target arrives there, and a resumed one by the same course."""

import re
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from mmengine.hooks import Hook
from mmengine.runner import Runner

from st_mm.analysis.wording import describe_schedule
from st_mm.hooks import SearchHook
from st_mm.hooks.run_state import bare_model
from st_mm.measure import count_macs
from st_mm.ticket import Ticket, load_checkpoint
from st_mm.units import find_owners

PICTURE = (3, 32, 32)
EPOCHS = 24


def search(**changes: object) -> dict:
    hook = dict(
        type='SearchHook',
        interval=2,
        rho=0.02,
        warmup=2,
        threshold=0.05,
        min_macs_drop=1e5,
        input_shape=PICTURE,
        calibration_batches=0,
    )
    return {**hook, **changes}


def size(runner: Runner) -> dict[str, float]:
    model = bare_model(runner)
    params = sum(parameter.numel() for parameter in model.parameters())
    return dict(macs=count_macs(model, PICTURE).dense, params=params)


def record(runner: Runner, epoch: int, figure: str) -> list[float]:
    meta = load_checkpoint(Path(runner.work_dir) / f'epoch_{epoch}.pth')['meta']
    return [e[figure] for e in Ticket.from_meta(meta).events if e['kind'] == 'search']


MODEL = dict(backbone=dict(type='MobileNetV2', widen_factor=0.5))


RAMPED = dict(type='EMAHook', ema_type='RampedEMA', momentum=1e-6, update_buffers=True)
CONSTANT = dict(type='EMAHook', momentum=0.1)


SGD = dict(type='SGD', lr=0.005)
FAST = dict(optimizer=dict(type='Adam', lr=0.02))


@pytest.mark.slow
@pytest.mark.parametrize(
    ('resource', 'share', 'average', 'optimizer'),
    [
        ('macs', 25, None, SGD),
        ('macs', 25, RAMPED, SGD),
        ('macs', 50, RAMPED, SGD),
        ('macs', 50, CONSTANT, SGD),
        ('macs', 75, None, SGD),
        ('params', 80, RAMPED, SGD),
        ('macs', 50, None, dict(type='AdamW', lr=0.02)),
        ('macs', 50, None, dict(type='RMSprop', lr=0.01, alpha=0.9, momentum=0.9)),
    ],
)
def test_it_arrives(
    noise_runner: Callable[..., Runner],
    resource: str,
    share: int,
    average: dict | None,
    optimizer: dict,
) -> None:
    """Also where an average has to follow: units go by their scales in both."""
    hooks = [search(target={resource: f'{share}%'}), *([average] if average else [])]
    wrapper = dict(optimizer=optimizer)
    runner = noise_runner(hooks, epochs=EPOCHS, model=MODEL, optim_wrapper=wrapper)
    limit = share / 100 * size(runner)[resource]
    runner.train()
    assert 0 <= size(runner)[resource] / limit - 1 <= 0.02
    pulls = record(runner, EPOCHS, 'pull')
    assert pulls[-1] == 0
    assert all(pull == 0 for pull in pulls[pulls.index(0) :])  # once there the penalty rests


@pytest.mark.slow
@pytest.mark.parametrize(
    'wrapper',
    [
        dict(optimizer=SGD, accumulative_counts=4),
        dict(optimizer=dict(type='SGD', lr=0.0005, momentum=0.9)),
    ],
    ids=['accumulation', 'momentum'],
)
def test_it_arrives_by_steps_of_several_gradients(
    noise_runner: Callable[..., Runner], wrapper: dict
) -> None:
    """The limit on a strong pull counts steps of the optimizer, not batches."""
    hooks = [search(target=dict(macs='50%'), interval=6, warmup=0, rho=0.5)]
    runner = noise_runner(hooks, epochs=EPOCHS, model=MODEL, optim_wrapper=wrapper)
    limit = 0.5 * size(runner)['macs']
    runner.train()
    assert 0 <= size(runner)['macs'] / limit - 1 <= 0.02


@pytest.mark.slow
@pytest.mark.parametrize(
    ('rate', 'scheduler'),
    [
        (
            0.005,
            dict(type='CosineRestartLR', periods=[32] * 3, restart_weights=[1] * 3, eta_min=0),
        ),
        (0.0005, dict(type='ConstantLR', factor=0.1, end=32)),
    ],
    ids=['restarts', 'warm-up'],
)
def test_it_arrives_where_the_learning_rate_jumps(
    noise_runner: Callable[..., Runner], rate: float, scheduler: dict
) -> None:
    """Momentum keeps what a small learning rate has let through."""
    runner = noise_runner(
        [search(target=dict(macs='50%'))],
        epochs=EPOCHS,
        model=MODEL,
        optim_wrapper=dict(optimizer=dict(type='SGD', lr=rate, momentum=0.9)),
        param_scheduler=[dict(scheduler, by_epoch=False)],
    )
    limit = 0.5 * size(runner)['macs']
    runner.train()
    assert 0 <= size(runner)['macs'] / limit - 1 <= 0.02


def test_what_is_dead_at_the_last_step_goes(noise_runner: Callable[..., Runner]) -> None:
    """Steps before may be too small to be worth it; nothing comes after this one."""

    class SomeDead(Hook):
        def before_train_epoch(self, runner: Runner) -> None:
            for owner in find_owners(bare_model(runner)).values():
                owner.unit_bn.weight.data[:2] = 0

    hook = search(target=dict(macs='50%'), min_macs_drop=1e9, rho=1e-9, warmup=0)
    runner = noise_runner([hook], epochs=5, model=MODEL)
    runner.register_hook(SomeDead())
    runner.train()
    assert [bool(each) for each in record(runner, 5, 'removed')] == [False, True]


def test_what_cannot_be_reached_is_refused_before_training(
    noise_runner: Callable[..., Runner],
) -> None:
    runner = noise_runner([search(target=dict(macs='10%'))], model=MODEL)
    with pytest.raises(ValueError, match=r"target of macs='10%', [\d,]+: [\d,]+ stay"):
        runner.train()
    runner = noise_runner([search(target=dict(macs=1e12))], name='large', model=MODEL)
    with pytest.raises(ValueError, match=r'macs=1000000000000.0, but the training begins with'):
        runner.train()


def test_no_pull_without_rho() -> None:
    with pytest.raises(ValueError, match='target needs a rho above 0'):
        SearchHook(target=dict(macs=1e9), rho=0)


def test_what_was_not_reached_is_said(noise_runner: Callable[..., Runner]) -> None:
    """The threshold is too low for four epochs; the line of each step says where the search is."""
    hook = search(target=dict(macs='50%'), threshold=1e-6)
    runner = noise_runner([hook], epochs=4, model=MODEL, log_level='INFO')
    runner.train()
    [log] = Path(runner.work_dir).glob('*/*.log')
    text = log.read_text()
    assert re.search(r'no dead units; target of [\d,]+ MACs: \+100\.0 %, rho times [\d.]+', text)
    assert 'the search ends 100.0 % above its target' in text
    assert 'threshold=1e-06' in text


def test_strong_pulls_do_not_swing(noise_runner: Callable[..., Runner]) -> None:
    """No scale of a unit goes through zero by a pull that would throw it far to the other side."""
    hook = search(target=dict(macs='50%'), rho=1e4, warmup=0, threshold=1e-9, interval=4)
    runner = noise_runner([hook], epochs=4, model=MODEL)
    runner.train()
    for owner in find_owners(bare_model(runner)).values():
        assert owner.unit_bn.weight.abs().max() < 1.5  # they were 1; one step of 50 is asked for


def test_the_record_says_where_it_went(noise_runner: Callable[..., Runner], tmp_path: Path) -> None:
    hook = search(target=dict(macs='60%', params=400_000), warmup=0)
    runner = noise_runner([hook], epochs=2, model=MODEL)
    start = size(runner)
    runner.train()
    assert record(runner, 2, 'start_macs') == [start['macs']]
    assert record(runner, 2, 'start_params') == [start['params']]
    ticket = Ticket.from_meta(load_checkpoint(tmp_path / 'run' / 'epoch_2.pth')['meta'])
    assert ticket.config['SearchHook']['target'] == dict(macs='60%', params=400_000)
    said = describe_schedule(ticket.config)[1]
    assert said == 'towards MACs of 60% of those at the start and parameters of 400,000'


@pytest.mark.slow
def test_the_limit_knows_the_learning_rate_of_a_compiled_step(
    noise_runner: Callable[..., Runner],
) -> None:
    """A search step compiles anew, and replaces the groups of the optimizer for that."""
    seen = []

    class Rates(Hook):
        priority = 'LOWEST'  # after the hook has set the limit

        def before_train_iter(self, runner: Runner, *_: object, **__: object) -> None:
            [ours] = [hook for hook in runner.hooks if isinstance(hook, SearchHook)]
            limit = next(iter(ours.penalty.longest.values()))
            seen.append((1 / limit.whole, runner.optim_wrapper.param_groups[0]['lr']))

    hook = search(target=dict(macs='50%'), threshold=0.9, rho=1.0, warmup=0, interval=1)
    runner = noise_runner(
        [hook],
        epochs=3,
        compile=dict(backend='eager'),
        param_scheduler=[dict(type='ExponentialLR', gamma=0.5)],
    )
    runner.register_hook(Rates())
    runner.train()
    assert len({rate for _, rate in seen}) == 3
    assert all(limit == pytest.approx(rate) for limit, rate in seen)


@pytest.mark.parametrize('target', ['60%', 'absolute'])
def test_a_resume_before_the_first_step_keeps_the_start(
    target: str, noise_runner: Callable[..., Runner], tmp_path: Path
) -> None:
    """Empty units may have gone by then, so that the network of now is not that of the start."""
    aim = size(noise_runner(name='built'))['macs'] * 0.9 if target == 'absolute' else target
    hooks = [
        search(interval=3, min_macs_drop=1, target=dict(macs=aim)),
        dict(
            type='PruneHook',
            schedule=dict(type='OneShot', ratio=0.97, at=1),
            calibration_batches=0,
        ),
        dict(type='ReapHook'),
    ]
    noise_runner(hooks, 6).train()
    file = str(tmp_path / 'run' / 'epoch_2.pth')
    events = Ticket.from_meta(load_checkpoint(file)['meta']).events
    assert [event['kind'] for event in events] == ['target', 'prune', 'reap']
    assert events[-1]['removed'] > 0
    noise_runner(hooks, 6, 'again', load_from=file, resume=True).train()
    whole, again = (load_checkpoint(tmp_path / n / 'epoch_6.pth') for n in ('run', 'again'))
    assert again['meta']['ticket']['events'] == whole['meta']['ticket']['events']
    for entry in ('state_dict', 'optimizer'):
        torch.testing.assert_close(again[entry], whole[entry], rtol=0, atol=0)


def test_a_limit_that_counts_momentum_is_resumed(
    noise_runner: Callable[..., Runner], tmp_path: Path
) -> None:
    """What momentum carries is in the checkpoint, as the optimizer's state is."""
    hooks = [search(target=dict(macs='50%'), warmup=0, rho=1.0)]
    optimizer = dict(type='SGD', lr=0.0005, momentum=0.9, nesterov=True)
    options = dict(model=MODEL, optim_wrapper=dict(optimizer=optimizer))
    noise_runner(hooks, 8, **options).train()
    whole = load_checkpoint(tmp_path / 'run' / 'epoch_8.pth')
    for stop in (1, 5):
        file = str(tmp_path / 'run' / f'epoch_{stop}.pth')
        noise_runner(hooks, 8, f'{stop}', load_from=file, resume=True, **options).train()
        again = load_checkpoint(tmp_path / f'{stop}' / 'epoch_8.pth')
        assert again['meta']['ticket']['events'] == whole['meta']['ticket']['events']
        for entry in ('state_dict', 'optimizer'):
            torch.testing.assert_close(again[entry], whole[entry], rtol=0, atol=0)


def test_another_target_on_resume_begins_another_course(
    noise_runner: Callable[..., Runner], tmp_path: Path
) -> None:
    """A target that is met lets the penalty rest, which a smaller one must not take over."""
    greedy = dict(interval=1, threshold=0.9, rho=1.0, warmup=0, min_macs_drop=1)
    noise_runner([search(target=dict(macs='95%'), **greedy)], 4).train()
    file = str(tmp_path / 'run' / 'epoch_4.pth')
    runner = noise_runner(
        [search(target=dict(macs='85%'), **greedy)], 8, 'on', load_from=file, resume=True
    )
    runner.train()
    events = Ticket.from_meta(load_checkpoint(tmp_path / 'on' / 'epoch_8.pth')['meta']).events
    aims = [event for event in events if event['kind'] == 'target']
    assert [event['t'] for event in aims] == [0, 4]
    assert aims[0]['start_macs'] == aims[1]['start_macs']
    assert aims[1]['macs'] == pytest.approx(0.85 * aims[0]['start_macs'])
    assert 0 <= events[-1]['macs'] / aims[1]['macs'] - 1 <= 0.02


def test_a_warmup_that_leaves_no_time(noise_runner: Callable[..., Runner]) -> None:
    hook = search(target=dict(macs='50%'), warmup=25)
    with pytest.raises(ValueError, match=r'warmup=25 epochs, but the training has 24'):
        noise_runner([hook], EPOCHS).train()


def test_a_warmup_that_leaves_little_time_is_named(noise_runner: Callable[..., Runner]) -> None:
    hook = search(target=dict(macs='50%'), warmup=4)
    runner = noise_runner([hook], 6)
    runner.train()
    [log] = Path(runner.work_dir).glob('*/*.log')
    before, after = re.findall(r'WARNING - (.*warmup=4.*)', log.read_text())
    assert before.startswith('SearchHook may miss its target: rho is chosen from epoch 4 on')
    assert 'It came too late: rho is chosen from epoch 4 on' in after


def test_an_average_that_cannot_follow(noise_runner: Callable[..., Runner]) -> None:
    """mmengine's own momentum forgets 2 % in a hundred iterations."""
    hook = search(target=dict(macs='50%'))
    with pytest.raises(ValueError, match=r'0\.98 .* in the average after 96 .*momentum=0\.0002'):
        noise_runner([hook, dict(type='EMAHook')], EPOCHS).train()
    late = dict(type='EMAHook', begin_epoch=1)  # it begins as a copy of the weights of then
    noise_runner([hook, late], 3, 'late').train()


def test_an_average_that_has_not_followed_is_named(noise_runner: Callable[..., Runner]) -> None:
    average = dict(type='EMAHook', momentum=0.05)
    hook = search(target=dict(macs='50%'), threshold=0.9, rho=1e3, warmup=0, interval=3)
    runner = noise_runner([hook, average], 3, optim_wrapper=FAST)
    runner.train()
    [log] = Path(runner.work_dir).glob('*/*.log')
    assert 'EMAHook has not followed' in log.read_text()


def test_a_pull_that_is_clipped_is_named(noise_runner: Callable[..., Runner]) -> None:
    wrapper = dict(optimizer=SGD, clip_grad=dict(max_norm=1e-3))
    hook = search(target=dict(macs='50%'), warmup=0, interval=1, rho=1e3)
    runner = noise_runner([hook], 6, optim_wrapper=wrapper)
    runner.train()
    [log] = Path(runner.work_dir).glob('*/*.log')
    assert 'since clip_grad makes it as short as' in log.read_text()


def test_a_training_that_has_diverged_stops_and_says_so(
    noise_runner: Callable[..., Runner], tmp_path: Path
) -> None:
    """Its files, if any, could not be resumed anyway."""
    hook = search(target=dict(macs='50%'), interval=1, warmup=0)
    wild = dict(optimizer=dict(type='SGD', lr=1e30))
    with pytest.raises(ValueError, match='diverged: search at epoch 1 has a penalty of nan'):
        noise_runner([hook], 2, optim_wrapper=wild).train()
    assert not list((tmp_path / 'run').glob('*.pth'))

"""A search with a target arrives there, and a resumed one by the same course."""

import re
from collections.abc import Callable
from pathlib import Path

import pytest
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
    hook = search(target=dict(macs='60%', params=400_000))
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
            whole, _ = next(iter(ours.penalty.longest.values()))
            seen.append((1 / whole, runner.optim_wrapper.param_groups[0]['lr']))

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

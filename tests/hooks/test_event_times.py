"""Events follow from progress alone; validation watches them and changes nothing.

Whatever is evaluated at an event's epoch (or iteration) is the network after the event, EMA weights
with masks and recalibrated statistics: the network of that moment's checkpoint.
"""

import json
from collections.abc import Callable
from copy import deepcopy
from pathlib import Path

import pytest
import torch
from mmengine import Config
from mmengine.evaluator import BaseMetric
from mmengine.registry import METRICS
from mmengine.runner import Runner

from st_mm.ticket import KEY, load_checkpoint

pytestmark = pytest.mark.slow

EVENTS = [('prune', 2), ('search', 3), ('reactivate', 3), ('prune', 4), ('search', 6), ('refit', 6)]
DENSITIES = {1: 1, 2: 0.55, 4: 0.1, 5: 0.1, 6: 0.1}  # after the events; at 3 a part is set free
SEARCH = dict(interval=3)
PRUNE = dict(interval=2, step=0.45, end=4)
VALIDATED = dict(
    epoch={
        1: [1, 2, 3, 4, 5, 6],
        2: [2, 4, 6],  # on the prunes, before and after the search at 3
        3: [3, 6],  # on the searches, before and after the prune at 4
        None: [],
    },
    iter={
        1: [1, 2, 3, 4, 5, 6, 7],
        2: [2, 4, 6, 7],
        3: [3, 6, 7],
        5: [5, 7],  # on no event
        None: [],
    },
)  # moments by val_interval; mmengine always validates at the end
LOOPS = dict(
    epoch=dict(search=SEARCH, prune=PRUNE),
    iter=dict(
        search=dict(**SEARCH, by_epoch=False),
        prune=dict(**PRUNE, by_epoch=False),
        # 7 is not a multiple of an interval
        train_cfg=dict(_delete_=True, type='IterBasedTrainLoop', max_iters=7),
        param_scheduler=[dict(type='OneCycleLR', eta_max=0.02, total_steps=7, by_epoch=False)],
        # of 8 samples: validation falls into the middle of a pass through the data
        train_dataloader=dict(batch_size=3, sampler=dict(type='InfiniteSampler')),
        default_hooks=dict(checkpoint=dict(by_epoch=False), logger=dict(log_metric_by_epoch=False)),
        log_processor=dict(by_epoch=False),
    ),
)


@METRICS.register_module()
class MeanLogit(BaseMetric):
    """Tells networks apart that score alike."""

    default_prefix = 'st'

    def process(self, data_batch: object, data_samples: list[dict]) -> None:
        self.results += [sample['seg_logits']['data'].double().mean() for sample in data_samples]

    def compute_metrics(self, results: list[torch.Tensor]) -> dict[str, float]:
        return dict(logit=torch.stack(results).mean().item())


def _metrics(figures: dict) -> dict[str, float]:
    return {name: figures[name] for name in ('st/logit', 'mIoU', 'aAcc')}


@pytest.fixture(scope='module')
def config(tiny_config: Callable[..., Config]) -> Callable[..., Config]:
    """Configs by loop and val_interval, None for no validation."""

    def build(work_dir: Path, unit: str, val_interval: int | None, **changes: object) -> Config:
        config = tiny_config(work_dir, **{**deepcopy(LOOPS[unit]), **changes})
        config.train_cfg.val_interval = val_interval or 100
        config.train_cfg.val_begin = 1 if val_interval else 100
        config.val_evaluator = [config.val_evaluator, dict(type='MeanLogit')]
        return config

    return build


@pytest.fixture(scope='module')
def run(config: Callable, tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Path]:
    """Work dirs of finished runs that saved every epoch (or iteration)."""
    done: dict[tuple, Path] = {}

    def train(unit: str, val_interval: int | None) -> Path:
        key = (unit, val_interval)
        if key not in done:
            done[key] = tmp_path_factory.mktemp(f'{unit}_{val_interval}') / 'run'
            Runner.from_cfg(config(done[key], *key)).train()
        return done[key]

    return train


@pytest.fixture(scope='module')
def scores(run: Callable, config: Callable, tmp_path_factory: pytest.TempPathFactory) -> Callable:
    """Metrics, by moment, of the checkpoints in fresh runners."""
    done: dict[str, dict[int, dict]] = {}

    def evaluate(unit: str) -> dict[int, dict]:
        if unit not in done:
            done[unit] = {}
            for t in VALIDATED[unit][1]:
                fresh = config(tmp_path_factory.mktemp(f'{unit}_{t}') / 'fresh', unit, 1)
                fresh.load_from = str(run(unit, 1) / f'{unit}_{t}.pth')
                done[unit][t] = _metrics(Runner.from_cfg(fresh).val())
        return done[unit]

    return evaluate


def _saved(work_dir: Path, unit: str, t: int) -> dict:
    return load_checkpoint(work_dir / f'{unit}_{t}.pth')


def _logged(work_dir: Path) -> dict[int, dict]:
    """Metrics of the validations, by moment."""
    [scalars] = work_dir.glob('*/vis_data/scalars.json')
    lines = [json.loads(line) for line in scalars.read_text().splitlines()]
    return {line['step']: _metrics(line) for line in lines if 'mIoU' in line}


@pytest.mark.parametrize('unit', LOOPS)
@pytest.mark.parametrize('weights', ['state_dict', 'ema_state_dict'])
def test_checkpoints_hold_the_network_after_the_events(
    run: Callable, unit: str, weights: str
) -> None:
    moments = VALIDATED[unit][1]
    names = list(_saved(run(unit, None), unit, moments[-1])['meta'][KEY]['masks'])
    for t in moments:
        saved = _saved(run(unit, None), unit, t)
        events = saved['meta'][KEY]['events']
        assert [(event['kind'], event['t']) for event in events] == [e for e in EVENTS if e[1] <= t]
        assert {event['unit'] for event in events} <= {unit}

        state = {n.removeprefix('module.'): tensor for n, tensor in saved[weights].items()}
        nonzero = sum(int(state[name].count_nonzero()) for name in names)
        density = nonzero / sum(state[name].numel() for name in names)
        densities = [event['density'] for event in events if 'density' in event]
        assert density == pytest.approx([1, *densities][-1], abs=1e-4)
        if t in DENSITIES:
            assert density == pytest.approx(DENSITIES[t], abs=1e-3)

        if units := [event['units'] for event in events if event['kind'] == 'search']:
            filters = [
                len(state[f'{owner}.depthwise.{kernel}.weight'])
                for owner, kernels in saved['meta'][KEY]['units'].items()
                for kernel in kernels
            ]
            assert sum(filters) == units[-1]
            assert all(event['removed'] for event in events if event['kind'] == 'search')


@pytest.mark.parametrize(
    ('unit', 'val_interval'), [(unit, interval) for unit in LOOPS for interval in VALIDATED[unit]]
)
def test_evaluation_sees_the_network_of_the_checkpoint(
    run: Callable, scores: Callable, unit: str, val_interval: int | None
) -> None:
    expected = scores(unit)
    moments = VALIDATED[unit][val_interval]
    assert _logged(run(unit, val_interval)) == {t: expected[t] for t in moments}


@pytest.mark.parametrize('unit', LOOPS)
def test_the_metric_tells_moments_apart(scores: Callable, unit: str) -> None:
    logits = [metrics['st/logit'] for metrics in scores(unit).values()]
    assert len(set(logits)) == len(logits)


@pytest.mark.parametrize(
    ('unit', 'val_interval'),
    [(unit, interval) for unit in LOOPS for interval in VALIDATED[unit] if interval],
)
def test_validation_changes_nothing(run: Callable, unit: str, val_interval: int) -> None:
    """Weights, masks, statistics and events are those of a training without validation."""
    for t in VALIDATED[unit][1]:
        ours, theirs = (_saved(run(unit, interval), unit, t) for interval in (val_interval, None))
        assert ours['meta'][KEY]['events'] == theirs['meta'][KEY]['events']
        for weights in ('state_dict', 'ema_state_dict'):
            assert ours[weights].keys() == theirs[weights].keys()
            for name, tensor in theirs[weights].items():
                assert torch.equal(ours[weights][name], tensor), (t, weights, name)


@pytest.mark.parametrize('calibration_batches', [0, 2])
def test_random_augmentation_of_calibration_batches(
    config: Callable, tmp_path: Path, calibration_batches: int
) -> None:
    """A validation that draws random numbers changes training's, and not recalibration's.

    Without a learning rate the statistics are all that augmentation can change.
    """
    statistics = []
    for val_interval in (1, None):
        work_dir = tmp_path / str(val_interval) / 'run'
        prune = dict(interval=2, step=0.9, calibration_batches=calibration_batches)
        changes = dict(search=None, reactivate=None, prune=prune, param_scheduler=[])
        noisy = config(work_dir, 'epoch', val_interval, **changes)
        noisy.train_cfg.max_epochs = 2
        noisy.optim_wrapper.optimizer.lr = 0
        for loader in (noisy.train_dataloader, noisy.val_dataloader):
            loader.dataset.pipeline.insert(2, dict(type='PhotoMetricDistortion'))
        Runner.from_cfg(noisy).train()
        state = _saved(work_dir, 'epoch', 2)['state_dict']
        statistics.append([tensor for name, tensor in state.items() if 'running' in name])
    same = all(map(torch.equal, *statistics))
    assert same == (calibration_batches > 0)

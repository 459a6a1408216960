"""The best checkpoint beside a schedule that has not ended, and runs that cannot be pruned."""

from pathlib import Path

import pytest
import torch
from mmengine.evaluator import BaseMetric
from mmengine.registry import METRICS

from st_mm import private

HOOK = dict(type='PruneHook', schedule=dict(type='OneShot', ratio=0.5, at=2), calibration_batches=1)


@METRICS.register_module()
class Falling(BaseMetric):
    """A score that falls from one validation to the next."""

    score = 100

    def process(self, data_batch: object, data_samples: object) -> None:
        self.results.append(0)

    def compute_metrics(self, results: list) -> dict[str, int]:
        Falling.score -= 1
        return dict(score=Falling.score)


@pytest.mark.parametrize('at_target', [False, True])
def test_the_best_checkpoint_is_at_the_target_if_asked_for(
    noise_runner, validate, tmp_path: Path, at_target: bool
) -> None:
    checkpoint = dict(type='CheckpointHook', save_best='score', rule='greater')
    validate['val_evaluator'] = dict(type='Falling')
    hooks = [{**HOOK, 'best_at_target': at_target}]
    noise_runner(hooks, 3, **validate, default_hooks=dict(checkpoint=checkpoint)).train()
    [best] = tmp_path.glob('run/best_score_*.pth')
    assert best.name == ('best_score_epoch_2.pth' if at_target else 'best_score_epoch_1.pth')
    masks = torch.load(best, weights_only=True)['meta']['ticket']['masks']
    assert bool(masks) == at_target
    [log] = tmp_path.glob('run/*/*.log')
    assert ('the best may be denser than the target' in log.read_text()) != at_target


class FSDPStrategy:
    """Named as that of mmengine, which needs several devices to be built."""


def test_sharded_parameters_are_refused(noise_runner) -> None:
    runner = noise_runner([HOOK])
    assert private.shards(runner) is None
    runner.strategy = FSDPStrategy()
    with pytest.raises(ValueError, match='PruneHook does not work with FSDPStrategy'):
        runner.train()

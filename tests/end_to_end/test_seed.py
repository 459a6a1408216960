"""A seed reaches whatever is random in a training: initialization, data order, calibration."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from mmengine import Config
from mmengine.hooks import Hook
from mmengine.runner import Runner

from st_mm.calibration import calibration_batches
from st_mm.hooks import recalibrate_hook

Trace = dict[str, Any]


class Watch(Hook):
    """Notes the weights before the first step, and the pictures of every step."""

    def __init__(self) -> None:
        self.weights: list[torch.Tensor] = []
        self.pictures: list[str] = []

    def before_train(self, runner: Runner) -> None:
        self.weights = [parameter.detach().clone() for parameter in runner.model.parameters()]

    def before_train_iter(self, runner: Runner, batch_idx: int, data_batch: dict) -> None:
        self.pictures += names(data_batch)


def names(batch: dict) -> list[str]:
    return [Path(sample.img_path).name for sample in batch['data_samples']]


@pytest.mark.slow
def test_a_seed_decides_what_is_random(
    tiny_config: Callable[..., Config], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    calibrated: list[str] = []

    def noting(*arguments: Any) -> Any:
        for batch in calibration_batches(*arguments):
            calibrated.extend(names(batch))
            yield batch

    monkeypatch.setattr(recalibrate_hook, 'calibration_batches', noting)

    def train(name: str, seed: int) -> Trace:
        calibrated.clear()
        config = tiny_config(
            tmp_path / name,
            search=None,
            prune=dict(step=0.9),
            reactivate=None,
            **{'train_cfg.max_epochs': 2, 'randomness.seed': seed},
        )
        runner = Runner.from_cfg(config)
        watch = Watch()
        runner.register_hook(watch)
        runner.train()
        return dict(weights=watch.weights, order=watch.pictures, calibration=[*calibrated])

    first, again, other = train('first', 3), train('again', 3), train('other', 4)
    assert len(first['order']) == 2 * 8
    assert first['calibration']
    for what in ('order', 'calibration'):
        assert first[what] == again[what], what
        assert first[what] != other[what], what
        assert set(first[what]) <= set(other['order'])  # other pictures first, not other pictures
    drawn = [
        (one, other)
        for one, other in zip(first['weights'], other['weights'], strict=True)
        if one.unique().numel() > 1  # scales and biases begin at one number
    ]
    assert drawn
    assert not any(torch.equal(one, other) for one, other in drawn)
    assert all(map(torch.equal, first['weights'], again['weights']))

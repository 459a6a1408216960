"""RecalibrateHook: new BN statistics, once after the events of a moment."""

from collections.abc import Mapping
from typing import Any

import torch
from mmengine.hooks import Hook
from mmengine.registry import HOOKS
from mmengine.runner import Runner

from st_mm.calibration import calibration_batches, no_trace, recalibrate, training_forward
from st_mm.calibration.random_state import frozen_random_state
from st_mm.calibration.rehearsal import rehearsal
from st_mm.trainable import adapting_norms

from .run_state import RunState, averaged_models, bare_model, seed_at

ADVICE = (
    "they need a forward pass by model(inputs, ..., mode='loss'), as mm's own train_step does; let "
    'the model take it, or set calibration_batches=0'
)


@HOOKS.register_module()
class RecalibrateHook(Hook):
    """Recalibrate BN statistics after search and pruning events (paper Algorithm 1).

    The other hooks of st_mm register it; it comes after the EMA update and before saving. The
    batches are a function of the seed and the iteration, so a resumed run sees the same ones.
    """

    priority = 55  # after EMAHook (50), before CheckpointHook (90)

    @staticmethod
    def rehearse(runner: Runner) -> None:
        """Recalibrate over one batch, and leave no trace of it.

        Raises:
            ValueError: If the model does not allow it.
        """
        model = bare_model(runner)
        drawn = calibration_batches(model, runner.train_dataloader, 1, seed_at(runner, runner.iter))
        with no_trace([model]), rehearsal('new BN statistics', model, ADVICE):
            model.train()
            recalibrate([model], drawn, training_forward)

    def before_train(self, runner: Runner) -> None:
        """Recalibrate after a prune that comes before the first step."""
        self._recalibrate(runner, runner.iter)

    def after_train_iter(
        self,
        runner: Runner,
        batch_idx: int,
        data_batch: Any = None,
        outputs: Mapping[str, torch.Tensor] | None = None,
    ) -> None:
        """Recalibrate after the events of an iteration."""
        self._recalibrate(runner, runner.iter + 1)

    def after_train_epoch(self, runner: Runner) -> None:
        """Recalibrate after the events of an epoch."""
        self._recalibrate(runner, runner.iter)

    def _recalibrate(self, runner: Runner, iteration: int) -> None:
        state = RunState.of(runner)
        batches, state.calibration_batches = state.calibration_batches, 0
        if not batches:
            return
        live = bare_model(runner)
        emas = averaged_models(runner)
        shared = [ema for ema in emas if not ema.update_buffers]
        # such an EMA is evaluated with the live model's statistics, so they must be the EMA's
        models = [ema.module for ema in emas] if shared else [live, *(ema.module for ema in emas)]
        with frozen_random_state():
            seed = seed_at(runner, iteration)
            loader = runner.train_dataloader
            drawn = calibration_batches(live, loader, batches, seed)
            recalibrate(models, drawn, training_forward, adapting_norms(live))
        for ema in shared:
            for ours, theirs in zip(live.buffers(), ema.module.buffers(), strict=True):
                ours.data.copy_(theirs.data)

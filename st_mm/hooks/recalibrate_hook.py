"""RecalibrateHook: BN statistics anew, once after the events of a moment."""

import random
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
from mmengine.dist import get_dist_info
from mmengine.hooks import Hook
from mmengine.model import BaseModel
from mmengine.registry import HOOKS
from mmengine.runner import Runner
from torch import nn
from torch.utils.data import DataLoader

from st_mm.search import recalibrate

from .run_state import RunState, averaged_models, bare_model


@HOOKS.register_module()
class RecalibrateHook(Hook):
    """Recalibrate BN statistics after search and pruning events (paper Algorithm 1).

    The other hooks of st_mm register it; it comes after the EMA update and before saving. The
    batches are a function of the seed and the iteration, so that a resumed run sees the same.
    """

    priority = 55  # behind EMAHook (50), before CheckpointHook (90)

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
        # such an EMA is evaluated with the live model's statistics, so these have to be its own
        models = [ema.module for ema in emas] if shared else [live, *(ema.module for ema in emas)]
        with frozen_random_state():
            seed = (runner.seed or 0) * 1_000_003 + iteration
            loader = runner.train_dataloader
            recalibrate(models, calibration_batches(live, loader, batches, seed), forward_loss)
        for ema in shared:
            for ours, theirs in zip(live.buffers(), ema.module.buffers(), strict=True):
                ours.data.copy_(theirs.data)


def calibration_batches(
    model: BaseModel, loader: DataLoader, number: int, seed: int
) -> Iterator[dict]:
    """Draw preprocessed training batches without touching the loader's own order.

    Args:
        model (BaseModel): The mm model whose ``data_preprocessor`` is used.
        loader (DataLoader): The training loader; its dataset, batch size and collate function
            are used.
        number (int): Number of batches on each rank.
        seed (int): Seed of the draw and of the augmentation.

    Yields:
        dict: What the model takes.
    """
    rank, world_size = get_dist_info()
    dataset: Any = loader.dataset
    batch_size = loader.batch_size or loader.batch_sampler.batch_size  # type: ignore[union-attr]
    order = np.random.default_rng(seed).permutation(len(dataset))
    seed_everything(seed + rank)
    for batch in range(number):
        first = (batch * world_size + rank) * batch_size
        indices = order.take(range(first, first + batch_size), mode='wrap')
        samples = loader.collate_fn([dataset[int(index)] for index in indices])
        yield model.data_preprocessor(samples, training=True)


def forward_loss(model: nn.Module, batch: Any) -> None:
    """Run a model the way training does, so that every BN layer sees the batch."""
    if isinstance(batch, dict):
        model(**batch, mode='loss')
    else:
        model(*batch, mode='loss')


def seed_everything(seed: int) -> None:
    """Seed every generator that datasets and augmentations draw from."""
    random.seed(seed)
    np.random.seed(seed % 2**32)
    torch.manual_seed(seed)


@contextmanager
def frozen_random_state() -> Iterator[None]:
    """Give every random generator its state back afterwards."""
    python, numpy_, cpu = random.getstate(), np.random.get_state(), torch.get_rng_state()
    cuda = torch.cuda.get_rng_state_all() if torch.cuda.is_available() else []
    try:
        yield
    finally:
        random.setstate(python)
        np.random.set_state(numpy_)
        torch.set_rng_state(cpu)
        if cuda:
            torch.cuda.set_rng_state_all(cuda)

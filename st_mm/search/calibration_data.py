"""The batches that BN is recalibrated over: training data that leaves the training alone."""

import random
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
from mmengine.dist import get_dist_info
from mmengine.model import BaseModel
from torch import nn
from torch.utils.data import DataLoader


def calibration_batches(
    model: BaseModel, loader: DataLoader[Any], number: int, seed: int
) -> Iterator[Any]:
    """Draw preprocessed training batches without touching the loader's own order.

    Args:
        model (BaseModel): The mm model whose ``data_preprocessor`` is used.
        loader (DataLoader): The training loader; its dataset, batch size and collate function
            are used.
        number (int): Number of batches on each rank.
        seed (int): Seed of the draw and of the augmentation.

    Yields:
        dict: What the model takes as ``**kwargs``; a tuple for ``*args``.
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

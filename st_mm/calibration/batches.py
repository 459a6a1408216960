"""Training batches for recalibration and scores, drawn without a change to the training."""

from collections.abc import Iterator
from typing import Any

import numpy as np
from mmengine.dist import get_dist_info
from mmengine.model import BaseModel
from torch import Tensor
from torch.utils.data import DataLoader

from st_mm.calibration.random_state import seed_everything


def calibration_batches(
    model: BaseModel, loader: DataLoader[Any], number: int, seed: int
) -> Iterator[Any]:
    """Draw preprocessed training batches; the loader's own order stays as it is.

    Of N ranks, rank r takes every N-th sample from the r-th on, as mmengine's ``DefaultSampler``
    does. So N ranks together see the batches that one rank sees with N times the batch size.

    Args:
        model (BaseModel): The mm model whose ``data_preprocessor`` is used.
        loader (DataLoader): The training loader; its dataset, batch size and collate function
            are used.
        number (int): Number of batches on each rank.
        seed (int): Seed of the draw and of the augmentation.

    Yields:
        dict: The model's ``**kwargs``; a tuple if they are its ``*args``.
    """
    rank, world_size = get_dist_info()
    dataset: Any = loader.dataset
    batch_size = loader.batch_size or loader.batch_sampler.batch_size  # type: ignore[union-attr]
    order = np.random.default_rng(seed).permutation(len(dataset))
    seed_everything(seed + rank)
    total = world_size * batch_size
    for first in range(0, number * total, total):
        indices = order.take(range(first + rank, first + total, world_size), mode='wrap')
        samples = loader.collate_fn([dataset[int(index)] for index in indices])
        yield model.data_preprocessor(samples, training=True)


def training_forward(model: Any, batch: Any) -> Any:
    """Run an mm model on a preprocessed batch, as training does."""
    return model(**batch, mode='loss') if isinstance(batch, dict) else model(*batch, mode='loss')


def training_loss(model: Any, batch: Any) -> Tensor:
    """The loss of an mm model on a preprocessed batch, as training has it: all its parts summed."""
    loss: Tensor = model.parse_losses(training_forward(model, batch))[0]
    return loss

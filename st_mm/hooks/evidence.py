"""Evidence for scores in a run: training batches, drawn without a change to the training."""

from collections.abc import Callable, Iterator, Sequence
from functools import cache, partial
from typing import Any

from mmengine.runner import Runner

from st_mm.calibration import calibration_batches, training_loss
from st_mm.calibration.random_state import frozen_random_state
from st_mm.prune import Evidence

from .run_state import Moment, bare_model, seed_at


def evidence_at(runner: Runner, moment: Moment, batches: int) -> Evidence:
    """Build the evidence at a moment of training; it is the same for a resumed run.

    Args:
        runner (Runner): The run.
        moment (Moment): When.
        batches (int): Number of training batches on each rank.
    """
    model = bare_model(runner)
    seed = seed_at(runner, moment.iteration)
    draw = partial(calibration_batches, model, runner.train_dataloader, batches, seed)
    shape = cache(partial(picture_shape, draw))  # needed in every round of a score
    return Evidence(model, draw, training_loss, shape, seed)


def picture_shape(draw: Callable[[], Iterator[Any]]) -> Sequence[int]:
    """Return (channels, height, width) of the pictures in a batch."""
    with frozen_random_state():
        batch = next(draw())
    inputs = batch['inputs'] if isinstance(batch, dict) else batch[0]
    shape: Sequence[int] = inputs.shape[1:]
    return shape

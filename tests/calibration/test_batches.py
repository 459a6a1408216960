"""Batches for recalibration and scores: drawn anew, alike for a seed, dealt to ranks in turn."""

import random

import numpy as np
import pytest
import torch
from mmengine.model import BaseDataPreprocessor, BaseModel
from torch.utils.data import DataLoader, Dataset

from st_mm.calibration import batches as module
from st_mm.calibration import (
    calibration_batches,
    frozen_random_state,
    seed_everything,
    training_loss,
)


class Numbers(Dataset):
    """The samples 0 ... n - 1, each with noise from an augmentation."""

    def __init__(self, length: int) -> None:
        self.length = length

    def __len__(self) -> int:
        return self.length

    def __getitem__(self, index: int) -> dict:
        noise = torch.rand(()) + random.random() + np.random.rand()
        return dict(inputs=torch.tensor([float(index)]), noise=noise)


class Model(BaseModel):
    def __init__(self) -> None:
        super().__init__(BaseDataPreprocessor())
        self.weight = torch.nn.Parameter(torch.ones(()))

    def forward(self, inputs, noise, mode='tensor'):
        if mode == 'loss':
            return dict(
                loss_a=inputs.sum() * self.weight,
                loss_b=[self.weight, self.weight],
                acc=self.weight * 9,
            )
        return inputs


def draw(number: int, seed: int = 0, length: int = 10, batch_size: int = 2) -> list[list[int]]:
    loader = DataLoader(Numbers(length), batch_size=batch_size, shuffle=True)
    drawn = calibration_batches(Model(), loader, number, seed)
    return [batch['inputs'].flatten().int().tolist() for batch in drawn]


def test_a_seed_decides() -> None:
    assert draw(3) == draw(3)
    assert draw(3) != draw(3, seed=1)
    assert len({sample for batch in draw(5) for sample in batch}) == 10


def test_augmentations_are_drawn_from_the_seed() -> None:
    loader = DataLoader(Numbers(10), batch_size=2)
    first, second = (
        [batch['noise'] for batch in calibration_batches(Model(), loader, 2, 5)] for _ in range(2)
    )
    assert torch.equal(torch.stack(first), torch.stack(second))


def test_more_than_the_data_set_starts_over() -> None:
    drawn = draw(4, length=3)
    assert [len(batch) for batch in drawn] == [2] * 4
    assert drawn[0] == [drawn[1][1], drawn[2][0]]


@pytest.mark.parametrize('ranks', [2, 4])
def test_ranks_share_what_one_would_see(monkeypatch, ranks: int) -> None:
    whole = draw(2, batch_size=2 * ranks, length=16)
    parts = []
    for rank in range(ranks):
        monkeypatch.setattr(module, 'get_dist_info', lambda rank=rank: (rank, ranks))
        parts.append(draw(2, length=16))
    for number, batch in enumerate(whole):
        assert batch == [parts[i % ranks][number][i // ranks] for i in range(2 * ranks)]


def test_the_loss_is_that_of_training() -> None:
    batch = dict(inputs=torch.tensor([2.0, 3.0]), noise=torch.zeros(2))
    assert training_loss(Model(), batch) == 5 + 2
    assert training_loss(Model(), tuple(batch.values())) == 5 + 2


def test_generators_get_their_state_back() -> None:
    seed_everything(3)
    before = random.random(), np.random.rand(), torch.rand(()).item()
    seed_everything(3)
    with frozen_random_state():
        assert (random.random(), np.random.rand(), torch.rand(()).item()) == before
    assert (random.random(), np.random.rand(), torch.rand(()).item()) == before


def test_a_failure_gives_them_back_as_well() -> None:
    state = torch.get_rng_state()
    with pytest.raises(RuntimeError), frozen_random_state():
        fail()
    assert torch.equal(torch.get_rng_state(), state)


def fail() -> None:
    torch.rand(3)
    raise RuntimeError

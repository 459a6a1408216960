"""The forward that training runs: its outputs, without what it drops."""

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from st_mm.calibration import recalibrate


class DropPath(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return torch.zeros_like(x) if self.training else x


class TwoOutputs(nn.Module):
    """Gives one more output in training, and drops in every way there is."""

    def __init__(self) -> None:
        super().__init__()
        self.norm, self.frozen = nn.BatchNorm2d(4), nn.BatchNorm2d(4)
        self.drop, self.path = nn.Dropout(0.9), DropPath()
        self.attention = nn.MultiheadAttention(4, 1, dropout=0.9)

    def train(self, mode: bool = True) -> 'TwoOutputs':
        super().train(mode)
        self.frozen.eval()
        return self

    def forward(self, x: Tensor) -> tuple[Tensor, ...] | Tensor:
        y = self.frozen(self.norm(x))
        z = self.path(self.drop(F.dropout(y, 0.9, self.training)))
        flat = z.flatten(2).permute(2, 0, 1)
        flat = self.attention(flat, flat, flat)[0]
        flat = F.scaled_dot_product_attention(flat, flat, flat, dropout_p=0.9 * self.training)
        return (flat, y) if self.training else flat


def test_outputs_of_training_without_dropout() -> None:
    model, x = TwoOutputs(), torch.rand(2, 4, 3, 3)
    seen = []

    def forward(live: nn.Module, batch: Tensor) -> None:
        output, _ = live(batch)  # of which there are two in training alone
        seen.append(output)

    assert recalibrate([model], [x, x], forward) == 2
    assert torch.equal(*seen)
    assert seen[0].any()
    assert model.frozen.running_mean.tolist() == [0] * 4
    torch.testing.assert_close(model.norm.running_mean, x.mean((0, 2, 3)))


@pytest.mark.parametrize('size', [1, 2])
def test_frozen_norms_want_no_pass(size) -> None:
    """Not even one of a batch that a norm could not take in train mode."""
    model = TwoOutputs()
    model.norm = nn.Identity()
    assert recalibrate([model], [torch.rand(size, 4, 1, 1)], lambda m, batch: m(batch)) == 0
    assert model.frozen.running_mean.tolist() == [0] * 4

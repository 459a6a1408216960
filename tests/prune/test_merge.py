"""Zeros after parallel branches have become one convolution."""

import pytest
import torch
from mmpretrain.registry import MODELS
from torch import nn

from st_mm.prune import Masks, choose, magnitude, prunable_weights
from st_mm.prune.merge import merged, merged_density

NETWORKS = dict(
    repvgg=dict(
        type='mmpretrain.RepVGG',
        arch=dict(
            num_blocks=[1, 1, 1, 1], width_factor=[0.125] * 4, group_layer_map=None, se_cfg=None
        ),
    ),
    mobileone=dict(type='mmpretrain.MobileOne', arch='s0'),
)


@pytest.mark.parametrize('name', NETWORKS)
def test_density_after_the_merge(name) -> None:
    model = MODELS.build(NETWORKS[name])
    model.eval()
    weights = prunable_weights(model)
    masks = Masks(weights)
    masks.update(choose(magnitude(weights), 0.9))
    twin = merged(model)
    assert twin is not None
    assert prunable_weights(model).keys() == weights.keys()  # the model itself is left alone
    x = torch.randn(1, 3, 64, 64)
    expected = model(x)[0]
    assert (twin(x)[0] - expected).abs().max() <= 1e-5 * expected.abs().max()
    convs = [m for m in twin.modules() if isinstance(m, nn.Conv2d)]
    nonzero = sum(int((m.weight != 0).sum()) for m in convs)
    assert merged_density(model) == nonzero / sum(m.weight.numel() for m in convs)
    assert merged_density(model) > masks.density()


def test_nothing_to_merge() -> None:
    assert merged_density(nn.Sequential(nn.Conv2d(2, 2, 1))) is None

"""Small networks of every kind, with statistics and zeros as a trained ticket has them."""

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from mmengine import Config
from mmengine.registry import MODELS, init_default_scope
from torch import nn

ROOT = Path(__file__).parents[2]
SLIM = dict(
    stem_channels=(4, 8),
    stage_channels=((8,), (6, 12), (6, 12)),
    stage_blocks=((1,), (1, 1), (1, 1)),
)
TOY = {
    'seg': 'hr-supernet-slim_8b-30e_toy-streets-128x256.py',
    'cls': 'hr-supernet-slim_32b-36e_toy-shapes-48x48.py',
    'pose': 'hr-supernet-slim_16b-18e_toy-people-96x64.py',
}
CHANGES = {
    'seg': dict(
        neck=dict(in_channels=(6, 12), out_channels=12),
        decode_head=dict(in_channels=12, channels=12),
    ),
    'cls': dict(
        neck=dict(in_channels=(6, 12), head_channels=(12, 16), out_channels=24),
        head=dict(in_channels=24),
    ),
    'pose': dict(neck=dict(in_channels=(6, 12), out_channels=12), head=dict(in_channels=12)),
}
STOCK = {
    'mobilenet_v2': 'supertickets-p90_mobilenet-v2_8xb32_in1k.py',
    'efficientnet': 'supertickets-p90_efficientnet-b0_8xb32_in1k.py',
    'resnet': 'supertickets-p90_pspnet_r18-d8_4xb2-80k_cityscapes-512x1024.py',
    'fast_scnn': 'supertickets-p90_fast_scnn_8xb4-160k_cityscapes-512x1024.py',
}
MOBILENET_V3 = dict(
    type='ImageClassifier',
    backbone=dict(type='MobileNetV3', arch='small'),
    neck=dict(type='GlobalAveragePooling'),
    head=dict(
        type='StackedLinearClsHead',
        num_classes=10,
        in_channels=576,
        mid_channels=[64],
        act_cfg=dict(type='HSwish'),
    ),
)
OURS = ('seg', 'cls', 'pose', 'tokens')


def from_config(path: Path, changes: dict) -> nn.Module:
    config = Config.fromfile(path)
    config.merge_from_dict(dict(model=changes))
    init_default_scope(config.default_scope)
    return MODELS.build(config.model)


@torch.no_grad()
def like_trained(model: nn.Module, density: float = 1.0, seed: int = 0) -> nn.Module:
    """Draw statistics as training leaves them, and zero all but a share of each weight."""
    generator = torch.Generator().manual_seed(seed)

    def uniform(tensor: torch.Tensor, low: float, high: float) -> None:
        tensor.copy_(torch.rand(tensor.shape, generator=generator) * (high - low) + low)

    for module in model.modules():
        if isinstance(module, nn.modules.batchnorm._BatchNorm):
            uniform(module.weight, 0.5, 1.5)
            uniform(module.bias, -0.5, 0.5)
            uniform(module.running_mean, -0.3, 0.3)
            uniform(module.running_var, 0.5, 2)
        elif isinstance(module, (nn.Conv2d, nn.Linear, nn.ConvTranspose2d)):
            bound = (3 / max(module.weight[0].numel() * density, 1)) ** 0.5
            uniform(module.weight, -bound, bound)
            keep = torch.rand(module.weight.shape, generator=generator) < density
            module.weight.mul_(keep)
    return model.eval()


@pytest.fixture(scope='session')
def build() -> Callable[..., nn.Module]:
    """``build(name, density, seed)``: a small network, the same every time."""

    def build(name: str, density: float = 1.0, seed: int = 0) -> nn.Module:
        torch.manual_seed(seed)
        if name == 'mobilenet_v3':
            init_default_scope('mmpretrain')
            model = MODELS.build(MOBILENET_V3)
        elif name in STOCK:
            model = from_config(ROOT / 'configs' / 'drop_in' / STOCK[name], {})
        else:
            task = 'seg' if name == 'tokens' else name
            backbone = dict(SLIM, tokens=6 if name == 'tokens' else 0)
            model = from_config(
                ROOT / 'configs' / 'toy' / TOY[task], dict(CHANGES[task], backbone=backbone)
            )
        return like_trained(model, density, seed)

    return build

"""Stock backbones of the three libraries with the hooks: each family once.

They have one linear layer on the pooled outputs. Two run always, all of them by ``make networks``.
"""

from typing import Any

import pytest
import torch
from mmengine.model import BaseModel
from mmengine.registry import MODELS, DefaultScope
from ticket_of_stock import Stock, cases, go_through, hooks_for
from torch import Tensor, nn

from st_mm.units import find_owners

SMALL: dict[str, Any] = dict(base_channels=8, stem_channels=8)
SWIN = dict(embed_dims=12, depths=[1, 1, 1, 1], num_heads=[1, 1, 2, 2])
NETWORKS: dict[str, dict[str, Any]] = {
    'mmpretrain.ResNet': dict(depth=50, **SMALL),
    'mmpretrain.MobileNetV2': dict(widen_factor=0.25),
    'mmpretrain.VisionTransformer': dict(arch='deit-tiny', img_size=32, patch_size=16),
    'mmseg.MixVisionTransformer': dict(embed_dims=8, num_stages=4, num_heads=[1, 1, 2, 2]),
    'mmpretrain.MobileOne': dict(arch='s0'),
    'mmpretrain.RepVGG': dict(arch='A0'),
    'mmpretrain.ResNeSt': dict(depth=50, **SMALL),
    'mmpretrain.SwinTransformer': dict(arch=SWIN, img_size=32, window_size=1),
    'mmseg.PIDNet': dict(channels=8, ppm_channels=8, num_stem_blocks=1, num_branch_blocks=1),
    'mmpose.CSPNeXt': dict(arch='P5', deepen_factor=0.167, widen_factor=0.125),
    'mmpose.HRNet': dict(
        extra={
            f'stage{i}': dict(
                num_modules=1,
                num_branches=max(i, 1),
                block='BOTTLENECK' if i == 1 else 'BASIC',
                num_blocks=(1,) * i,
                num_channels=tuple(8 * 2**j for j in range(i)),
            )
            for i in (1, 2, 3, 4)
        }
    ),
    'mmpretrain.LeNet5': {},
    'mmpretrain.AlexNet': {},
    'mmpretrain.VGG': dict(depth=11, norm_cfg=dict(type='BN')),
    'mmpretrain.MobileNetV3': dict(arch='small'),
    'mmpretrain.EfficientNet': dict(arch='b0'),
    'mmpretrain.EfficientNetV2': dict(arch='b0'),
    'mmpretrain.ShuffleNetV1': {},
    'mmpretrain.ShuffleNetV2': {},
    'mmpretrain.DenseNet': dict(arch='121'),
    'mmpretrain.RegNet': dict(arch='regnetx_400mf'),
    'mmpretrain.ResNeXt': dict(depth=50, groups=4, width_per_group=2, **SMALL),
    'mmpretrain.SEResNet': dict(depth=50, **SMALL),
    'mmpretrain.Res2Net': dict(depth=50, base_width=4, **SMALL),
    'mmpretrain.ConvNeXt': dict(arch='atto'),
    'mmpretrain.PoolFormer': dict(arch='s12'),
    'mmpretrain.MobileViT': dict(arch='xx_small'),
    'mmseg.BiSeNetV2': {},
    'mmseg.FastSCNN': {},
    'mmseg.STDCNet': dict(
        stdc_type='STDCNet1',
        in_channels=3,
        channels=(8, 16, 64, 128, 256),
        bottleneck_type='cat',
        norm_cfg=dict(type='BN'),
        act_cfg=dict(type='ReLU'),
    ),
}
ALWAYS = {('mmpretrain.ResNet', 'both'), ('mmseg.MixVisionTransformer', 'prune')}
CHANNELS = {'mmpretrain.LeNet5': 1}
SIZES = {
    'mmpretrain.AlexNet': 224,
    'mmpretrain.LeNet5': 32,
    'mmpretrain.VisionTransformer': 32,
}


class Classifier(BaseModel):
    """A backbone and a linear layer on the pooled outputs."""

    def __init__(self, name: str) -> None:
        super().__init__()
        library, kind = name.split('.')
        with DefaultScope.overwrite_default_scope(library):
            self.backbone = MODELS.build(dict(type=kind, **NETWORKS[name]))
        self.backbone.eval()
        with torch.no_grad():
            pooled = self._pool(self.backbone(torch.ones(2, *shape_for(name))))
        self.backbone.train()
        self.fc = nn.Linear(pooled.shape[1], 2)

    def _pool(self, outputs: Any) -> Tensor:
        """The last output, or the one of the same channels in training, where PIDNet has more."""
        while isinstance(outputs, (tuple, list)):
            fitting = [x for x in outputs if not hasattr(self, 'fc') or self._fits(x)]
            outputs = fitting[-1]
        return outputs.flatten(2).mean(2) if outputs.dim() > 2 else outputs

    def _fits(self, x: Any) -> bool:
        return isinstance(x, (tuple, list)) or x.shape[1] == self.fc.in_features

    def forward(self, inputs, data_samples=None, mode='tensor'):
        scores = self.fc(self._pool(self.backbone(inputs)))
        return dict(loss=1e-3 * scores.square().mean()) if mode == 'loss' else scores


def shape_for(name: str) -> tuple[int, int, int]:
    size = SIZES.get(name, 64)
    return CHANNELS.get(name, 3), size, size


def stock(name: str) -> Stock:
    generator = torch.Generator().manual_seed(0)
    pictures = [torch.randn(shape_for(name), generator=generator) for _ in range(4)]
    return Stock(lambda: Classifier(name), pictures, lambda batch: (torch.stack(batch),))


@pytest.mark.slow
@pytest.mark.parametrize(('name', 'what'), cases(NETWORKS, ALWAYS))
def test_a_backbone(name, what, tmp_path) -> None:
    if what != 'prune' and not find_owners(Classifier(name)):
        pytest.skip('no search units')
    go_through(stock(name), hooks_for(what, shape_for(name)), tmp_path)

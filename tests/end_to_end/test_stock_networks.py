"""Stock networks of the three libraries with the hooks: two events, save, resume, load, densities.

Each family of backbones once, with one linear layer on the pooled outputs. A few run always, all of
them with ``ST_MM_ALL_NETWORKS=1 pytest tests/end_to_end/test_stock_networks.py``.
"""

import os
from typing import Any

import pytest
import torch
from mmengine.model import BaseModel
from mmengine.registry import MODELS, DefaultScope
from mmengine.runner import Runner
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode
from torch.utils.data import DataLoader

from st_mm.analysis.report import population
from st_mm.hooks.run_state import RunState
from st_mm.ticket import Ticket, load_checkpoint
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
    'mmpretrain.EfficientNetV2': dict(arch='s'),
    'mmpretrain.ShuffleNetV1': {},
    'mmpretrain.ShuffleNetV2': {},
    'mmpretrain.DenseNet': dict(arch='121'),
    'mmpretrain.RegNet': dict(arch='regnetx_400mf'),
    'mmpretrain.ResNeXt': dict(depth=50),
    'mmpretrain.SEResNet': dict(depth=50, **SMALL),
    'mmpretrain.Res2Net': dict(depth=50),
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
ALWAYS = ('mmpretrain.ResNet', 'mmseg.MixVisionTransformer')
CHANNELS = {'mmpretrain.LeNet5': 1}
SIZES = {'mmpretrain.AlexNet': 224, 'mmpretrain.LeNet5': 32}


class Stock(BaseModel):
    """A backbone and a linear layer on the pooled outputs."""

    def __init__(self, name: str) -> None:
        super().__init__()
        library, kind = name.split('.')
        with DefaultScope.overwrite_default_scope(library):
            self.backbone = MODELS.build(dict(type=kind, **NETWORKS[name]))
        self.channels = CHANNELS.get(name, 3)
        self.backbone.eval()
        with torch.no_grad():
            pooled = self._pool(self.backbone(torch.ones(2, self.channels, *self._size(name))))
        self.backbone.train()
        self.fc = nn.Linear(pooled.shape[1], 2)

    @staticmethod
    def _size(name: str) -> tuple[int, int]:
        return (SIZES.get(name, 64),) * 2 if name != 'mmpretrain.VisionTransformer' else (32, 32)

    def _pool(self, outputs: Any) -> Tensor:
        x = outputs[-1] if isinstance(outputs, (tuple, list)) else outputs
        x = x[-1] if isinstance(x, (tuple, list)) else x
        return x.flatten(2).mean(2) if x.dim() > 2 else x

    def forward(self, inputs, data_samples=None, mode='tensor'):
        scores = self.fc(self._pool(self.backbone(inputs)))
        return dict(loss=1e-3 * scores.square().mean()) if mode == 'loss' else scores


class Kernels(TorchFunctionMode):
    """Counts what is zero in the kernels that run, by the storage of the weight."""

    def __init__(self) -> None:
        super().__init__()
        self.zeros: dict[int, int] = {}

    def __torch_function__(self, func, types, args=(), kwargs=None):
        if getattr(func, '__name__', '').startswith(('conv', 'linear')):
            weight = args[1] if len(args) > 1 else (kwargs or {})['weight']
            self.zeros[weight.data_ptr()] = int((weight == 0).sum())
        return func(*args, **(kwargs or {}))


def run(name: str, hooks: list[dict[str, Any]], work_dir, epochs: int, resume: bool) -> Runner:
    generator = torch.Generator().manual_seed(0)
    size = Stock._size(name)
    channels = CHANNELS.get(name, 3)
    data = [torch.randn(channels, *size, generator=generator) for _ in range(4)]
    torch.manual_seed(0)
    runner = Runner(
        Stock(name),
        str(work_dir),
        train_dataloader=DataLoader(data, batch_size=2, collate_fn=lambda x: (torch.stack(x),)),
        train_cfg=dict(by_epoch=True, max_epochs=epochs),
        optim_wrapper=dict(optimizer=dict(type='SGD', lr=0.01)),
        custom_hooks=hooks,
        resume=resume,
        log_level='ERROR',
        experiment_name=f'{work_dir.name}-{epochs}',
    )
    runner.train()
    return runner


CASES = [
    pytest.param(name, what, marks=[] if name in ALWAYS and what != 'search' else [long])
    for long in [
        pytest.mark.skipif(
            not os.environ.get('ST_MM_ALL_NETWORKS'), reason='long: set ST_MM_ALL_NETWORKS=1'
        )
    ]
    for name in NETWORKS
    for what in ('prune', 'search', 'both')
]


@pytest.mark.slow
@pytest.mark.parametrize(('name', 'what'), CASES)
def test_two_events_save_resume_load_and_density(name, what, tmp_path) -> None:
    size = Stock._size(name)
    schedule = dict(type='Progressive', ratio=0.8, step=0.4, interval=1)
    search = dict(
        type='SearchHook', interval=1, rho=0.1, warmup=0, threshold=0.97, min_macs_drop=0,
        input_shape=(CHANNELS.get(name, 3), *size), calibration_batches=1,
    )  # fmt: skip
    prune = dict(type='PruneHook', schedule=schedule, calibration_batches=1)
    hooks = dict(prune=[prune], search=[search], both=[search, prune])[what]
    if what != 'prune' and not find_owners(Stock(name)):
        pytest.skip('no search units')
    run(name, hooks, tmp_path, 2, resume=False)
    runner = run(name, hooks, tmp_path, 3, resume=True)
    checkpoint = load_checkpoint(tmp_path / 'epoch_3.pth')
    ticket = Ticket.from_meta(checkpoint['meta'])
    assert ticket is not None
    loaded = Stock(name)
    loaded.load_state_dict(checkpoint['state_dict'])
    ticket.check(loaded)
    loaded.eval()
    live = runner.model.eval() or runner.model
    x = torch.randn(2, CHANNELS.get(name, 3), *size)
    with torch.no_grad(), Kernels() as kernels:
        assert torch.allclose(loaded(x), live(x), atol=1e-5)
    if what == 'search':
        return
    reported = RunState.of(runner).masks.density()
    weights = population(loaded, ticket)
    total = sum(weight.numel() for weight in weights.values())
    in_file = sum(int(weight.count_nonzero()) for weight in weights.values()) / total
    assert in_file == pytest.approx(reported, abs=1e-9)
    ran = {
        n: kernels.zeros[w.data_ptr()] for n, w in weights.items() if w.data_ptr() in kernels.zeros
    }
    assert len(ran) > len(weights) / 2
    assert all(zeros == int((weights[name] == 0).sum()) for name, zeros in ran.items())

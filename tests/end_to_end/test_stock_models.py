"""Whole stock models of the three libraries with the hooks: their own heads, losses and samples.

A few run always, all of them by ``make networks``.
"""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from mmengine.config import ConfigDict
from mmengine.dataset import default_collate, pseudo_collate
from mmengine.hooks import Hook
from mmengine.model import BaseModel
from mmengine.registry import MODELS, DefaultScope
from mmengine.runner import Runner
from mmengine.structures import PixelData
from mmpose.testing import get_packed_inputs
from mmpretrain.structures import DataSample
from mmseg.structures import SegDataSample
from ticket_of_stock import Stock, cases, go_through, hooks_for

from st_mm.trainable import unit_parameters

PIXELS = 64
PICTURE = dict(mean=[127.5] * 3, std=[64.0] * 3)
BN = dict(norm_cfg=dict(type='BN'))  # their SyncBN trains on GPUs only
CE = dict(type='CrossEntropyLoss')
OHEM = dict(type='OhemCrossEntropy', thres=0.9, min_kept=100)
HEATMAPS = dict(
    type='MSRAHeatmap', input_size=(PIXELS, PIXELS), heatmap_size=(PIXELS // 4,) * 2, sigma=1
)
SIMCC = dict(
    type='SimCCLabel',
    input_size=(PIXELS, PIXELS),
    sigma=(2, 2),
    simcc_split_ratio=2.0,
    normalize=False,
    use_dark=False,
)
GAU = dict(
    hidden_dims=32,
    s=16,
    expansion_factor=2,
    dropout_rate=0.0,
    drop_path=0.0,
    act_fn='SiLU',
    use_rel_bias=False,
    pos_enc=False,
)
SEGMENTOR = dict(
    type='EncoderDecoder',
    data_preprocessor=dict(type='SegDataPreProcessor', size=(PIXELS, PIXELS), **PICTURE),
    train_cfg={},
    test_cfg=dict(mode='whole'),
)
POSES = dict(
    type='TopdownPoseEstimator', data_preprocessor=dict(type='PoseDataPreprocessor', **PICTURE)
)
CLASSIFIER = dict(
    type='ImageClassifier',
    data_preprocessor=dict(type='ClsDataPreprocessor', num_classes=3, **PICTURE),
)
RESNET = dict(type='ResNet', depth=50, base_channels=8, stem_channels=8)
MODELS_OF_THEIRS: dict[str, dict[str, Any]] = {
    'mmseg.PIDNet': dict(
        **SEGMENTOR,
        backbone=dict(
            type='PIDNet', channels=8, ppm_channels=8, num_stem_blocks=1, num_branch_blocks=1, **BN
        ),
        decode_head=dict(
            type='PIDHead',
            in_channels=32,
            channels=16,
            num_classes=3,
            **BN,
            act_cfg=dict(type='ReLU', inplace=True),
            align_corners=True,
            loss_decode=[dict(CE, loss_weight=0.4), OHEM, dict(type='BoundaryLoss'), OHEM],
        ),
    ),
    'mmseg.SegFormer': dict(
        **SEGMENTOR,
        backbone=dict(
            type='MixVisionTransformer', embed_dims=8, num_stages=4, num_heads=[1, 1, 2, 2]
        ),
        decode_head=dict(
            type='SegformerHead',
            in_channels=[8, 8, 16, 16],
            in_index=[0, 1, 2, 3],
            channels=16,
            num_classes=3,
            **BN,
            loss_decode=CE,
        ),
    ),
    'mmseg.PSPNet': dict(
        **SEGMENTOR,
        backbone=dict(
            type='ResNetV1c',
            depth=50,
            base_channels=8,
            stem_channels=8,
            strides=(1, 2, 1, 1),
            dilations=(1, 1, 2, 4),
            contract_dilation=True,
            **BN,
        ),
        decode_head=dict(
            type='PSPHead', in_channels=256, channels=16, num_classes=3, loss_decode=CE, **BN
        ),
        auxiliary_head=dict(
            type='FCNHead',
            in_channels=128,
            in_index=2,
            channels=16,
            num_convs=1,
            num_classes=3,
            concat_input=False,
            loss_decode=dict(CE, loss_weight=0.4),
            **BN,
        ),
    ),
    'mmpose.RTMPose': dict(
        **POSES,
        backbone=dict(
            type='CSPNeXt', arch='P5', deepen_factor=0.167, widen_factor=0.125, out_indices=(4,)
        ),
        head=dict(
            type='RTMCCHead',
            in_channels=128,
            out_channels=17,
            input_size=(PIXELS, PIXELS),
            in_featuremap_size=(2, 2),
            final_layer_kernel_size=1,
            decoder=SIMCC,
            gau_cfg=GAU,
            loss=dict(type='KLDiscretLoss', use_target_weight=True, label_softmax=True),
        ),
    ),
    'mmpose.HRNet': dict(
        **POSES,
        backbone=dict(
            type='HRNet',
            extra={
                f'stage{i}': dict(
                    num_modules=1,
                    num_branches=i,
                    block='BOTTLENECK' if i == 1 else 'BASIC',
                    num_blocks=(1,) * i,
                    num_channels=tuple(8 * 2**j for j in range(i)),
                )
                for i in (1, 2, 3, 4)
            },
        ),
        head=dict(
            type='HeatmapHead',
            in_channels=8,
            out_channels=17,
            deconv_out_channels=None,
            loss=dict(type='KeypointMSELoss', use_target_weight=True),
            decoder=HEATMAPS,
        ),
        test_cfg=dict(flip_test=True, flip_mode='heatmap', shift_heatmap=True),
    ),
    'mmpretrain.ViT': dict(
        **CLASSIFIER,
        backbone=dict(
            type='VisionTransformer',
            img_size=PIXELS,
            patch_size=16,
            arch=dict(embed_dims=24, num_layers=2, num_heads=2, feedforward_channels=48),
        ),
        head=dict(type='VisionTransformerClsHead', num_classes=3, in_channels=24, loss=CE),
    ),
    'mmpretrain.MoCo': dict(
        type='MoCo',
        data_preprocessor=dict(type='SelfSupDataPreprocessor', **PICTURE),
        queue_len=16,
        feat_dim=8,
        momentum=0.1,
        backbone=RESNET,
        neck=dict(
            type='MoCoV2Neck', in_channels=256, hid_channels=16, out_channels=8, with_avg_pool=True
        ),
        head=dict(type='ContrastiveHead', loss=CE, temperature=0.2),
    ),
}
ALWAYS = {('mmseg.PIDNet', 'prune'), ('mmpose.RTMPose', 'prune')}


def build(name: str) -> BaseModel:
    with DefaultScope.overwrite_default_scope(name.partition('.')[0]):
        model = MODELS.build(ConfigDict(MODELS_OF_THEIRS[name]))
    model.init_weights()
    return model


def street(picture: torch.Tensor) -> dict[str, Any]:
    size = (PIXELS, PIXELS)
    sample = SegDataSample(metainfo=dict(ori_shape=size, img_shape=size, pad_shape=size))
    classes = (picture[:1] > 127).long() + (picture[1:2] > 127).long()
    sample.gt_sem_seg = PixelData(data=classes)
    sample.gt_edge_map = PixelData(data=(picture[2:] > 240).long())
    return dict(inputs=picture, data_samples=sample)


def stock(name: str) -> Stock:
    generator = torch.Generator().manual_seed(0)
    size = (3, PIXELS, PIXELS)
    pictures = [255 * torch.rand(size, generator=generator) for _ in range(8)]
    samples: list[Any]
    predict, collate = None, pseudo_collate
    if name.startswith('mmseg'):
        samples = list(map(street, pictures[:4]))
    elif name.startswith('mmpose'):
        packed = get_packed_inputs(
            4, img_shape=size[1:], input_size=size[1:], heatmap_size=HEATMAPS['heatmap_size']
        )
        pairs = zip(packed['inputs'], packed['data_samples'], strict=True)
        samples = [dict(inputs=picture, data_samples=sample) for picture, sample in pairs]
    elif name == 'mmpretrain.MoCo':
        samples = [
            dict(inputs=[one, other], data_samples=DataSample())
            for one, other in zip(pictures[:4], pictures[4:], strict=True)
        ]
        predict, collate = features, default_collate
    else:
        samples = [
            dict(inputs=picture, data_samples=DataSample().set_gt_label(i % 3))
            for i, picture in enumerate(pictures[:4])
        ]
    return Stock(lambda: build(name), samples, collate, predict)


def features(model: BaseModel, batch: Any) -> Any:
    """What a self-supervised model is for, since it has no tests."""
    views = model.data_preprocessor(batch, False)['inputs']
    return model(views[0], mode='tensor')


@pytest.mark.slow
@pytest.mark.parametrize(('name', 'what'), cases(MODELS_OF_THEIRS, ALWAYS))
def test_a_model(name, what, tmp_path) -> None:
    hooks = hooks_for(what, (3, PIXELS, PIXELS))
    if what != 'prune' and not unit_parameters(build(name)):
        with pytest.raises(ValueError, match=r'has none: use|can be removed'):
            stock(name).train(hooks, tmp_path, 2)
        return
    go_through(stock(name), hooks, tmp_path)


class Around(Hook):
    """Compares what a self-supervised model keeps before and after the events of an epoch."""

    def __init__(self, kept: list[dict], priority: int) -> None:
        self.kept, self.priority = kept, priority

    def after_train_epoch(self, runner: Runner) -> None:
        model = runner.model
        teacher = {f'encoder_k.{n}': t.clone() for n, t in model.encoder_k.state_dict().items()}
        own = dict(queue=model.queue.clone(), queue_ptr=model.queue_ptr.clone())
        self.kept.append({**teacher, **own, 'random': torch.get_rng_state()})


@pytest.mark.slow
@pytest.mark.parametrize('score', ['magnitude', dict(type='snip', batches=2)], ids=str)
def test_passes_beside_training_leave_queue_and_momentum_encoder(score, tmp_path) -> None:
    before: list[dict] = []
    after: list[dict] = []
    hooks = hooks_for('prune', (3, PIXELS, PIXELS), score=score)
    around = [Around(before, 1), Around(after, 99)]  # before PruneHook, after the recalibration
    make: Callable[..., Runner] = stock('mmpretrain.MoCo').train
    runner = make([*hooks, *around], tmp_path, 2)
    assert len(before) == len(after) == 2
    for ours, theirs in zip(after, before, strict=True):
        assert all(torch.equal(tensor, theirs[name]) for name, tensor in ours.items())
    assert int(runner.model.queue_ptr) == 2 * 4 % runner.model.queue_len
    assert all(p.ne(0).any() for p in runner.model.encoder_k.parameters() if p.dim() > 1)

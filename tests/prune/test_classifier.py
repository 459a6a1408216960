"""The classifier is found by what it does: the last layers before the prediction."""

import pytest
import torch
from mmengine.model import BaseModel
from mmengine.registry import MODELS, DefaultScope
from torch import nn
from torch.nn import functional as F

from st_mm.prune import prunable_weights, survey
from st_mm.prune.classifier import by_name

PRE = dict(type='mmpretrain.ClsDataPreprocessor', mean=[127] * 3, std=[60] * 3)


class Named(BaseModel):
    """A model of nobody's library: two predictions, one of them from two layers."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.ReLU())
        self.attention = nn.MultiheadAttention(4, 2, batch_first=True)
        self.words = nn.Linear(4, 4)
        self.pictures = nn.Linear(4, 4)
        self.box = nn.Sequential(nn.Linear(4, 4), nn.ReLU(), nn.Linear(4, 2), nn.LayerNorm(2))
        self.teacher = nn.Linear(4, 4)

    def forward(self, inputs, mode='tensor'):
        x = self.stem(inputs).flatten(2).transpose(1, 2)
        x = (x + self.attention(x, x, x)[0]).mean(1)
        similar = self.pictures(x) @ F.normalize(self.words(x)).t() + self.teacher(x).detach().sum()
        return dict(similar=similar, box=self.box(x).sigmoid())


def test_a_model_of_ones_own() -> None:
    model = Named()
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    found = survey(model)
    assert set(found.classifier) == {'words.weight', 'pictures.weight', 'box.2.weight'}
    assert set(found.prunable) == {
        'stem.0.weight',
        'attention.in_proj_weight',
        'attention.out_proj.weight',
        'box.0.weight',
        'teacher.weight',
    }
    assert all(torch.equal(t, before[n]) for n, t in model.state_dict().items())
    assert not any(m._forward_hooks or 'forward' in vars(m) for m in model.modules())
    assert survey(model.eval()).classifier.keys() == found.classifier.keys()
    assert not any(module.training for module in model.modules())


def build(library: str, cfg: dict) -> nn.Module:
    with DefaultScope.overwrite_default_scope(library):
        return MODELS.build(cfg)


def classifier_of(library: str, cfg: dict) -> set[str]:
    return {name.removesuffix('.weight') for name in survey(build(library, cfg)).classifier}


def test_a_classifier_inside_a_backbone() -> None:
    cfg = dict(
        type='ImageClassifier',
        backbone=dict(type='LeNet5', num_classes=4),
        head=dict(type='ClsHead'),
        data_preprocessor=PRE,
    )
    assert classifier_of('mmpretrain', cfg) == {'backbone.classifier.2'}


BN = dict(type='BN')
RESNET = dict(
    type='ResNetV1c', depth=18, base_channels=4, stem_channels=4, norm_cfg=BN, out_indices=(2, 3)
)
FCN = dict(type='FCNHead', channels=4, num_classes=3, norm_cfg=BN, num_convs=1)


def test_a_segmentor_and_its_auxiliary_heads() -> None:
    cfg = dict(
        type='EncoderDecoder',
        data_preprocessor=dict(type='SegDataPreProcessor'),
        backbone=RESNET,
        decode_head=dict(FCN, in_channels=32, in_index=1),
        auxiliary_head=[dict(FCN, in_channels=16, in_index=0)],
    )
    assert classifier_of('mmseg', cfg) == {'decode_head.conv_seg', 'auxiliary_head.0.conv_seg'}


def test_a_head_whose_layers_have_other_names() -> None:
    cfg = dict(
        type='EncoderDecoder',
        data_preprocessor=dict(type='SegDataPreProcessor'),
        backbone=RESNET,
        decode_head=dict(
            type='SegmenterMaskTransformerHead',
            in_channels=32,
            channels=8,
            num_classes=3,
            num_layers=1,
            num_heads=2,
            embed_dims=8,
            in_index=1,
        ),
    )
    found = classifier_of('mmseg', cfg)
    assert {'decode_head.patch_proj', 'decode_head.classes_proj'} == found


@pytest.mark.parametrize(
    ('names', 'found'),
    [
        (
            ['cls_embed', 'mask_embed.0', 'mask_embed.2', 'mask_embed.4', 'mask_feature'],
            {'decode_head.cls_embed', 'decode_head.mask_embed.4'},
        ),
        (
            [
                *('heatmap_conv_layers.0.conv', 'heatmap_conv_layers.2'),
                *('displacement_conv_layers.0.conv', 'displacement_conv_layers.3'),
            ],
            {'decode_head.heatmap_conv_layers.2', 'decode_head.displacement_conv_layers.3'},
        ),
    ],
)
def test_heads_that_cannot_be_run_have_names(names: list[str], found: set[str]) -> None:
    weights = [f'decode_head.{name}.weight' for name in names]
    assert by_name(weights) == {f'{name}.weight' for name in found}


@pytest.mark.parametrize('kind', ['TemporalRegressionHead', 'TrajectoryRegressionHead'])
def test_a_pose_lifter(kind: str) -> None:
    cfg = dict(
        type='PoseLifter',
        backbone=dict(
            type='TCN', in_channels=34, stem_channels=8, num_blocks=1, kernel_sizes=(1, 1)
        ),
        head=dict(type=kind, in_channels=8, num_joints=17, loss=dict(type='MPJPELoss')),
    )
    assert classifier_of('mmpose', cfg) == {'head.conv'}


def test_a_self_supervised_model_has_none_in_its_backbone() -> None:
    cfg = dict(
        type='SimCLR',
        backbone=dict(type='ResNet', depth=18, base_channels=4, stem_channels=4),
        neck=dict(
            type='NonLinearNeck',
            in_channels=32,
            hid_channels=8,
            out_channels=4,
            num_layers=2,
            with_avg_pool=True,
        ),
        head=dict(type='ContrastiveHead', loss=dict(type='CrossEntropyLoss'), temperature=0.1),
    )
    model = build('mmpretrain', cfg)
    assert not survey(model).classifier
    assert any(name.startswith('neck') for name in prunable_weights(model))


@pytest.mark.parametrize('first', [0, 1])
def test_tied_weights_are_one_weight(first) -> None:
    model = nn.Sequential(*(nn.Linear(4, 4, bias=False) for _ in range(3)))
    model[first + 1].weight = model[first].weight
    weights = prunable_weights(model)
    assert len(weights) == 2
    assert sum(w.numel() for w in weights.values()) == sum(p.numel() for p in model.parameters())
    assert len(prunable_weights(model, [f'{first + 1}.weight'])) == 1  # by any of its names

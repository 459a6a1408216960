"""Prunable weights: convolutions and linear layers, but for every mm head's classifier."""

import pytest
from mmengine.registry import MODELS, DefaultScope
from torch import nn

from st_mm.prune import prunable_weights


def test_prunable_weights() -> None:
    model = nn.ModuleDict(
        dict(
            backbone=nn.Sequential(nn.Conv2d(2, 2, 1), nn.BatchNorm2d(2), nn.Linear(2, 2)),
            fc=nn.Linear(2, 2),
            neck=nn.ModuleDict(dict(fc=nn.Conv1d(2, 2, 1), norm=nn.LayerNorm(2))),
            decode_head=nn.ModuleDict(dict(conv=nn.Conv2d(2, 2, 1), conv_seg=nn.Conv2d(2, 2, 1))),
            auxiliary_head=nn.ModuleList([nn.ModuleDict(dict(conv_seg=nn.Conv2d(2, 2, 1)))]),
            head=nn.ModuleDict(
                dict(
                    fc=nn.Linear(2, 2),
                    final_layer=nn.Conv2d(2, 2, 1),
                    hidden=nn.Linear(2, 2),
                    layers=nn.ModuleList([nn.ModuleDict(dict(fc=nn.Linear(2, 2)))]),
                )
            ),
            heads=nn.ModuleDict(dict(fc=nn.Linear(2, 2))),
        )
    )
    weights = prunable_weights(model)
    assert set(weights) == {
        'backbone.0.weight',
        'backbone.2.weight',
        'fc.weight',
        'neck.fc.weight',
        'decode_head.conv.weight',
        'head.hidden.weight',
        'heads.fc.weight',
    }
    parameters = dict(model.named_parameters())
    assert all(weights[name] is parameters[name] for name in weights)
    assert list(weights) == [name for name in parameters if name in weights]
    left = prunable_weights(model, ['backbone.*', '*hidden.weight'])
    assert set(weights) - set(left) == {
        'backbone.0.weight',
        'backbone.2.weight',
        'head.hidden.weight',
    }


SEG = dict(in_channels=8, channels=8, num_classes=3, norm_cfg=dict(type='BN'))
LOSS = dict(type='CrossEntropyLoss')
KEYPOINTS = dict(in_channels=8, out_channels=3)
SIMCC = dict(**KEYPOINTS, input_size=(32, 32), in_featuremap_size=(8, 8))


@pytest.mark.parametrize(
    ('library', 'cfg', 'classifiers'),
    [
        ('mmpretrain', dict(type='LinearClsHead'), ['fc']),
        ('mmpretrain', dict(type='MultiLabelLinearClsHead'), ['fc']),
        ('mmpretrain', dict(type='StackedLinearClsHead', mid_channels=[8, 8]), ['layers.2.fc']),
        ('mmpretrain', dict(type='VisionTransformerClsHead', hidden_dim=8), ['layers.head']),
        ('mmpretrain', dict(type='DeiTClsHead'), ['layers.head', 'layers.head_dist']),
        (
            'mmpretrain',
            dict(type='ConformerHead', in_channels=[8, 8]),
            ['conv_cls_head', 'trans_cls_head'],
        ),
        ('mmpretrain', dict(type='EfficientFormerClsHead'), ['head', 'dist_head']),
        ('mmpretrain', dict(type='VigClsHead', hidden_dim=8), ['fc2']),
        ('mmpretrain', dict(type='ArcFaceClsHead'), ['norm_product']),
        (
            'mmpretrain',
            dict(type='CSRAClsHead', num_heads=2, lam=0.1),
            ['csra_heads.0.head', 'csra_heads.1.head'],
        ),
        (
            'mmpretrain',
            dict(
                type='MultiTaskHead',
                num_classes=None,
                task_heads=dict(a=dict(type='LinearClsHead', num_classes=3)),
            ),
            ['task_heads.a.fc'],
        ),
        ('mmseg', dict(type='FCNHead', **SEG), ['conv_seg']),
        ('mmseg', dict(type='ASPPHead', **SEG), ['conv_seg']),
        (
            'mmseg',
            dict(type='DDRHead', loss_decode=[LOSS] * 2, **SEG),
            ['conv_seg', 'aux_cls_seg'],
        ),
        (
            'mmseg',
            dict(type='PIDHead', loss_decode=[LOSS] * 4, **SEG),
            ['conv_seg', 'p_cls_seg', 'd_cls_seg'],
        ),
        (
            'mmpose',
            dict(type='HeatmapHead', conv_out_channels=[8], conv_kernel_sizes=[1], **KEYPOINTS),
            ['final_layer'],
        ),
        (
            'mmpose',
            dict(type='CPMHead', num_stages=2, deconv_out_channels=None, **KEYPOINTS),
            ['multi_final_layers.0', 'multi_final_layers.1'],
        ),
        ('mmpose', dict(type='RegressionHead', in_channels=8, num_joints=3), ['fc']),
        (
            'mmpose',
            dict(type='SimCCHead', deconv_out_channels=None, **SIMCC),
            ['final_layer', 'mlp_head_x', 'mlp_head_y'],
        ),
        ('mmpose', dict(type='RTMCCHead', **SIMCC), ['final_layer', 'cls_x', 'cls_y']),
    ],
    ids=lambda value: value.get('type') if isinstance(value, dict) else '',
)
def test_classifiers_of_mm_heads(library, cfg, classifiers) -> None:
    """Alone, and as one of several."""
    if library == 'mmpretrain':
        cfg = dict(in_channels=8, num_classes=3) | cfg
        cfg = {key: value for key, value in cfg.items() if value is not None}
    with DefaultScope.overwrite_default_scope(library):
        head = MODELS.build(cfg)
    stem = nn.Conv2d(3, 3, 1)
    for prefix, model in {
        'head': nn.ModuleDict(dict(stem=stem, head=head)),
        'decode_head.0': nn.ModuleDict(dict(stem=stem, decode_head=nn.ModuleList([head]))),
    }.items():
        weights = prunable_weights(model)
        left = {
            name
            for name, module in model.named_modules()
            if isinstance(module, (nn.modules.conv._ConvNd, nn.Linear))
            and f'{name}.weight' not in weights
        }
        assert left == {f'{prefix}.{name}' for name in classifiers}


def test_prunable_weights_errors() -> None:
    model = nn.Sequential(nn.Conv2d(2, 2, 1))
    with pytest.raises(ValueError, match=r"'stem\.\*'"):
        prunable_weights(model, ['stem.*'])
    with pytest.raises(ValueError, match='no prunable weights'):
        prunable_weights(model, ['0.weight'])
    with pytest.raises(ValueError, match='no prunable weights'):
        prunable_weights(nn.ModuleDict(dict(head=nn.ModuleDict(dict(fc=nn.Linear(2, 2))))))

"""Parameters and MACs against numbers computed by hand, and the totals of the four supernets."""

import pytest
import torch
from mmengine.config import Config
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from st_mm.analysis.checkpoints import build_model
from st_mm.measure import LayerMacs, count_macs, count_params
from st_mm.search import count_units
from st_mm.units import find_owners


class Attention(nn.Module):
    """(B, 4, H, W) -> tokens of 4 values that attend to one another."""

    def __init__(self) -> None:
        super().__init__()
        self.query = nn.Linear(4, 4, bias=False)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        tokens = x.flatten(2).transpose(1, 2)  # (B, H * W, 4)
        weights = (self.query(tokens) @ tokens.transpose(1, 2)).softmax(-1)
        return weights @ tokens


class Small(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 8, 3, stride=2, padding=1)
        self.norm = nn.BatchNorm2d(8)
        self.grouped = nn.Conv2d(8, 4, 3, padding=1, groups=2, bias=False)
        self.attention = Attention()
        self.fc = nn.Linear(4, 10)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.fc(self.attention(self.grouped(self.norm(self.conv(x)))).mean(1))


POSITIONS = 3 * 4  # of a 6x8 picture at stride 2
BY_HAND = {
    'conv': 8 * 3 * 3 * 3 * POSITIONS,
    'grouped': 4 * (8 // 2) * 3 * 3 * POSITIONS,
    'attention': 2 * POSITIONS * POSITIONS * 4,  # queries by keys, weights by values
    'attention.query': 4 * 4 * POSITIONS,
    'fc': 4 * 10,
}


def test_macs_of_every_layer():
    macs = count_macs(Small(), (3, 6, 8))

    assert macs.layers == {name: LayerMacs(count, count) for name, count in BY_HAND.items()}
    assert macs.dense == macs.nonzero == sum(BY_HAND.values())


class Pair(nn.Module):
    """Gives a tuple to a module, and calls another twice, by its second name too."""

    def __init__(self):
        super().__init__()
        self.split = nn.Module()
        self.split.forward = lambda x: (x, x)  # type: ignore[method-assign]
        self.join = Join()
        self.shared = nn.Conv2d(2, 3, 1)
        self.alias = self.shared

    def forward(self, x):
        return self.join(self.split(x)), self.shared(x), self.alias(x)


class Join(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(4, 5, 1)
        self.weight = nn.Parameter(torch.ones(5, 6))

    def forward(self, pair):
        y = self.conv(torch.cat(pair, 1))
        return torch.einsum('bchw,cd->bdhw', y, self.weight)


def test_tuples_shared_layers_and_products_around_layers():
    model = Pair()
    before = dict(model.named_parameters())
    assert count_macs(model, (2, 7, 8)).layers == {
        'join': LayerMacs(5 * 6 * 56, 5 * 6 * 56),
        'join.conv': LayerMacs(4 * 5 * 56, 4 * 5 * 56),
        'shared': LayerMacs(2 * 2 * 3 * 56, 2 * 2 * 3 * 56),
    }
    assert all(parameter is before[name] for name, parameter in model.named_parameters())


def test_a_torch_that_counts_nothing_is_an_error(monkeypatch):
    monkeypatch.setattr(FlopCounterMode, 'get_total_flops', lambda self: 0)
    with pytest.raises(RuntimeError, match=r"Small runs 4 .*'conv'.* of torch .* counts none"):
        count_macs(Small(), (3, 6, 8))


def test_a_network_without_layers_has_no_macs():
    assert count_macs(nn.Sequential(nn.ReLU()), (3, 6, 8)).dense == 0


def test_zeros_are_not_counted_and_products_without_weights_are():
    model = Small()
    with torch.no_grad():
        model.conv.weight[:2] = 0  # 2 of 8 filters
        model.attention.query.weight.zero_()
    macs = count_macs(model, (3, 6, 8))

    assert macs.dense == sum(BY_HAND.values())
    assert macs.layers['conv'].nonzero == BY_HAND['conv'] * 6 // 8
    assert macs.layers['attention.query'].nonzero == 0
    assert macs.layers['attention'].nonzero == BY_HAND['attention']


class Attending(nn.Module):
    """(B, 4, H, W) -> attention of tokens of 4 values to the half of them, of 6 values each."""

    def __init__(self, packed: bool) -> None:
        super().__init__()
        dims = {} if packed else dict(kdim=6, vdim=6)
        self.attention = nn.MultiheadAttention(4, 2, batch_first=True, **dims)
        self.dims = dims.get('kdim', 4)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        tokens = x.flatten(2).transpose(1, 2)  # (B, H * W, 4)
        memory = tokens[:, ::2, :1].expand(-1, -1, self.dims)
        return self.attention(tokens, memory, value=memory)[0]


@pytest.mark.parametrize('packed', [True, False])
def test_projections_of_attention_are_counted_by_their_nonzero_weights(packed):
    model = Attending(packed)
    attention, tokens, memory = model.attention, 12, 6
    projections = (tokens + tokens) * 4 * 4 + 2 * memory * 4 * model.dims
    products = 2 * tokens * memory * 4
    full = count_macs(model, (4, 3, 4)).layers['attention']
    assert full == LayerMacs(projections + products, projections + products)
    with torch.no_grad():
        if packed:
            attention.in_proj_weight[:4, 0] = 0  # 4 weights of the queries
            attention.in_proj_weight[8:, :2] = 0  # 8 weights of the values
        else:
            attention.q_proj_weight[:, 0] = 0
            attention.v_proj_weight[:, :2] = 0
        attention.out_proj.weight[0, :3] = 0
    macs = count_macs(model, (4, 3, 4)).layers['attention']
    assert macs.dense == full.dense
    assert macs.nonzero == full.nonzero - 4 * tokens - 8 * memory - 3 * tokens


def test_params_and_those_that_are_not_zero():
    model = Small()
    with torch.no_grad():
        model.conv.weight[0] = 0
    total = 8 * 27 + 8 + 2 * 8 + 4 * 4 * 9 + 16 + 4 * 10 + 10

    # the filter, and the bias of a fresh BN
    assert count_params(model) == (total, total - 27 - 8)


def test_counting_leaves_the_model_as_it_was():
    model = Small().train()
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    count_macs(model, (3, 6, 8))

    assert model.training
    assert all(torch.equal(before[name], t) for name, t in model.state_dict().items())


@pytest.mark.parametrize('shape', [(6, 8), (3, 0, 8), (4, 6, 8)])
def test_a_picture_it_cannot_take_is_refused(shape):
    with pytest.raises(ValueError, match='input_shape'):
        count_macs(Small(), shape)


CLASSIFIER = dict(
    default_scope='mmpretrain',
    model=dict(
        type='ImageClassifier',
        backbone=dict(type='HRSupernet'),
        neck=dict(type='HRClassificationNeck'),
        head=dict(type='LinearClsHead', num_classes=1000, in_channels=1600),
    ),
)
POSES = dict(
    default_scope='mmpose',
    model=dict(
        type='TopdownPoseEstimator',
        backbone=dict(type='HRSupernet'),
        neck=dict(type='HRFusionNeck'),
        head=dict(
            type='HeatmapHead',
            in_channels=90,
            out_channels=17,
            deconv_out_channels=None,
            loss=dict(type='KeypointMSELoss', use_target_weight=True),
        ),
    ),
)


def segmentor(channels: int, classes: int) -> dict:
    return dict(
        default_scope='mmseg',
        model=dict(
            type='EncoderDecoder',
            backbone=dict(type='HRSupernet'),
            neck=dict(type='HRFusionNeck', out_channels=channels),
            decode_head=dict(
                type='FCNHead',
                in_channels=channels,
                channels=channels,
                num_convs=0,
                concat_input=False,
                dropout_ratio=0,
                num_classes=classes,
            ),
            test_cfg=dict(mode='whole'),
        ),
    )


# parameters, unit owners, units, MACs, and the MACs as published
@pytest.mark.parametrize(
    ('config', 'shape', 'params', 'owners', 'units', 'macs', 'published'),
    [
        pytest.param(
            CLASSIFIER, (224, 224), 13_243_868, 67, 47_952, 2_422_799_760, '2.4228', id='imagenet'
        ),
        pytest.param(
            segmentor(90, 19),
            (512, 1024),
            10_110_235,
            61,
            44_928,
            61_836_632_064,
            '61.837',
            id='cityscapes',
        ),
        pytest.param(
            segmentor(180, 150),
            (512, 512),
            10_427_706,
            61,
            44_928,
            36_114_665_472,
            '36.115',
            id='ade20k',
        ),
        pytest.param(
            POSES,
            (256, 192),
            10_110_053,
            61,
            44_928,
            5_796_631_296,
            '5.797',
            id='coco',
        ),
    ],
)
@pytest.mark.filterwarnings('ignore::UserWarning')
def test_totals_of_the_published_supernets(config, shape, params, owners, units, macs, published):
    model = build_model(Config(config))
    found = find_owners(model)

    assert count_params(model)[0] == params
    assert (len(found), count_units(found)) == (owners, units)
    counted = count_macs(model, (3, *shape)).dense
    assert counted == macs
    digits = len(published.partition('.')[2])
    assert f'{counted / 1e9:.{digits}f}' == published

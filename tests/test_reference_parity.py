"""Agreement with tensors recorded from the published implementation."""

import copy
import gzip
import importlib.util
import io
import math
import os
import re
from pathlib import Path

import pytest
import torch
from torch import nn

from st_mm.measure import count_macs
from st_mm.models import HRClassificationNeck, HRFusionNeck, HRSupernet, TokenMixer
from st_mm.models.token_mixer import TOKEN_DIM
from st_mm.prune import Masks, lowest, magnitude, prunable_weights, unpack
from st_mm.search import (
    count_units,
    dead_units,
    importance,
    input_sizes,
    penalty,
    shrink,
    unit_costs,
    units_macs,
)
from st_mm.units import find_owners

ROOT = Path(__file__).parents[1]
GOLDEN = Path(os.environ.get('ST_MM_GOLDEN_DIR', ROOT.parent / 'shared' / 'golden'))
FIXTURES = sorted(GOLDEN.glob('*.pt.gz'))

pytestmark = pytest.mark.data


def _load_tool(path: Path):
    spec = importlib.util.spec_from_file_location(path.stem, path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


reference2mm = _load_tool(ROOT / 'tools' / 'model_converters' / 'reference2mm.py')


class Network(nn.Module):
    """Backbone, neck and classifier under the names that mm models have."""

    def __init__(self, kwargs: dict, tokens: bool) -> None:
        super().__init__()
        stages = kwargs['inverted_residual_setting']
        channels = [stage[2] for stage in stages]
        norm_cfg = dict(type='BN', eps=kwargs['bn_epsilon'], momentum=kwargs['bn_momentum'])
        cfg = dict(
            kernel_sizes=kwargs['kernel_sizes'],
            expand_ratio=kwargs['expand_ratio'],
            norm_cfg=norm_cfg,
        )
        self.backbone = HRSupernet(
            stem_channels=kwargs['input_channel'],
            stage_channels=channels,
            stage_blocks=[stage[1] for stage in stages],
            tokens=TOKEN_DIM if tokens else 0,
            **cfg,
        )
        classes = kwargs['num_classes']
        self.head = nn.Module()
        self.decode_head = nn.Module()
        if kwargs['task'] == 'classification':
            heads, last = kwargs['head_channels'], kwargs['last_channel']
            self.neck = HRClassificationNeck(channels[-1], heads, last, **cfg)
            self.head.fc = nn.Linear(last, classes)
        else:
            self.neck = HRFusionNeck(channels[-1], kwargs['last_channel'], **cfg)
            self.decode_head.conv_seg = nn.Conv2d(kwargs['last_channel'], classes, 1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        classify = getattr(self.head, 'fc', None) or self.decode_head.conv_seg
        return classify(self.neck(self.backbone(x))[0])


@pytest.fixture(
    scope='module', params=FIXTURES or [None], ids=lambda path: path and path.name[: -len('.pt.gz')]
)
def golden(request) -> dict:
    if request.param is None:
        pytest.skip(f'no fixtures (*.pt.gz) in {GOLDEN}; set ST_MM_GOLDEN_DIR')
    return torch.load(io.BytesIO(gzip.decompress(request.param.read_bytes())), weights_only=True)


@pytest.fixture
def model(golden) -> Network:
    network = Network(golden['model_kwargs'], golden['use_transformer'])
    kernels = golden['model_kwargs']['kernel_sizes']
    converted = reference2mm.convert(golden['state_dict'], kernels)
    network.load_state_dict(converted, strict=True)
    return network.eval()


@pytest.fixture
def names(golden):
    """Translate a published name: (our name, kernel of the parallel op)."""
    state = golden['state_dict']
    branches = reference2mm._branches_per_stage(state)

    def translate(name: str) -> tuple[str, str]:
        ours = reference2mm._rename(name, branches, 'decode_head.conv_seg')
        in_op = re.fullmatch(r'(.*)\.ops\.(\d+)\.(.*)', ours)
        if not in_op:
            return ours, ''
        published_block = re.match(r'(.*\.|)ops\.\d+\.', name)[0]
        kernel = state[f'{published_block}1.0.weight'].shape[-1]
        block, _, rest = in_op.groups()
        layer, _, leaf = rest.rpartition('.')
        if layer == '1.0':
            return f'{block}.depthwise.k{kernel}.{leaf}', ''
        return f'{block}.{reference2mm._OP_LAYERS[layer]}.{leaf}', f'k{kernel}'

    return translate


def _shape(golden: dict) -> tuple[int, int, int]:
    return (3, *golden['input_size'])


def _relative(ours: torch.Tensor, theirs: torch.Tensor) -> float:
    return ((ours - theirs).norm() / theirs.norm()).item()


def _part(model: nn.Module, values: dict, name: str, kernel: str) -> torch.Tensor:
    """Values of one kernel's units, from values by owner."""
    owner = name.removesuffix('.weight').rpartition('.')[0]
    groups = find_owners(model)[owner].unit_groups()
    parts = dict(zip(groups, values[owner].split(list(groups.values())), strict=True))
    return parts[kernel]


def _published_mixer_macs(mixer: TokenMixer, tokens: int) -> int:
    """The published profiler's figure, which counts one attention layer less."""
    c, dim = mixer.channels, TOKEN_DIM
    projections = (c + 2) * dim * tokens + c * dim * tokens
    return projections + 2 * dim * tokens**2 + 4 * dim**2 * tokens + 4 * tokens


def _as_published(model: nn.Module, macs: float) -> float:
    """Put the published figure of every mixer in the place of the exact one."""
    for mixer in model.modules():
        if isinstance(mixer, TokenMixer):
            tokens = mixer.unit_groups()['tokens']
            macs += _published_mixer_macs(mixer, tokens) - mixer.mixer_macs(tokens)
    return macs


class PublishedMixer:
    """A mixer's costs under the published figure."""

    def __init__(self, mixer: TokenMixer) -> None:
        self.mixer, self.unit_bn, self.unit_groups = mixer, mixer.unit_bn, mixer.unit_groups

    def saved_macs(self, size: tuple[int, int], dead: torch.Tensor) -> float:
        tokens = dead.numel()
        left = tokens - int(dead.sum())
        return _published_mixer_macs(self.mixer, tokens) - _published_mixer_macs(self.mixer, left)

    def unit_macs(self, size: tuple[int, int]) -> torch.Tensor:
        one = torch.arange(self.unit_groups()['tokens']) == 0
        return torch.full((one.numel(),), self.saved_macs(size, one), dtype=torch.float64)


def test_output(golden, model) -> None:
    with torch.no_grad():
        assert _relative(model(golden['input']), golden['output']) <= 1e-4


def test_size(golden, model) -> None:
    assert sum(p.numel() for p in model.parameters()) == golden['params']
    assert _as_published(model, count_macs(model, _shape(golden)).dense) == golden['macs']


def test_units_and_penalty(golden, model, names) -> None:
    owners = find_owners(model)
    sizes = input_sizes(model, _shape(golden))
    macs = units_macs(owners, sizes)
    mixers = {n: PublishedMixer(o) for n, o in owners.items() if isinstance(o, TokenMixer)}
    costs = unit_costs(owners | mixers, sizes)

    units = sum(golden['state_dict'][name].numel() for name in golden['unit_bn'])
    tokens = sum(golden['state_dict'][name].numel() for name in golden.get('token_bn', []))
    assert count_units(owners) == units + tokens
    for index, published in enumerate(golden['unit_bn']):
        name, kernel = names(published)
        part = _part(model, macs, name, kernel)
        assert part.tolist() == [golden['unit_macs'][index]] * part.numel()
        part = _part(model, costs, name, kernel)
        assert part.tolist() == pytest.approx([golden['unit_penalty'][index]] * part.numel(), 1e-5)
    for published, cost in zip(
        golden.get('token_bn', []), golden.get('token_penalty', []), strict=True
    ):
        owner = names(published)[0].removesuffix('.input_norm.weight')
        assert costs[owner].tolist() == pytest.approx([cost] * costs[owner].numel(), 1e-5)
    # the recorded loss is that of the channels; tokens have their costs above, but no term in it
    channels = {name: owner for name, owner in owners.items() if name not in mixers}
    loss = penalty(channels, costs, golden['rho']).item()
    assert loss == pytest.approx(golden['l1_loss'], rel=1e-5)


def test_pruning(golden, model, names) -> None:
    for ratio, published in golden['pruned'].items():
        network = copy.deepcopy(model)
        mixers = ['*.shortcut.?*.*'] if golden['use_transformer'] else []
        weights = prunable_weights(network, skip=mixers)
        masks = Masks(weights)
        masks.update(lowest(magnitude(weights), ratio))

        assert sum(w.numel() for w in weights.values()) == published['total']
        remaining = sum(int(keep.sum()) for keep in masks.keep.values())
        assert remaining == published['remaining']
        for name, bits in published['masks'].items():
            weight = name.removesuffix('_mask')
            expected = unpack(bits, golden['state_dict'][weight].shape).float()
            assert torch.equal(_published_view(network, masks.keep, *names(weight)), expected), name
        with torch.no_grad():
            assert _relative(network(golden['input']), published['output']) <= 1e-4


def _published_view(model: nn.Module, tensors: dict, name: str, kernel: str) -> torch.Tensor:
    """The part of one of our tensors that is a tensor of one parallel op."""
    if not kernel:
        return tensors[name]
    block, _, layer = name.removesuffix('.weight').rpartition('.')
    groups = find_owners(model)[block].unit_groups()
    split = tensors[name].split(list(groups.values()), 1 if layer == 'project' else 0)
    return dict(zip(groups, split, strict=True))[kernel]


def test_search_step(golden, model, names) -> None:
    owners = find_owners(model)
    for published, scale in golden['search_bn_weights'].items():
        name, kernel = names(published)
        values = {owner: module.unit_bn.weight.data for owner, module in owners.items()}
        _part(model, values, name, kernel).copy_(scale)  # a view of the live parameter
    with torch.no_grad():
        assert _relative(model(golden['input']), golden['search_output_before']) <= 1e-4
    dead = dead_units(owners, golden['search_threshold'])
    for name, owner in owners.items():
        if isinstance(owner, TokenMixer):
            dead[name][:] = False  # the fixtures search channels alone
    unfolded = copy.deepcopy(model)

    shrink(model, dead)
    for published, (kernels, channels) in golden['search_channels'].items():
        block = names(f'{published}.pw_bn.weight')[0].removesuffix('.project_bn.weight')
        alive = {k: n for k, n in owners[block].unit_groups().items() if n}
        assert alive == dict(zip((f'k{k}' for k in kernels), channels, strict=True))
    assert sum(p.numel() for p in model.parameters()) == golden['search_params_after']
    macs = _as_published(model, count_macs(model, _shape(golden)).dense)
    assert macs == golden['search_macs']
    with torch.no_grad():
        after = model(golden['input'])
    assert math.isfinite(after.sum().item())
    assert _relative(after, golden['search_output_before']) <= 5e-3

    for owner in find_owners(unfolded).values():
        owner.absorb_units = lambda dead: None  # what the published code does
    shrink(unfolded, dead)
    with torch.no_grad():
        assert _relative(unfolded(golden['input']), golden['search_output_after']) <= 1e-4


def test_importance_is_the_norm_scale(golden, model) -> None:
    for owner in find_owners(model).values():
        assert torch.equal(importance(owner), owner.unit_bn.weight.abs())

"""AtomicBlock: its function, its units, and loading it at any width."""

import copy
import math
import re

import pytest
import torch
from mmcv.cnn.utils import fuse_conv_bn
from mmengine.runner import load_checkpoint
from torch import nn
from torch.nn import functional as F

from st_mm.models import AtomicBlock, TokenMixer
from st_mm.search import shrink
from st_mm.units import UnitOwner
from st_mm.units.loading import set_widths

EPS = 1e-3
NORM = dict(type='BN', eps=EPS, momentum=0.01)


def build(in_channels=4, out_channels=4, widths=None, **kwargs) -> AtomicBlock:
    """A block with random weights and statistics, cut to some widths."""
    block = AtomicBlock(in_channels, out_channels, norm_cfg=NORM, **kwargs)
    if widths is not None:
        set_widths(block, dict(zip(block.unit_groups(), widths, strict=True)))
    randomize(block)
    return block


def randomize(module: nn.Module) -> None:
    generator = torch.Generator().manual_seed(0)
    for name, tensor in (*module.named_parameters(), *module.named_buffers()):
        if tensor.is_floating_point():
            values = torch.randn(tensor.shape, generator=generator)
            tensor.data.copy_(values.abs() + 0.5 if name.endswith('running_var') else values)


def narrow(block: AtomicBlock, widths) -> dict[str, torch.Tensor]:
    """The state of a block with the first units of each kernel only."""
    full = list(block.unit_groups().values())
    keep = torch.cat(
        [torch.arange(n) < w for n, w in zip(full, widths, strict=True)] or [torch.zeros(0)]
    ).bool()
    parts = dict(zip(block.unit_groups(), keep.split(full), strict=True))
    state = {name: tensor.clone() for name, tensor in block.state_dict().items()}
    for name, dim, group in block.unit_slices():
        part = keep if group is None else parts[group]
        state[name] = state[name].index_select(dim, part.nonzero().flatten())
    return state


def unfused(block: AtomicBlock, x: torch.Tensor) -> torch.Tensor:
    """The published form in eval mode: every kernel has its own convolutions and norms."""

    def bn(y, norm, part=slice(None)):
        mean, var = norm.running_mean[part], norm.running_var[part]
        return F.batch_norm(y, mean, var, norm.weight[part], norm.bias[part], False, 0, EPS)

    stride = block.stride
    height, width = (math.ceil(size / stride) for size in x.shape[-2:])
    total = torch.zeros(len(x), block.out_channels, height, width)
    start = 0
    for name, count in block.unit_groups().items():
        part, start = slice(start, start + count), start + count
        if not count:
            continue
        kernel = int(name[1:])
        y = F.relu(bn(F.conv2d(x, block.expand.weight[part]), block.expand_bn, part))
        filters = block.depthwise[name].weight
        y = F.conv2d(y, filters, stride=stride, padding=kernel // 2, groups=count)
        y = F.relu(bn(y, block.depthwise_bn, part))
        total = total + F.conv2d(y, block.project.weight[:, part])
    total = bn(total, block.project_bn)
    if stride == 1 and block.in_channels == block.out_channels:
        return x + total
    groups = math.gcd(block.in_channels, block.out_channels)
    return total + F.conv2d(x, block.shortcut.weight, stride=stride, groups=groups)


WIDTHS = [None, (16, 16, 16), (3, 0, 5), (0, 0, 7), (1, 0, 0), (0, 16, 0), (0, 0, 0)]


@pytest.mark.parametrize('widths', WIDTHS, ids=str)
@pytest.mark.parametrize('stride', [1, 2, 3])
@pytest.mark.parametrize('out_channels', [4, 6, 5])
@pytest.mark.parametrize('size', [(16, 16), (7, 9), (1, 5)], ids=str)
def test_equals_the_unfused_form(widths, stride, out_channels, size) -> None:
    block = build(4, out_channels, widths, stride=stride).eval()
    x = torch.randn(2, 4, *size)
    with torch.no_grad():
        ours, expected = block(x), unfused(block, x)
    assert ours.shape == (2, out_channels, *(math.ceil(s / stride) for s in size))
    torch.testing.assert_close(ours, expected, rtol=1e-5, atol=1e-5 * expected.abs().max().item())


@pytest.mark.parametrize('kernels', [(3,), (1, 5), (3, 5, 7, 9)], ids=str)
def test_other_kernels(kernels) -> None:
    block = build(3, 3, kernel_sizes=kernels, expand_ratio=2).eval()
    assert block.unit_groups() == {f'k{k}': 6 for k in kernels}
    x = torch.randn(2, 3, 8, 8)
    torch.testing.assert_close(block(x), unfused(block, x), rtol=1e-5, atol=1e-4)


def test_train_mode_equals_parallel_norms() -> None:
    """One norm over a concatenation has the statistics of the separate norms."""
    block = build().train()
    x = torch.randn(2, 4, 8, 8)
    expected = copy.deepcopy(block)
    with torch.no_grad():
        block(x)
    expanded = F.conv2d(x, expected.expand.weight)
    mean, var = expanded.mean((0, 2, 3)), expanded.transpose(0, 1).flatten(1).var(1)
    torch.testing.assert_close(
        block.expand_bn.running_mean, 0.99 * expected.expand_bn.running_mean + 0.01 * mean
    )
    torch.testing.assert_close(
        block.expand_bn.running_var, 0.99 * expected.expand_bn.running_var + 0.01 * var
    )


def test_shortcuts() -> None:
    assert isinstance(AtomicBlock(4, 4).shortcut, nn.Identity)
    assert isinstance(AtomicBlock(4, 4, tokens=3).shortcut, TokenMixer)
    for block in (
        AtomicBlock(4, 4, stride=2, tokens=3),
        AtomicBlock(4, 6, tokens=3),
    ):
        assert isinstance(block.shortcut, nn.Conv2d)
        assert block.shortcut.groups == math.gcd(4, block.out_channels)
        assert block.shortcut.bias is None
        assert block.shortcut.stride == (block.stride, block.stride)


def test_mixer_norms_keep_published_defaults() -> None:
    mixer = AtomicBlock(4, 4, tokens=3, norm_cfg=NORM).shortcut
    for norm in (mixer.input_norm, mixer.output_norm):
        assert (norm.eps, norm.momentum) == (1e-5, 0.1)


@pytest.mark.parametrize(
    ('kwargs', 'message'),
    [
        (dict(kernel_sizes=(3, 4)), 'odd'),
        (dict(kernel_sizes=(3, 3)), 'different'),
        (dict(kernel_sizes=(7, 5, 3)), 'rising'),
        (dict(kernel_sizes='357'), 'kernel_sizes must'),
        (dict(expand_ratio=True), 'expand_ratio must be an integer'),
        (dict(stride='2'), 'stride must be an integer'),
        (dict(kernel_sizes=()), 'kernel_sizes'),
        (dict(kernel_sizes=(-3,)), 'odd'),
        (dict(expand_ratio=0), 'expand_ratio'),
        (dict(expand_ratio=1.5), 'expand_ratio must be an integer'),
        (dict(expand_ratio=-1), 'expand_ratio'),
    ],
    ids=str,
)
def test_config_errors(kwargs, message) -> None:
    with pytest.raises(ValueError, match=message):
        AtomicBlock(4, 4, **kwargs)


# Search units


@pytest.mark.parametrize('widths', WIDTHS, ids=str)
def test_protocol(widths) -> None:
    block = build(widths=widths)
    assert isinstance(block, UnitOwner)
    units = sum(widths or (16, 16, 16))
    assert block.unit_bn is block.depthwise_bn
    assert block.unit_bn.weight.numel() == units
    assert block.unit_groups() == dict(zip(('k3', 'k5', 'k7'), widths or (16,) * 3, strict=True))
    state = block.state_dict()
    for name, dim, group in block.unit_slices():
        assert state[name].shape[dim] == (block.unit_groups()[group] if group else units), name
    covered = {name for name, _, _ in block.unit_slices()}
    others = {name for name in state if 'num_batches' not in name} - covered
    assert all(name.startswith(('project_bn.', 'shortcut.')) for name in others)


@pytest.mark.parametrize('widths', WIDTHS, ids=str)
def test_attributes_follow_the_tensors(widths) -> None:
    block = build(widths=widths)
    for conv in (block.expand, block.project, *block.depthwise.values()):
        assert conv.out_channels == conv.weight.shape[0]
        assert conv.in_channels == conv.weight.shape[1] * conv.groups
    for norm in (block.expand_bn, block.depthwise_bn):
        assert norm.num_features == norm.weight.numel() == norm.running_var.numel()


@pytest.mark.parametrize('stride', [1, 2])
def test_macs_of_units(stride) -> None:
    block = build(4, 6, (2, 0, 1), stride=stride)
    height, width, out = 7, 10, (7, 10) if stride == 1 else (4, 5)
    positions = out[0] * out[1]
    expected = [height * width * 4 + positions * (k * k + 6) for k in (3, 3, 7)]
    macs = block.unit_macs((height, width))
    assert macs.dtype == torch.float64
    assert macs.tolist() == expected
    dead = torch.tensor([True, False, True])
    assert block.saved_macs((height, width), dead) == expected[0] + expected[2]
    assert block.saved_macs((height, width), ~dead & dead) == 0


def test_absorbed_units_leave_the_eval_output() -> None:
    block = build().eval()
    dead = torch.rand(48) < 0.5
    with torch.no_grad():
        block.depthwise_bn.weight[dead] = 0
        x = torch.randn(2, 4, 8, 8)
        before = block(x)
        block.absorb_units(dead)
        block.project.weight[:, dead] = 0  # as good as gone
        after = block(x)
    torch.testing.assert_close(after, before, rtol=1e-5, atol=1e-4)


@pytest.mark.parametrize('widths', [(0, 0, 0), (3, 0, 5)], ids=str)
@pytest.mark.parametrize('tokens', [0, 2])
def test_every_parameter_gets_a_gradient(widths, tokens) -> None:
    """DDP without ``find_unused_parameters`` waits for one of each."""
    block = build(widths=widths, tokens=tokens).train()
    block(torch.randn(2, 4, 8, 8)).square().sum().backward()
    for name, parameter in block.named_parameters():
        assert parameter.grad is not None, name
        assert parameter.grad.shape == parameter.shape


def test_empty_block_is_its_shortcut_and_a_constant() -> None:
    block = build(widths=(0, 0, 0)).eval()
    x = torch.randn(2, 4, 5, 5)
    norm = block.project_bn
    constant = norm.bias - norm.running_mean * norm.weight / (norm.running_var + EPS).sqrt()
    torch.testing.assert_close(block(x) - x, constant.view(1, -1, 1, 1).expand_as(x))


def test_half_precision_block_without_units() -> None:
    block = build(widths=(0, 0, 0)).train()
    x = torch.randn(2, 4, 5, 5, dtype=torch.bfloat16)
    assert block.to(torch.bfloat16)(x).dtype == torch.bfloat16


# Loading


def plain(block, state) -> None:
    block.load_state_dict(state)


def as_part(block, state) -> None:
    model = nn.Sequential(nn.Identity(), block)
    model.load_state_dict({f'1.{name}': tensor for name, tensor in state.items()})


def by_mmengine(block, state, tmp_path) -> None:
    path = tmp_path / 'block.pth'
    torch.save(dict(meta={}, state_dict=state), path)
    load_checkpoint(block, str(path), map_location='cpu', strict=False)


@pytest.fixture(params=[plain, as_part, by_mmengine], ids=lambda load: load.__name__)
def load(request, tmp_path):
    if request.param is by_mmengine:
        return lambda block, state: by_mmengine(block, state, tmp_path)
    return request.param


@pytest.mark.parametrize('widths', WIDTHS[1:], ids=str)
def test_load_into_a_fresh_block(load, widths) -> None:
    source = build(widths=widths).eval()
    block = AtomicBlock(4, 4, norm_cfg=NORM).eval()
    identity = [id(p) for p in (*block.parameters(), *block.buffers())]
    load(block, source.state_dict())
    assert [id(p) for p in (*block.parameters(), *block.buffers())] == identity
    assert block.unit_groups() == source.unit_groups()
    assert all(isinstance(p, nn.Parameter) and p.is_leaf for p in block.parameters())
    for name, tensor in source.state_dict().items():
        assert torch.equal(block.state_dict()[name], tensor), name
    x = torch.randn(2, 4, 9, 9)
    with torch.no_grad():
        assert torch.equal(block(x), source(x))


@pytest.mark.parametrize('narrowed', WIDTHS[1:], ids=str)
def test_load_wider_again(load, narrowed) -> None:
    source = build().eval()
    block = build(widths=narrowed).eval()
    load(block, source.state_dict())
    x = torch.randn(2, 4, 9, 9)
    with torch.no_grad():
        assert torch.equal(block(x), source(x))


def test_loaded_tensors_are_copies(load) -> None:
    source = build(widths=(3, 0, 5))
    state = {name: tensor.clone() for name, tensor in source.state_dict().items()}
    block = AtomicBlock(4, 4, norm_cfg=NORM)
    load(block, state)
    with torch.no_grad():
        for parameter in block.parameters():
            parameter.add_(1)
    for name, tensor in source.state_dict().items():
        assert torch.equal(state[name], tensor), name


def test_load_with_mixer() -> None:
    source = build(widths=(3, 0, 5), tokens=4).eval()
    state = source.state_dict()
    for name in ('input_proj.weight', 'queries', 'input_norm.weight', 'input_norm.bias'):
        state[f'shortcut.{name}'] = state[f'shortcut.{name}'][1:]
    for name in ('running_mean', 'running_var'):
        state[f'shortcut.input_norm.{name}'] = state[f'shortcut.input_norm.{name}'][1:]
    state['shortcut.output_proj.weight'] = state['shortcut.output_proj.weight'][:, 1:]
    block = AtomicBlock(4, 4, tokens=4, norm_cfg=NORM)
    block.load_state_dict(state)
    assert block.shortcut.unit_groups() == {'tokens': 3}
    assert block.unit_groups() == {'k3': 3, 'k5': 0, 'k7': 5}


def larger_kernel(state):
    state['depthwise.k5.weight'] = torch.zeros(16, 1, 7, 7)
    return 'depthwise.k5.weight'


def dense_filter(state):
    state['depthwise.k7.weight'] = torch.zeros(16, 16, 7, 7)
    return 'depthwise.k7.weight'


def flat_filter(state):
    state['depthwise.k3.weight'] = torch.zeros(16)
    return 'depthwise.k3.weight'


def too_wide(state):
    state['depthwise.k3.weight'] = torch.zeros(17, 1, 3, 3)
    return 'depthwise.k3.weight'


def other_input(state):
    state['expand.weight'] = torch.zeros(48, 5, 1, 1)
    return 'expand.weight'


def other_output(state):
    state['project.weight'] = torch.zeros(5, 48, 1, 1)
    return 'project.weight'


def units_disagree(state):
    state['depthwise.k3.weight'] = state['depthwise.k3.weight'][:7]
    return 'expand.weight'


def norm_disagrees(state):
    state['depthwise_bn.running_var'] = state['depthwise_bn.running_var'][:-1]
    return 'depthwise_bn.running_var'


def transposed(state):
    state['project.weight'] = state['project.weight'].transpose(0, 1)
    return 'project.weight'


def no_kernel(state):
    del state['depthwise.k5.weight']
    return 'depthwise.k5.weight'


def no_statistics(state):
    del state['expand_bn.running_mean']
    return 'expand_bn.running_mean'


CORRUPTIONS = [
    larger_kernel,
    dense_filter,
    flat_filter,
    too_wide,
    other_input,
    other_output,
    units_disagree,
    norm_disagrees,
    transposed,
    no_kernel,
    no_statistics,
]


@pytest.mark.parametrize('corrupt', CORRUPTIONS, ids=lambda corrupt: corrupt.__name__)
def test_misfit_names_the_tensor(load, corrupt) -> None:
    state = build().state_dict()
    name = corrupt(state)
    with pytest.raises(RuntimeError, match=rf"tensor '(1\.)?{re.escape(name)}'"):
        load(AtomicBlock(4, 4, norm_cfg=NORM), state)


def test_foreign_units_are_refused(load) -> None:
    """A filter bank the config does not know would be lost without a word."""
    state = build(kernel_sizes=(3, 5, 7)).state_dict()
    with pytest.raises(RuntimeError, match=r'expand\.weight'):
        load(AtomicBlock(4, 4, kernel_sizes=(3, 5), norm_cfg=NORM), state)


def test_mixer_in_the_checkpoint_alone_is_refused(tmp_path) -> None:
    state = build(tokens=2).state_dict()
    with pytest.raises(RuntimeError, match='shortcut'):
        by_mmengine(AtomicBlock(4, 4, norm_cfg=NORM), state, tmp_path)


def test_counters_may_be_missing() -> None:
    source = build(widths=(3, 0, 5)).eval()
    state = {k: v for k, v in source.state_dict().items() if 'num_batches' not in k}
    block = AtomicBlock(4, 4, norm_cfg=NORM).eval()
    block.load_state_dict(state, strict=False)
    x = torch.randn(1, 4, 8, 8)
    assert torch.equal(block(x), source(x))


def test_half_precision_checkpoint() -> None:
    source = build(widths=(3, 0, 5))
    state = {k: v.half() if v.is_floating_point() else v for k, v in source.state_dict().items()}
    block = AtomicBlock(4, 4, norm_cfg=NORM)
    block.load_state_dict(state)
    assert all(p.dtype == torch.float32 for p in block.parameters())
    assert torch.equal(block.expand.weight, state['expand.weight'].float())


@pytest.mark.parametrize('widths', [(16, 16, 16), (3, 0, 5), (0, 0, 0)], ids=str)
@pytest.mark.parametrize('before', [(16, 16, 16), (2, 0, 9), (0, 0, 0)], ids=str)
def test_autograd_after_load(before, widths) -> None:
    """Also while a loss of the old shape is still held."""
    block = build(widths=before).train()
    x = torch.randn(2, 4, 8, 8)
    held = block(x).square().mean()
    held.backward()
    block.zero_grad()
    source = build(widths=widths).train()
    block.load_state_dict(source.state_dict())
    for each in (block, source):
        each(x).square().mean().backward()
    for (name, ours), theirs in zip(block.named_parameters(), source.parameters(), strict=True):
        assert torch.equal(ours.grad, theirs.grad), name
    assert held.item() > 0


def test_autograd_after_load_with_gradients_left() -> None:
    """A load that changes shapes must not leave gradients of the old shape."""
    block = build().train()
    block(torch.randn(2, 4, 8, 8)).square().mean().backward()
    optimizer = torch.optim.SGD(block.parameters(), 0.1)
    block.load_state_dict(build(widths=(3, 0, 5)).state_dict())
    optimizer.zero_grad(set_to_none=False)
    block(torch.randn(2, 4, 8, 8)).square().mean().backward()
    optimizer.step()
    assert all(p.grad.shape == p.shape for p in block.parameters())


@pytest.mark.parametrize('share', [0.5, 1])
def test_fused_norms_change_nothing(share) -> None:
    """``mmcv.cnn.utils.fuse_conv_bn``, as mm's benchmarks call it: a block without units too."""
    model = nn.Sequential(nn.Conv2d(3, 8, 3), AtomicBlock(8, 8)).eval()
    norm = model[1].project_bn
    nn.init.normal_(norm.bias)
    norm.running_mean.normal_()
    shrink(model, {'1': torch.arange(96) < 96 * share})
    picture = torch.rand(1, 3, 16, 16)
    fused = fuse_conv_bn(copy.deepcopy(model))
    assert (fused(picture) - model(picture)).abs().max() < 1e-5

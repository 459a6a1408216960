"""reference2mm: a made-up checkpoint under the published names becomes the same network."""

import importlib.util
import re
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from torch import nn

from st_mm.models import HRClassificationNeck, HRFusionNeck, HRSupernet, TokenMixer
from st_mm.search import shrink
from st_mm.units import find_owners

TOOL = Path(__file__).parents[2] / 'tools' / 'model_converters' / 'reference2mm.py'
SMALL = dict(
    stem_channels=(4, 4),
    stage_channels=((4,), (4, 6), (4, 6, 8)),
    stage_blocks=((1,), (1, 2), (1, 1, 1)),
    expand_ratio=1,
)


def load_tool():
    spec = importlib.util.spec_from_file_location('reference2mm', TOOL)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


reference2mm = load_tool()


class Net(nn.Module):
    def __init__(self, task: str = 'seg', tokens: int = 0, **kwargs) -> None:
        super().__init__()
        self.backbone = HRSupernet(tokens=tokens, **{**SMALL, **kwargs})
        cfg = {k: v for k, v in kwargs.items() if k == 'kernel_sizes'}
        if task == 'cls':
            self.neck = HRClassificationNeck((4, 6, 8), (6, 8, 10), 7, expand_ratio=1, **cfg)
            self.head = nn.ModuleDict(dict(fc=nn.Linear(7, 3)))
        else:
            self.neck = HRFusionNeck((4, 6, 8), 7, expand_ratio=1, **cfg)
            self.decode_head = nn.ModuleDict(dict(conv_seg=nn.Conv2d(7, 3, 1)))


def build(seed: int = 0, dead_share: float = 0, **kwargs) -> Net:
    """A network with random tensors; units of the first block's k5 and some others gone."""
    torch.manual_seed(seed)
    model = Net(**kwargs)
    for tensor in (*model.parameters(), *model.buffers()):
        if tensor.is_floating_point():
            tensor.data = torch.randn(tensor.shape)
        else:
            tensor.fill_(11)
    if dead_share:
        dead = {}
        for name, owner in find_owners(model).items():
            mask = torch.rand(owner.unit_bn.weight.numel()) < dead_share
            mask[0] = False  # published blocks keep something
            dead[name] = mask
        first = model.backbone.stages[0].branches[0][0]
        k3, k5, _ = first.unit_groups().values()
        dead['backbone.stages.0.branches.0.0'][k3 : k3 + k5] = True
        shrink(model, dead)
        for buffer in model.buffers():
            if buffer.is_floating_point():
                buffer.data = torch.randn(buffer.shape)
    return model


def published_name(name: str) -> str:
    """The published name of one of our modules (spelled out, not derived from the tool)."""
    parts = name.split('.')
    match parts:
        case ['backbone', 'stem', index, layer]:
            return f'downsamples.{index}.{dict(conv=0, bn=1)[layer]}'
        case ['backbone', 'stages', stage, 'branches', branch, index]:
            return f'features.{2 * int(stage) + 1}.branches.{branch}.{index}'
        case ['backbone', 'stages', stage, 'fusion', 'paths', path]:
            into, out = path.split('to')
            tail = '' if into == out else '.0'
            return f'features.{2 * int(stage)}.fuse_layers.{out}.{into}{tail}'
        case ['backbone', 'stages', stage, 'fusion', 'new_branch']:
            out = int(stage)  # the stages here grow by one branch from the second one on
            return f'features.{2 * out}.fuse_layers.{out}.{out - 1}'
        case ['neck', 'block']:
            return 'transform'
        case ['neck', 'widen', index]:
            return f'features.6.incre_modules.{index}'
        case ['neck', 'down', index]:
            return f'features.6.downsamp_modules.{index}'
        case ['neck', 'final', layer]:
            return f'features.6.final_layer.{dict(conv=0, bn=1)[layer]}'
        case ['decode_head', 'conv_seg']:
            return 'classifier'
        case ['head', 'fc']:
            return 'classifier.1'
    raise AssertionError(name)


def published_mixer(mixer: TokenMixer) -> dict[str, torch.Tensor]:
    names = {
        'queries': 'query_embed.weight',
        'output_proj.weight': 'reverse_proj.weight',
        **{f'input_{n}': f'input_{n}' for n in ('proj.weight',)},
    }
    state, out = mixer.state_dict(), {}
    for layer, attention in (('encoder', 'self_attn'), ('decoder', 'multihead_attn')):
        ours = f'{layer}.attention'
        weights = [state.pop(f'{ours}.{part}.weight') for part in ('query', 'key', 'value')]
        out[f'{layer}.{attention}.in_proj_weight'] = torch.cat(weights)
        out[f'{layer}.{attention}.out_proj.weight'] = state.pop(f'{ours}.out.weight')
        out[f'{layer}.linear1.weight'] = state.pop(f'{layer}.feed_forward.0.weight')
        out[f'{layer}.linear2.weight'] = state.pop(f'{layer}.feed_forward.3.weight')
    for name, tensor in state.items():
        out[names.get(name, name.replace('output_norm', 'reverse_norm'))] = tensor
    return out


def publish(model: Net) -> dict[str, torch.Tensor]:
    """The state dict that the published code would have saved of the same network."""
    out: dict[str, torch.Tensor] = {}
    blocks = {n: m for n, m in model.named_modules() if type(m).__name__ == 'AtomicBlock'}
    for name, block in blocks.items():
        prefix, start, index = published_name(name), 0, 0
        for kernel, count in block.unit_groups().items():
            part, start = slice(start, start + count), start + count
            if not count:
                continue  # removed kernels are gone from the list, the others move up
            op, index = f'{prefix}.ops.{index}', index + 1
            out[f'{op}.0.0.weight'] = block.expand.weight[part]
            out[f'{op}.1.0.weight'] = block.depthwise[kernel].weight
            out[f'{op}.2.weight'] = block.project.weight[:, part]
            for ours, theirs in ((block.expand_bn, '0.1'), (block.depthwise_bn, '1.1')):
                for key, tensor in ours.state_dict().items():
                    out[f'{op}.{theirs}.{key}'] = tensor[part] if tensor.dim() else tensor
        if index:  # of an empty block nothing is left but its shortcut
            for key, tensor in block.project_bn.state_dict().items():
                out[f'{prefix}.pw_bn.{key}'] = tensor
        if isinstance(block.shortcut, TokenMixer):
            for key, tensor in published_mixer(block.shortcut).items():
                out[f'{prefix}.transformer.{key}'] = tensor
        elif isinstance(block.shortcut, nn.Conv2d):
            out[f'{prefix}.residual.weight'] = block.shortcut.weight
    inside = tuple(f'{name}.' for name in blocks)
    for name, tensor in model.state_dict().items():
        if not name.startswith(inside):
            module, _, leaf = name.rpartition('.')
            out[f'{published_name(module)}.{leaf}'] = tensor
    return {key: tensor.detach().clone() for key, tensor in out.items()}


def run(*args) -> subprocess.CompletedProcess:
    return subprocess.run(
        [sys.executable, TOOL, *map(str, args)], capture_output=True, text=True, check=False
    )


@pytest.fixture
def refuse(monkeypatch, capsys):
    """Run the command line within this process; returns what it says on its way out."""

    def run_main(*args) -> str:
        monkeypatch.setattr(sys, 'argv', ['reference2mm.py', *map(str, args)])
        with pytest.raises(SystemExit) as exit_:
            reference2mm.main()
        assert exit_.value.code == 2
        return capsys.readouterr().err

    return run_main


def assert_equal(ours, theirs) -> None:
    assert set(ours) == set(theirs)
    for name in ours:
        assert torch.equal(ours[name], theirs[name]), name


@pytest.mark.parametrize('task', ['seg', 'cls'])
@pytest.mark.parametrize('dead_share', [0, 0.4])
@pytest.mark.parametrize('tokens', [0, 5])
def test_roundtrip(task, dead_share, tokens) -> None:
    model = build(dead_share=dead_share, task=task, tokens=tokens)
    converted = reference2mm.convert(publish(model))
    assert_equal(converted, model.state_dict())
    fresh = Net(task, tokens)
    fresh.load_state_dict(converted)
    if dead_share:
        assert fresh.backbone.stages[0].branches[0][0].unit_groups()['k5'] == 0


def test_kernels_in_any_order() -> None:
    """The published order of a block's ops is that of its config; ours rises."""
    model = build(dead_share=0.3)
    published = publish(model)
    swap = {'ops.0.': 'ops.2.', 'ops.2.': 'ops.0.'}
    swapped = {}
    for key, tensor in published.items():
        if 'transform.ops' in key:
            for old, new in swap.items():
                if old in key:
                    key = key.replace(old, new)
                    break
        swapped[key] = tensor
    assert_equal(reference2mm.convert(swapped), model.state_dict())


def test_other_kernels_and_head() -> None:
    model = build(kernel_sizes=(3, 5))
    converted = reference2mm.convert(publish(model), (5, 3), 'head.final_layer')
    renamed = {
        name.replace('decode_head.conv_seg', 'head.final_layer'): tensor
        for name, tensor in model.state_dict().items()
    }
    assert_equal(converted, renamed)


def mask(published: dict, names: list[str]) -> dict[str, torch.Tensor]:
    """Put masks over some weights, the way torch.nn.utils.prune saves them."""
    masks = {name: (torch.rand(published[name].shape) < 0.5).float() for name in names}
    for name, keep in masks.items():
        published[f'{name}_orig'] = published.pop(name)
        published[f'{name}_mask'] = keep
    return masks


MASKED = [
    'downsamples.0.0.weight',
    'features.1.branches.0.0.ops.0.1.0.weight',
    'features.1.branches.0.0.ops.1.2.weight',
    'features.4.fuse_layers.0.1.0.residual.weight',
    'transform.ops.2.0.0.weight',
]


def test_command_line(tmp_path) -> None:
    model = build(dead_share=0.3)
    published = publish(model)
    expected = {name: published[name].clone() for name in MASKED}
    masks = mask(published, MASKED)
    src, dst = tmp_path / 'published.pt', tmp_path / 'ours.pth'
    torch.save(dict(model={f'module.{k}': v for k, v in published.items()}, epoch=3), src)
    done = run(src, dst)
    assert done.returncode == 0, done.stderr
    assert f'{len(published)} tensors -> {len(model.state_dict())} tensors' in done.stdout
    assert sorted(path.name for path in tmp_path.iterdir()) == ['ours.pth', 'published.pt']

    checkpoint = torch.load(dst, weights_only=True)
    assert checkpoint['meta'] == dict(source='published.pt')
    plain = publish(model)
    for name in MASKED:
        plain[name] = expected[name] * masks[name]
    assert_equal(checkpoint['state_dict'], reference2mm.convert(plain))
    fresh = Net()
    fresh.load_state_dict(checkpoint['state_dict'])
    keep = masks['downsamples.0.0.weight'].bool()
    assert not fresh.backbone.stem[0].conv.weight[~keep].any()
    assert torch.equal(fresh.backbone.stem[0].conv.weight[keep], expected[MASKED[0]][keep])


def test_command_line_options(tmp_path) -> None:
    model = build(kernel_sizes=(3, 5))
    src, dst = tmp_path / 'published.pt', tmp_path / 'ours.pth'
    torch.save(publish(model), src)
    done = run(src, dst, '--head', 'head.final_layer', '--kernel-sizes', 3, 5)
    assert done.returncode == 0, done.stderr
    state = torch.load(dst, weights_only=True)['state_dict']
    assert 'head.final_layer.weight' in state
    assert not any('k7' in name for name in state)


def test_missing_source(tmp_path, refuse) -> None:
    said = refuse(tmp_path / 'nowhere.pt', tmp_path / 'ours.pth')
    assert 'nowhere.pt is not a file' in said
    assert list(tmp_path.iterdir()) == []


def test_foreign_source(tmp_path, refuse) -> None:
    src = tmp_path / 'foreign.pt'
    torch.save(dict(state_dict={'layer1.0.conv1.weight': torch.ones(1)}), src)
    said = refuse(src, tmp_path / 'ours.pth')
    assert "foreign.pt: 'layer1.0.conv1.weight' is not a name of the published code" in said
    assert list(tmp_path.iterdir()) == [src]


@pytest.mark.parametrize(
    ('content', 'message'),
    [
        (None, 'is truncated'),
        ([torch.ones(99)], 'it holds no state dict'),
        (dict(model=None), 'it holds no state dict'),
        ({}, 'it holds no state dict'),
        (dict(epoch=3), "its entry 'epoch' is not a tensor"),
        ({0: torch.ones(1)}, 'its entry 0 is not a tensor'),
        ({'a.weight': torch.ones(1).to_sparse()}, "'a.weight' in it is a sparse tensor"),
        ({'a.weight': torch.ones(1).to('meta')}, "'a.weight' in it is a tensor without values"),
        ({'a.weight': torch.ones(1) / 0}, "'a.weight' in it has 1 values that are NaN or infinite"),
    ],
    ids=str,
)
def test_unreadable_source(tmp_path, refuse, content, message) -> None:
    src = tmp_path / 'foreign.pt'
    torch.save(content, src)
    if content is None:
        src.write_bytes(src.read_bytes()[:-200])
    said = refuse(src, tmp_path / 'ours.pth')
    assert f'foreign.pt: {message}' in said or f'foreign.pt {message}' in said
    assert list(tmp_path.iterdir()) == [src]


def test_the_source_is_never_replaced(tmp_path, refuse) -> None:
    src = tmp_path / 'published.pt'
    src.write_bytes(b'precious')
    (tmp_path / 'link.pth').symlink_to(src)
    for dst in (src, tmp_path / 'link.pth'):
        assert 'is read here' in refuse(src, dst, '--force')
    assert src.read_bytes() == b'precious'


def test_folder_of_the_result_is_missing(tmp_path, refuse) -> None:
    src = tmp_path / 'published.pt'
    torch.save(publish(build()), src)
    assert 'nowhere' in refuse(src, tmp_path / 'nowhere' / 'ours.pth')


@pytest.mark.parametrize(
    'key', ['features.0.unknown.0.weight', 'classifier.2.weight', 'transform', 'other.weight']
)
def test_unknown_names(key) -> None:
    with pytest.raises(KeyError, match=key.replace('.', r'\.')):
        reference2mm.convert({**publish(build()), key: torch.ones(1)})


def test_kernels_that_the_supernet_lacks() -> None:
    with pytest.raises(ValueError, match=r'kernel of size 7, .* \[3, 5\]: .*--kernel-sizes'):
        reference2mm.convert(publish(build()), (3, 5))


EMPTY = re.compile(
    r'backbone\.stages\.(0\.fusion\.paths\.0to0|1\.branches\.1\.\d|2\.branches\.2\.0)'
    r'|backbone\.stages\.2\.fusion\.(paths\.1to0|new_branch)|neck\.block|neck\.widen\.1'
)


def build_emptied(**kwargs) -> tuple[Net, list[str]]:
    """A network with empty blocks: whole branches, strided ones, with and without residual."""
    model = build(**kwargs)
    owners = find_owners(model)
    emptied = [name for name in owners if EMPTY.fullmatch(name)]
    shrink(model, {name: torch.ones_like(owners[name].unit_bn.weight).bool() for name in emptied})
    return model, emptied


@pytest.mark.parametrize(('task', 'count'), [('seg', 7), ('cls', 7)])
def test_blocks_that_the_search_emptied(task, count) -> None:
    """The published code keeps neither ops nor norm of such a block: it is its shortcut."""
    model, emptied = build_emptied(task=task)
    assert len(emptied) == count
    converted = reference2mm.convert(publish(model), supernet=build(5, task=task))
    norms = tuple(f'{name}.project_bn.' for name in emptied)
    ours = Net(task)
    ours.load_state_dict(converted)
    for name, tensor in ours.state_dict().items():
        assert name.startswith(norms) or torch.equal(tensor, model.state_dict()[name]), name
    for name in emptied:
        block = ours.get_submodule(name).eval()
        assert sum(block.unit_groups().values()) == 0
        x = torch.randn(1, block.in_channels, 8, 8)
        assert torch.equal(block(x), block.shortcut(x)), name


def test_emptied_block_without_the_supernet() -> None:
    model, _ = build_emptied()
    with pytest.raises(ValueError, match=r"'backbone\.stages\.2\.fusion\.paths\.1to0'.*--config"):
        reference2mm.convert(publish(model))


CONFIG = """
default_scope = 'mmseg'
custom_imports = dict(imports=['st_mm'])
model = dict(
    type='EncoderDecoder',
    backbone=dict(type='HRSupernet', **{small}),
    neck=dict(type='HRFusionNeck', in_channels=(4, 6, 8), out_channels=7, expand_ratio=1),
    decode_head=dict(
        type='FCNHead', in_channels=7, channels=7, num_convs=0, concat_input=False, num_classes=3
    ),
    test_cfg=dict(mode='whole'),
)
"""


def test_command_line_with_a_config(tmp_path) -> None:
    model, _ = build_emptied()
    src, dst, config = (tmp_path / name for name in ('a.pt', 'b.pth', 'c.py'))
    torch.save(publish(model), src)
    config.write_text(CONFIG.format(small=SMALL))
    done = run(src, dst, '--config', config)
    assert done.returncode == 0, done.stderr
    Net().load_state_dict(torch.load(dst, weights_only=True)['state_dict'])


def test_missing_config(tmp_path, refuse) -> None:
    src = tmp_path / 'published.pt'
    torch.save(publish(build()), src)
    said = refuse(src, tmp_path / 'ours.pth', '--config', tmp_path / 'nowhere.py')
    assert 'nowhere.py is not a file' in said


def test_source_is_left_alone() -> None:
    published = publish(build())
    mask(published, MASKED)
    before = {key: tensor.clone() for key, tensor in published.items()}
    converted = reference2mm.convert(published)
    for tensor in converted.values():
        tensor.zero_()
    assert_equal(published, before)

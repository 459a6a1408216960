"""Convert a state dict of the published SuperTickets code to the names of st_mm."""

import argparse
import re
import sys
from collections import defaultdict
from collections.abc import Iterable, Mapping
from pathlib import Path

import torch
from torch import Tensor

Converted = dict[str, Tensor]

# published name -> ours, tried in this order; each applies to the whole key
_LAYERS = [
    (r'downsamples\.(\d+)\.0\.', r'backbone.stem.\1.conv.'),
    (r'downsamples\.(\d+)\.1\.', r'backbone.stem.\1.bn.'),
    (r'features\.\d+\.incre_modules\.', 'neck.widen.'),
    (r'features\.\d+\.downsamp_modules\.', 'neck.down.'),
    (r'features\.\d+\.final_layer\.0\.', 'neck.final.conv.'),
    (r'features\.\d+\.final_layer\.1\.', 'neck.final.bn.'),
    (r'transform\.', 'neck.block.'),
]
_BLOCK = [
    (r'\.pw_bn\.', '.project_bn.'),
    (r'\.residual\.', '.shortcut.'),
    (r'\.transformer\.', '.shortcut.'),
    (r'\.query_embed\.weight$', '.queries'),
    (r'\.reverse_(proj|norm)\.', r'.output_\1.'),
    (r'\.(?:self|multihead)_attn\.out_proj\.', '.attention.out.'),
    (r'\.(?:self|multihead)_attn\.in_proj_weight$', '.attention.in_proj_weight'),
    (r'\.linear1\.', '.feed_forward.0.'),
    (r'\.linear2\.', '.feed_forward.3.'),
]
# position in one of the parallel ops -> our layer, and the dimension its units run over
_OP_LAYERS = {'0.0': 'expand', '0.1': 'expand_bn', '1.1': 'depthwise_bn', '2': 'project'}


def convert(
    published: Mapping[str, Tensor],
    kernel_sizes: Iterable[int] = (3, 5, 7),
    head: str = 'decode_head.conv_seg',
) -> Converted:
    """Rename and regroup the tensors of the published code.

    The parallel ops of a block become one expand and one project convolution; kernels that the
    search removed become convolutions without filters; masks are multiplied in.

    Args:
        published (Mapping[str, Tensor]): Its state dict.
        kernel_sizes (Iterable[int]): Kernels of the supernet. Defaults to (3, 5, 7).
        head (str): Our name for the classifier of a dense task. Defaults to mmseg's; mmpose:
            ``'head.final_layer'``. An image classifier becomes ``'head.fc'``.

    Returns:
        dict[str, Tensor]: State dict of the mm model.

    Raises:
        KeyError: If a name is not one of the published code.
    """
    published = _apply_masks(published)
    branches = _branches_per_stage(published)
    converted: Converted = {}
    ops: dict[str, dict[int, Converted]] = defaultdict(lambda: defaultdict(dict))
    for key, tensor in published.items():
        name = _rename(key, branches, head)
        if in_op := re.fullmatch(r'(.*)\.ops\.(\d+)\.(.*)', name):
            block, index, rest = in_op.groups()
            ops[block][int(index)][rest] = tensor
        elif name.endswith('.in_proj_weight'):
            stem = name.removesuffix('in_proj_weight')
            for part, chunk in zip(('query', 'key', 'value'), tensor.chunk(3), strict=True):
                converted[f'{stem}{part}.weight'] = chunk.clone()
        else:
            converted[name] = tensor.clone()
    for block, parallel in ops.items():
        merged = _merge_ops([parallel[i] for i in sorted(parallel)], sorted(kernel_sizes))
        converted |= {f'{block}.{name}': tensor for name, tensor in merged.items()}
    return converted


def _apply_masks(published: Mapping[str, Tensor]) -> Converted:
    """Replace each ``weight_orig`` and ``weight_mask`` by their product."""
    masks = {k.removesuffix('_mask'): v for k, v in published.items() if k.endswith('_mask')}
    applied = {}
    for key, tensor in published.items():
        if key.endswith('_mask'):
            continue
        name = key.removesuffix('_orig')
        applied[name] = tensor * masks[name] if name in masks else tensor
    return applied


def _branches_per_stage(published: Mapping[str, Tensor]) -> list[int]:
    """Number of parallel branches behind each fusion."""
    found: dict[int, int] = {}
    for key in published:
        if match := re.match(r'features\.(\d+)\.branches\.(\d+)\.', key):
            stage, branch = int(match[1]) // 2, int(match[2])
            found[stage] = max(found.get(stage, 0), branch + 1)
    return [found[stage] for stage in sorted(found)]


def _rename(key: str, branches: list[int], head: str) -> str:
    """Our name of a tensor; names inside parallel ops keep their tail."""
    if match := re.fullmatch(r'classifier\.(1\.)?(weight|bias)', key):
        return f'head.fc.{match[2]}' if match[1] else f'{head}.{match[2]}'
    if match := re.match(r'features\.(\d+)\.branches\.(\d+)\.(\d+)\.', key):
        name = f'backbone.stages.{int(match[1]) // 2}.branches.{match[2]}.{match[3]}.'
    elif match := re.match(r'features\.(\d+)\.fuse_layers\.(\d+)\.(\d+)\.(?:0\.)?', key):
        stage, out, into = int(match[1]) // 2, int(match[2]), int(match[3])
        inputs = branches[stage - 1] if stage else 1
        path = f'paths.{into}to{out}.' if out < inputs else 'new_branch.'
        name = f'backbone.stages.{stage}.fusion.{path}'
    else:
        for pattern, ours in _LAYERS:
            if match := re.match(pattern, key):
                name = match.expand(ours)
                break
        else:
            raise KeyError(f"'{key}' is not a name of the published code")
    name += key[match.end() :]
    for pattern, ours in _BLOCK:
        name = re.sub(pattern, ours, name)
    return name


def _merge_ops(ops: list[Converted], kernel_sizes: list[int]) -> Converted:
    """Join the parallel ops of a block, in the order of their kernels."""
    ops = sorted(ops, key=lambda op: op['1.0.weight'].shape[-1])
    merged: Converted = {f'depthwise.k{k}.weight': torch.zeros(0, 1, k, k) for k in kernel_sizes}
    for op in ops:
        filters = op['1.0.weight']
        merged[f'depthwise.k{filters.shape[-1]}.weight'] = filters.clone()
    for rest in ops[0]:
        layer, _, leaf = rest.rpartition('.')
        if layer == '1.0':
            continue
        parts = [op[rest] for op in ops]
        dim = 1 if layer == '2' else 0
        merged[f'{_OP_LAYERS[layer]}.{leaf}'] = (
            torch.cat(parts, dim) if parts[0].dim() else parts[0].clone()
        )
    return merged


def main() -> int:
    """Run the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('src', type=Path, help='checkpoint or state dict of the published code')
    parser.add_argument('dst', type=Path, help='where to save the converted checkpoint')
    parser.add_argument(
        '--head',
        default='decode_head.conv_seg',
        help="our name of a dense task's classifier; mmpose: head.final_layer (default: mmseg's)",
    )
    parser.add_argument(
        '--kernel-sizes', type=int, nargs='+', default=[3, 5, 7], help='kernels of the supernet'
    )
    args = parser.parse_args()
    if not args.src.is_file():
        parser.error(f'{args.src} is not a file')
    checkpoint = torch.load(args.src, map_location='cpu', weights_only=True)
    for wrapping in ('model', 'state_dict'):
        checkpoint = checkpoint.get(wrapping, checkpoint)
    published = {key.removeprefix('module.'): value for key, value in checkpoint.items()}
    try:
        converted = convert(published, args.kernel_sizes, args.head)
    except KeyError as error:
        parser.error(f'{args.src}: {error.args[0]}')
    partial = args.dst.with_name(args.dst.name + '.part')
    torch.save(dict(meta=dict(source=args.src.name), state_dict=converted), partial)
    partial.replace(args.dst)
    print(f'{len(published)} tensors -> {len(converted)} tensors in {args.dst}')
    return 0


if __name__ == '__main__':
    sys.exit(main())

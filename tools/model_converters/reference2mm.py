"""Convert a state dict of the published SuperTickets code to the names of st_mm."""

import argparse
import copy
import io
import re
import sys
from collections import defaultdict
from collections.abc import Iterable, Mapping
from pathlib import Path

import torch
from mmengine.config import Config
from torch import Tensor, nn

from st_mm.analysis.checkpoints import build_model
from st_mm.files import check_checkpoint, check_output, write_atomically
from st_mm.models import AtomicBlock
from st_mm.printable import reason
from st_mm.tensors import check_dense, check_finite
from st_mm.units.loading import set_widths

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
    supernet: nn.Module | None = None,
) -> Converted:
    """Rename and regroup the tensors of the published code.

    The parallel ops of a block become one expand and one project convolution; kernels that the
    search removed become convolutions without filters; masks are multiplied in. Of a block that
    the search emptied the published code keeps the residual convolution at most: such blocks take
    their shapes from ``supernet``.

    Args:
        published (Mapping[str, Tensor]): Its state dict.
        kernel_sizes (Iterable[int]): Kernels of the supernet. Defaults to (3, 5, 7).
        head (str): Our name for the classifier of a dense task. Defaults to mmseg's; mmpose:
            ``'head.final_layer'``. An image classifier becomes ``'head.fc'``.
        supernet (nn.Module, optional): The mm model before any search, needed where blocks are
            empty. Defaults to None.

    Returns:
        dict[str, Tensor]: State dict of the mm model.

    Raises:
        KeyError: If a name is not one of the published code.
        ValueError: If a kernel is not one of the supernet's, or a block is empty and there is no
            ``supernet``.
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
        merged = _merge_ops(block, [parallel[i] for i in sorted(parallel)], sorted(kernel_sizes))
        converted |= {f'{block}.{name}': tensor for name, tensor in merged.items()}
    if supernet is not None:
        return converted | _emptied_blocks(converted, supernet)
    for name in converted:
        block, is_shortcut, _ = name.partition('.shortcut.')
        if is_shortcut and f'{block}.project_bn.weight' not in converted:
            raise ValueError(
                f"the search emptied the block '{block}', so its shapes are not in the checkpoint: "
                'give --config, the config of the supernet'
            )
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


def _branches_per_stage(published: Mapping[str, Tensor]) -> dict[int, int]:
    """Number of parallel branches after each fusion.

    Every branch but the first has a stride-2 path into it, which keeps its residual convolution
    even if the search emptied all of the branch.
    """
    found: dict[int, int] = defaultdict(lambda: 1)
    for key in published:
        if match := re.match(r'features\.(\d+)\.fuse_layers\.(\d+)\.', key):
            stage, branch = int(match[1]) // 2, int(match[2])
            found[stage] = max(found[stage], branch + 1)
    return found


def _rename(key: str, branches: Mapping[int, int], head: str) -> str:
    """Our name of a tensor; names inside parallel ops keep their tail."""
    if match := re.fullmatch(r'classifier\.(1\.)?(weight|bias)', key):
        return f'head.fc.{match[2]}' if match[1] else f'{head}.{match[2]}'
    if match := re.match(r'features\.(\d+)\.branches\.(\d+)\.(\d+)\.', key):
        name = f'backbone.stages.{int(match[1]) // 2}.branches.{match[2]}.{match[3]}.'
    elif match := re.match(r'features\.(\d+)\.fuse_layers\.(\d+)\.(\d+)\.(?:0\.)?', key):
        stage, out, into = int(match[1]) // 2, int(match[2]), int(match[3])
        inputs = branches[stage - 1]
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


def _merge_ops(block: str, ops: list[Converted], kernel_sizes: list[int]) -> Converted:
    """Join the parallel ops of a block, in the order of their kernels."""
    ops = sorted(ops, key=lambda op: op['1.0.weight'].shape[-1])
    merged: Converted = {f'depthwise.k{k}.weight': torch.zeros(0, 1, k, k) for k in kernel_sizes}
    for op in ops:
        filters = op['1.0.weight']
        kernel = filters.shape[-1]
        if kernel not in kernel_sizes:
            raise ValueError(
                f"the block '{block}' has a kernel of size {kernel}, and the supernet is said to "
                f'have {kernel_sizes}: give all with --kernel-sizes'
            )
        merged[f'depthwise.k{kernel}.weight'] = filters.clone()
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


def _emptied_blocks(converted: Converted, supernet: nn.Module) -> Converted:
    """Tensors of the blocks that are not in ``converted``: no unit, and a norm that gives 0."""
    emptied: Converted = {}
    for name, block in supernet.named_modules():
        if not isinstance(block, AtomicBlock) or f'{name}.project_bn.weight' in converted:
            continue
        block = copy.deepcopy(block)
        set_widths(block, dict.fromkeys(block.unit_groups(), 0))
        block.project_bn.reset_parameters()
        for key, tensor in block.state_dict().items():
            if not key.startswith('shortcut.'):
                emptied[f'{name}.{key}'] = tensor
    return emptied


def _read(path: Path) -> Converted:
    """Read the state dict of a checkpoint, without the names that wrappers add."""
    check_checkpoint(path)
    try:
        checkpoint = torch.load(path, map_location='cpu', weights_only=True)
    except Exception as error:  # whatever the unpickler meets
        raise ValueError(f'it cannot be read as a checkpoint: {reason(error)}') from error
    for wrapping in ('model', 'state_dict'):
        if isinstance(checkpoint, dict):
            checkpoint = checkpoint.get(wrapping, checkpoint)
    if not isinstance(checkpoint, dict) or not checkpoint:
        raise ValueError('it holds no state dict')
    for key, tensor in checkpoint.items():
        if not isinstance(key, str) or not torch.is_tensor(tensor):
            raise ValueError(f'its entry {key!r} is not a tensor of a state dict')
    check_dense(checkpoint, 'it')
    check_finite(checkpoint, 'it')
    return {key.removeprefix('module.'): tensor for key, tensor in checkpoint.items()}


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
    parser.add_argument(
        '--config', type=Path, help='config of the supernet; needed if the search emptied a block'
    )
    parser.add_argument('--force', action='store_true', help='overwrite dst')
    args = parser.parse_args()
    for path in filter(None, (args.src, args.config)):
        if not path.is_file():
            parser.error(f'{path} is not a file')
    if not args.dst.parent.is_dir():
        parser.error(f'{args.dst.parent} is not a folder')
    try:
        check_output(args.dst, [args.src, args.config], args.force)
    except OSError as error:
        parser.error(str(error))
    supernet = build_model(Config.fromfile(args.config)) if args.config else None
    try:
        published = _read(args.src)
        converted = convert(published, args.kernel_sizes, args.head, supernet)
    except (KeyError, ValueError) as error:
        parser.error(f'{args.src}: {error.args[0]}')
    file = io.BytesIO()
    torch.save(dict(meta=dict(source=args.src.name), state_dict=converted), file)
    write_atomically(args.dst, file.getvalue())
    print(f'{len(published)} tensors -> {len(converted)} tensors in {args.dst}')
    return 0


if __name__ == '__main__':
    sys.exit(main())

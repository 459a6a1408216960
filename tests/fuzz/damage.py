"""Damage to checkpoints, drawn at random: of the bytes, and of what they say."""

import ast
import io
import os
import random
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from mmengine.logging import HistoryBuffer

Content = dict[str, Any]
CANARY = 'canary'  # a file in the current folder: there if code of a checkpoint has run

# values that have no place in any entry of a checkpoint
WRONG: tuple[Any, ...] = (
    'text', -1, 2**70, float('nan'), [], [None], {}, (1, 2), b'bytes', {'a': {}},
    torch.ones(3).to_sparse(), torch.ones(2, device='meta'), '\x1b[2J\0', True, {1, 2},
)  # fmt: skip


def bytes_of(content: Any) -> bytes:
    file = io.BytesIO()
    torch.save(content, file)
    return file.getvalue()


def damage_bytes(data: bytes, draw: random.Random) -> tuple[str, bytes]:
    """Flip, cut, blank or repeat a part."""
    at, kind = draw.randrange(len(data)), draw.choice(('flip', 'cut', 'blank', 'repeat', 'random'))
    size = draw.choice((1, 8, 64, 1024))
    changed = bytearray(data)
    if kind == 'flip':
        changed[at] ^= 1 << draw.randrange(8)
    elif kind == 'cut':
        del changed[at:]
    elif kind == 'blank':
        changed[at : at + size] = bytes(len(changed[at : at + size]))
    elif kind == 'repeat':
        changed[at:at] = changed[at : at + size]
    else:
        changed[at : at + size] = draw.randbytes(len(changed[at : at + size]))
    return f'{kind} of {size} at {at}', bytes(changed)


def damage_content(content: Content, draw: random.Random) -> str:
    """Change one entry, anywhere; what was done."""
    node: Any = content
    path = []
    while True:
        keys = list(node) if isinstance(node, dict) else list(range(len(node)))
        key = draw.choice(keys)
        path.append(key)
        child = node[key]
        deeper = isinstance(child, dict | list) and len(child)
        if not deeper or draw.random() < 0.3:
            break
        node = child
    where = '/'.join(map(str, path))
    if isinstance(node, dict) and isinstance(key, str) and draw.random() < 0.1:
        node['\x1b[2J' + key] = node.pop(key)
        return f'another name for {where}'
    if draw.random() < 0.3:
        del node[key]
        return f'without {where}'
    if torch.is_tensor(child) and draw.random() < 0.7:
        name, changed = draw.choice(tuple(damaged_tensors(child).items()))
        node[key] = changed
        return f'{name} for {where}'
    value = draw.choice([w for w in WRONG if type(w) is not type(child)])
    node[key] = value
    return f'{type(value).__name__} for {where}'


def damaged_tensors(tensor: torch.Tensor) -> dict[str, Any]:
    """What may stand in place of a tensor."""
    return dict(
        numpy=tensor.numpy(),
        list=tensor.tolist(),
        integers=tensor.to(torch.int16),
        bools=tensor.bool(),
        sparse=tensor.to_sparse() if tensor.dim() else None,
        meta=tensor.to('meta'),
        complex=tensor.to(torch.complex64),
        longer=torch.cat([tensor.flatten(), tensor.flatten(), torch.ones(1, dtype=tensor.dtype)]),
        nan=torch.full(tensor.shape or (1,), float('nan')),
        infinite=torch.full(tensor.shape or (1,), float('inf')),
        empty=tensor.new_zeros(0),
        expanded=torch.ones(1).expand(7),
    )


class Reduced:
    """Pickles as a call of whatever it is given."""

    def __init__(self, function: Callable, *arguments: Any, state: Any = None) -> None:
        self.reduced = (function, arguments) if state is None else (function, arguments, state)

    def __reduce__(self) -> tuple:
        return self.reduced


RECONSTRUCT = np.empty(0).__reduce__()[0]
SCALAR = np.float64(0).__reduce__()[0]


def hostile(draw: random.Random) -> tuple[str, Any]:
    """An object whose reading would run code, reach memory, or change the process."""
    code = f'open({CANARY!r}, "w")'
    size = draw.choice((0, 1, 7, 8, 9, 800))
    shape = draw.choice(((1,), (0,), (2**62, 4), (-1,), (1,) * 70, (10**9,)))
    kind = draw.choice(('f8', 'i4', 'O', 'V8', 'U2', 'M8[s]', 'f8,i4'))
    array = Reduced(RECONSTRUCT, np.ndarray, (0,), b'b',
                    state=(1, shape, np.dtype(kind), draw.random() < 0.5, b'A' * size))  # fmt: skip
    choices = dict(
        eval=Reduced(eval, code),
        exec=Reduced(exec, code),
        system=Reduced(os.system, f'touch {CANARY}'),
        open=Reduced(open, CANARY, 'w'),
        getattr=Reduced(getattr, HistoryBuffer, draw.choice(('__init__', '__dict__', 'mro'))),
        getattr_of_array=Reduced(getattr, np.ndarray, 'tofile'),
        pointer=Reduced(np.ndarray, shape, kind, b'A' * size),
        dtype=Reduced(np.dtype, kind, state=(3, '<', None, ('a',), {'a': (np.dtype('f8'), 99)},
                                             draw.choice((-1, 8, 2**31)), -1, 0)),
        array=array,
        scalar=Reduced(SCALAR, np.dtype(kind), b'A' * size),
        load=Reduced(torch.load, CANARY),
        history=Reduced(HistoryBuffer, [1.0], [1, 2]),
        path=Path(CANARY),
    )  # fmt: skip
    return draw.choice(tuple(choices.items()))


def damage_text(text: str, draw: random.Random) -> tuple[str, str]:
    """Change one value in a config's text, and keep it plain values."""
    tree = ast.parse(text)
    values = [node for node in ast.walk(tree) if isinstance(node, ast.Constant | ast.List)]
    node = draw.choice([*values, *(k for k in ast.walk(tree) if isinstance(k, ast.keyword))])
    old = ast.unparse(node)
    if isinstance(node, ast.keyword):
        node.arg = 'another'
        return f'another name for {old} in the config', ast.unparse(tree)
    value = draw.choice((None, -1, 'x', '\x1b[2J', [], {}, (1, 2), {'type': 'x'}, 2**70, True))
    new = ast.parse(repr(value), mode='eval').body
    node.__class__, node.__dict__ = type(new), dict(vars(new))
    return f'{value!r} for {old} in the config', ast.unparse(ast.fix_missing_locations(tree))


KINDS = ('bytes', 'content', 'content', 'content', 'hostile', 'config', 'text', 'zip')


def damage(
    content_of: Callable[[], Content], draw: random.Random, folder: Path
) -> tuple[str, Path]:
    """Write one damaged checkpoint; what was done to it, and where it is."""
    path = folder / 'damaged.pth'
    kind = draw.choice(KINDS)
    content = content_of()
    if kind == 'bytes':
        done, data = damage_bytes(bytes_of(content), draw)
        path.write_bytes(data)
        return done, path
    if kind == 'content':
        done = damage_content(content, draw)
    elif kind == 'hostile':
        done, value = hostile(draw)
        entry = draw.choice(('meta', 'message_hub', 'state_dict', 'optimizer'))
        content[entry]['x'] = value
        done = f'hostile {done} in {entry}'
    elif kind == 'text':
        done, content['meta']['cfg'] = damage_text(content['meta']['cfg'], draw)
    elif kind == 'config':
        entry = draw.choice(('config', 'cfg'))
        code = f'open({CANARY!r}, "w")'
        types = ('builtins.open', 'os.system', 'mmengine.dump')
        content['meta'][entry] = draw.choice((
            code, f'a = {code}', f'import os\nos.system("touch {CANARY}")',
            *(f'model = dict(type={t!r}, file={CANARY!r}, mode="w", command="touch {CANARY}", '
              f'obj=1, file_format="json")' for t in types),
        ))  # fmt: skip
        done = f'code in {entry}'
    else:
        data = bytes_of(content)
        with zipfile.ZipFile(io.BytesIO(data)) as old, zipfile.ZipFile(path, 'w') as new:
            names = old.namelist()
            # not of a tensor: with a checksum of its own that is another file, and a whole one
            victim = draw.choice([name for name in names if '/data/' not in name])
            for name in names:
                entry_data = old.read(name)
                if name == victim:
                    _, entry_data = damage_bytes(entry_data or b'x', draw)
                new.writestr(name, entry_data)
        return f'archive anew with damage in {victim}', path
    path.write_bytes(bytes_of(content))
    return done, path

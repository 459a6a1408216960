"""List what pruning finds in every backbone and head that mmseg, mmpose and mmpretrain register.

python tools/analysis/walk_registries.py docs/prunable.md --force
"""

import argparse
import contextlib
import gc
import importlib
import inspect
import io
import json
import logging
import re
import sys
import time
import warnings
from collections.abc import Iterator
from pathlib import Path
from textwrap import shorten
from typing import Any, NamedTuple

from mmengine import Config, ConfigDict
from mmengine.model import weight_init
from mmengine.registry import DefaultScope
from torch import nn

import st_mm  # noqa: F401 - the runtime fixes
from st_mm.files import check_output, write_atomically
from st_mm.prune import survey

LIBRARIES = ('mmseg', 'mmpose', 'mmpretrain')
PLACES = dict(backbone=r'\.models\.backbones\.', head=r'\.models\.(decode_heads|heads)\.')
SMALL = re.compile(r'r18|r-?50|tiny|small|[-_](s|t|b0)[-_]|w18|w32')  # they are soon built
TRIES = 3  # configs of a class that are tried until one builds
# arguments of backbones that no config of the zoo names, and that have no defaults
ARGUMENTS: dict[str, dict[str, Any]] = {
    'mmseg.ResNeXt': dict(depth=50),
    'mmseg.ResNetV1d': dict(depth=50),
    'mmpose.RegNet': dict(arch='regnetx_400mf'),
    'mmpose.SEResNeXt': dict(depth=50),
    'mmpose.CSPNeXt': {},
    'mmpose.V2VNet': dict(input_channels=15, output_channels=15),
}
# heads without a classifier, and why
SPARK = 'SparKPretrainHead'
WITHOUT = {
    **dict.fromkeys(
        ('ContrastiveHead', 'LatentCrossCorrelationHead', 'LatentPredictHead', 'MoCoV3Head'),
        'none: compares features of two views',
    ),
    'SwAVHead': 'none: the prototypes are in the loss',
    **dict.fromkeys(
        ('CAEHead', 'MAEPretrainHead', 'MIMHead', 'MixMIMPretrainHead', 'SimMIMHead', SPARK),
        'none: reconstructs the picture or its features',
    ),
    'SideAdapterCLIPHead': 'none: compares with embeddings of text, which are frozen',
}
INTRO = """# What pruning finds in the libraries

Every backbone and head that mmseg, mmpose and mmpretrain register, in the first config of the
library's own zoo that names it and can be built here (CPU, mmcv-lite, nothing downloaded). Made by
`python tools/analysis/walk_registries.py docs/prunable.md --force` in about ten minutes;
`tests/tools/test_walk_registries.py` checks that every class has its row, and builds some again.

- **config**: where no config names a class, it is built with its defaults.
- **prunable**: weights that pruning may mask, as a share of all parameters of the backbone, or
  of the whole model around a head.
- **classifier**: layers that stay dense since they give the prediction. Found by running the model
  on shapes (`st_mm/prune/classifier.py`), or by name. A backbone alone has none.
- **left out**: weights of layers that stay dense for another reason: they do not train (frozen),
  or their zeros do not reach the kernel (reparametrized).

"""


class Row(NamedTuple):
    """What is found for one class."""

    library: str
    kind: str
    name: str
    config: str
    prunable: str
    classifier: str
    left_out: str


def registered(library: str) -> dict[str, tuple[str, str]]:
    """Kind and qualified name of each class that a library registers, by its short name."""
    for part in ('models', 'models.backbones', 'models.heads', 'models.decode_heads'):
        with contextlib.suppress(ImportError):
            importlib.import_module(f'{library}.{part}')
    registry = importlib.import_module(f'{library}.registry').MODELS
    found = {}
    for name, entry in registry.module_dict.items():
        for kind, place in PLACES.items():
            module = getattr(entry, '__module__', '')
            if inspect.isclass(entry) and re.search(f'^{library}{place}', f'{module}.'):
                found[name] = (kind, f'{module}.{entry.__qualname__}')
    return dict(sorted(found.items(), key=lambda item: (item[1][0], item[0])))


def zoo(library: str) -> Path:
    """Folder of a library's own configs."""
    package = importlib.import_module(library)
    return Path(str(package.__file__)).parent / '.mim' / 'configs'


def configs_of(library: str, names: list[str]) -> dict[str, list[Path]]:
    """Configs that name a class, the shortest file names first, by class."""
    folder = zoo(library)
    texts = {p: p.read_text() for p in sorted(folder.rglob('*.py')) if '_base_' not in p.parts}
    bases = {p: p.read_text() for p in sorted((folder / '_base_').rglob('*.py'))}
    found = {}
    for name in names:
        named = re.compile(rf"type=\s*'(?:\w+\.)?{name}'")
        holders = [f"/{path.name}'" for path, text in bases.items() if named.search(text)]
        direct = [path for path, text in texts.items() if named.search(text)]
        through = [p for p, text in texts.items() if any(holder in text for holder in holders)]
        key = lambda path: (not SMALL.search(path.name), len(path.name), path.name)  # noqa: E731
        found[name] = sorted(direct, key=key) + sorted(set(through) - set(direct), key=key)
    return found


def without_weights(config: Any) -> Any:
    """A config that loads nothing from elsewhere."""
    if isinstance(config, dict):
        return {k: without_weights(v) for k, v in config.items() if k != 'init_cfg'}
    if isinstance(config, (list, tuple)):
        return type(config)(without_weights(value) for value in config)
    return config


def part_of(config: Any, name: str) -> Iterator[dict[str, Any]]:
    """Yield the parts of a config that build a class."""
    if isinstance(config, dict):
        if str(config.get('type')).rpartition('.')[2] == name:
            yield config
        for value in config.values():
            yield from part_of(value, name)
    elif isinstance(config, (list, tuple)):
        for value in config:
            yield from part_of(value, name)


@contextlib.contextmanager
def uninitialized() -> Iterator[None]:
    """Leave new tensors as they are: shapes are all that is looked at, and large ones take long."""
    kept = [
        (module, name, function)
        for module in (nn.init, weight_init)
        for name, function in vars(module).items()
        if name.endswith('_') and not name.startswith('__')
    ]
    try:
        for module, name, _ in kept:
            setattr(module, name, lambda tensor, *_, **__: tensor)
        yield
    finally:
        for module, name, function in kept:
            setattr(module, name, function)


def look(library: str, kind: str, name: str, path: Path | None) -> Row:
    """Build the model of a config and see what pruning finds in the part of a class."""
    config = ConfigDict(type=name, **ARGUMENTS.get(f'{library}.{name}', {}))
    if path is not None:
        config = ConfigDict(without_weights(Config.fromfile(path).model.to_dict()))
        config.pop('pretrained', None)
    if kind == 'backbone':
        config = next(part_of(config, name))
    registry = importlib.import_module(f'{library}.registry').MODELS
    with DefaultScope.overwrite_default_scope(library), uninitialized():
        model = registry.build(config)
    target = registry.module_dict[name]
    parts = [n for n, module in model.named_modules() if type(module) is target]
    if not parts:
        raise ValueError('the config builds another class')
    model.train()
    found = survey(model)
    total = sum(parameter.numel() for parameter in model.parameters())
    prunable = sum(weight.numel() for weight in found.prunable.values())
    inside = tuple(f'{n}.' if n else '' for n in parts)
    classifier = [n for n in found.classifier if n.startswith(inside)]
    classifier = classifier or list(found.classifier)
    left = []
    for reason, part in (('frozen', found.frozen), ('reparametrized', found.unreached)):
        sizes = [weight.numel() for weight in part.values()]
        if sizes:
            left.append(f'{len(sizes)} {reason} ({100 * sum(sizes) / total:.1f} %)')
    return Row(
        library,
        kind,
        name,
        path.relative_to(zoo(library)).as_posix() if path else 'no config',
        f'{100 * prunable / max(total, 1):.1f} %',
        short(classifier) or WITHOUT.get(name, ''),
        ', '.join(left),
    )


def short(names: list[str]) -> str:
    """Names of weights with their numbers joined: ``heads.{0-3}.fc``."""
    stems: dict[str, list[str]] = {}
    for name in names:
        stem = re.sub(r'\.\d+(?=\.)', '.#', name.removesuffix('.weight'))
        stems.setdefault(stem, []).append(name)
    return ', '.join(f'`{s}`' + (f' x{len(n)}' if len(n) > 1 else '') for s, n in stems.items())


def walk(library: str, only: list[str] | None = None) -> Iterator[Row]:
    """Look at every class that a library registers, or at some."""
    classes = registered(library)
    if only is not None:
        classes = {name: entry for name, entry in classes.items() if name in only}
    paths = configs_of(library, list(classes))
    for name, (kind, _) in classes.items():
        row = Row(library, kind, name, '', 'not built', '', 'no config of the zoo names it')
        tries: list[Path | None] = list(paths[name][:TRIES])
        if f'{library}.{name}' in ARGUMENTS or not tries:
            tries = [None] * (kind == 'backbone')
        for path in tries:
            try:
                with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()):
                    warnings.simplefilter('ignore')
                    row = look(library, kind, name, path)
                break
            except (Exception, StopIteration) as error:
                text = ' '.join(str(error).split()) or type(error).__name__
                why = f'{path.stem if path else "no config"}: {shorten(text, 120)}'
                row = row._replace(left_out=why.replace('|', '/').replace('__', r'\_\_'))
            finally:
                gc.collect()
        yield row


def markdown(rows: list[Row]) -> str:
    """The page of the docs."""
    lines = [INTRO]
    for kind in PLACES:
        lines.append(f'## {kind.capitalize()}s\n')
        lines.append('| library | class | config | prunable | classifier | left out |')
        lines.append('|---|---|---|---|---|---|')
        for row in rows:
            if row.kind == kind:
                cells = (row.library, row.name, row.config, *row[4:])
                lines.append('| ' + ' | '.join(cells) + ' |')
        lines.append('')
    return '\n'.join(lines)


def main() -> int:
    """Run the command line; return the exit code."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument('target', type=Path, help='the Markdown file to write')
    parser.add_argument('--library', choices=LIBRARIES, nargs='+', default=list(LIBRARIES))
    parser.add_argument('--json', type=Path, help='rows as they come; those in it are kept')
    parser.add_argument('--force', action='store_true', help='overwrite the file')
    options = parser.parse_args()
    try:
        check_output(options.target, force=options.force)
    except OSError as error:
        parser.error(str(error))
    logging.disable(logging.WARNING)
    known = json.loads(options.json.read_text()) if options.json and options.json.exists() else []
    rows = [Row(*entry) for entry in known]
    for library in options.library:
        done = {row.name for row in rows if row.library == library}
        left = [name for name in registered(library) if name not in done]
        start = time.perf_counter()
        for row in walk(library, left):
            rows.append(row)
            print(f'{time.perf_counter() - start:6.1f} s', *row, flush=True)
            start = time.perf_counter()
            if options.json:
                write_atomically(options.json, json.dumps(rows).encode())
    rows.sort(key=lambda row: (LIBRARIES.index(row.library), row.kind, row.name))
    write_atomically(options.target, markdown(rows).encode())
    return 0


if __name__ == '__main__':
    sys.exit(main())

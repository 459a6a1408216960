"""Cut a selection split from the training pictures: settings are chosen on what is not reported.

python tools/dataset_converters/cut_selection.py tiny_imagenet
"""

import argparse
import json
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, TypeVar

import st_mm  # noqa: F401 - the runtime fixes
from st_mm.command_line import exit_code
from st_mm.files import write_atomically

EVERY = 10
FORMS = ('coco17', 'aic14')
Item = TypeVar('Item')
Files = dict[Path, str]


def cut(items: Sequence[Item]) -> tuple[list[Item], list[Item]]:
    """Divide items into the rest and every tenth, the first among them."""
    chosen = range(0, len(items), EVERY)
    return [item for place, item in enumerate(items) if place not in chosen], list(items[::EVERY])


def tiny_imagenet(root: Path) -> tuple[Files, list[str]]:
    """Every tenth picture of each class.

    Args:
        root (Path): Folder of the data set, as its config has it.

    Returns:
        tuple[dict[Path, str], list[str]]: The files to write, and what ``--cfg-options`` says.
    """
    lines = read(root / 'meta' / 'train.txt').splitlines()
    check_pictures(root / 'train', (line.rpartition(' ')[0] for line in lines))
    classes: dict[str, list[str]] = {}
    for line in lines:
        classes.setdefault(line.rpartition(' ')[2], []).append(line)
    halves = {label: cut(pictures) for label, pictures in classes.items()}
    for label, (rest, _) in halves.items():
        if not rest:
            raise ValueError(f'class {label} of {root / "meta/train.txt"} has one picture alone')
    names = ('train_rest', 'selection')
    files = {
        root / 'meta' / f'{name}.txt': ''.join(
            f'{line}\n' for half in halves.values() for line in half[place]
        )
        for place, name in enumerate(names)
    }
    options = ['train_dataloader.dataset.ann_file=meta/train_rest.txt']
    for loader in ('val_dataloader', 'test_dataloader'):
        options += [
            f'{loader}.dataset.split=train',
            f'{loader}.dataset.ann_file=meta/selection.txt',
        ]
    return files, options


def lspet(root: Path, form: str) -> tuple[Files, list[str]]:
    """Every tenth picture with its person, the same in both forms of the joints.

    Args:
        root (Path): Folder of the data set, as its config has it.
        form (str): The form that options are given for: one of ``FORMS``.

    Returns:
        tuple[dict[Path, str], list[str]]: As of :func:`tiny_imagenet`.
    """
    found = {each: read_coco(root / f'annotations/lspet_train_{each}.json') for each in FORMS}
    pictures = sorted(picture['file_name'] for picture in found[FORMS[0]]['images'])
    if any(pictures != sorted(p['file_name'] for p in each['images']) for each in found.values()):
        raise ValueError(f'the forms {" and ".join(FORMS)} of {root} have not the same pictures')
    check_pictures(root / 'images' / 'train', pictures)
    files = {}
    for name, chosen in zip(('rest', 'selection'), cut(pictures), strict=True):
        for each, annotations in found.items():
            part = json.dumps(part_of(annotations, set(chosen)))
            files[root / f'annotations/lspet_{name}_{each}.json'] = part
    selection = f'annotations/lspet_selection_{form}.json'
    options = [f'train_dataloader.dataset.ann_file=annotations/lspet_rest_{form}.json']
    for split in ('val', 'test'):
        options += [
            f'{split}_dataloader.dataset.ann_file={selection}',
            f'{split}_dataloader.dataset.data_prefix.img=images/train/',
            f'{split}_evaluator.1.ann_file={root / selection}',
        ]
    return files, options


def part_of(annotations: dict[str, Any], names: set[str]) -> dict[str, Any]:
    """Some pictures of COCO annotations, with all that is said of them."""
    images = [image for image in annotations['images'] if image['file_name'] in names]
    ids = {image['id'] for image in images}
    people = [person for person in annotations['annotations'] if person['image_id'] in ids]
    return {**annotations, 'images': images, 'annotations': people}


def read(path: Path) -> str:
    """Read a file of the data set."""
    if not path.is_file():
        raise FileNotFoundError(f'{path} is not there: unpack the data set, or name it with --root')
    text = path.read_text(encoding='utf-8')
    if not text.strip():
        raise ValueError(f'{path} is empty')
    return text


def read_coco(path: Path) -> dict[str, Any]:
    """Read annotations in COCO's format."""
    text = read(path)
    try:
        found = json.loads(text)
    except json.JSONDecodeError as error:
        raise ValueError(f'{path} is not JSON: {error}') from error
    if not isinstance(found, dict) or not {'images', 'annotations'} <= found.keys():
        raise ValueError(f'{path} has no images and annotations, as COCO has')
    return found


def check_pictures(folder: Path, names: Iterable[str]) -> None:
    """Refuse lists of pictures that are not there."""
    missing = [name for name in names if not (folder / name).is_file()]
    if missing:
        raise FileNotFoundError(f'{len(missing)} pictures are not in {folder}, as {missing[0]}')


def parse(arguments: list[str] | None = None) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(
        description='Write lists of every tenth picture of a training split, and of the rest; '
        'print the options with which a training takes the rest and scores on the tenth. The '
        'pictures stay where they are, and a second call writes the same.',
        epilog='Exit codes: 0 written, 1 a list could not be written, 2 the data are not there or '
        'are others.',
    )
    parser.add_argument('dataset', choices=('tiny_imagenet', 'lspet'))
    parser.add_argument('--root', type=Path, metavar='FOLDER', help='(data/DATASET)')
    parser.add_argument(
        '--joints', choices=FORMS, default='aic14', help='form in the options (%(default)s)'
    )
    options = parser.parse_args(arguments)
    options.root = options.root or Path('data') / options.dataset
    return options


def run(options: argparse.Namespace) -> None:
    """Write the lists."""
    if options.dataset == 'lspet':
        files, words = lspet(options.root, options.joints)
    else:
        files, words = tiny_imagenet(options.root)
    for path, text in files.items():
        write_atomically(path, text.encode())
        print(path, file=sys.stderr)
    print('--cfg-options', *words)


def main() -> int:
    """Run the command line; return the exit code."""
    options = parse()
    return exit_code(lambda: run(options))


if __name__ == '__main__':
    sys.exit(main())

"""The toy shapes: real runs of the command line, read back by mmpretrain's own data set."""

import json
import os
import re
import subprocess
import sys
from collections import Counter
from itertools import combinations
from pathlib import Path

import cv2
import numpy as np
import pytest

import st_mm  # noqa: F401  # makes mmpretrain importable beside mmcv-lite

TOOLS = Path(__file__).parents[3] / 'tools'
KINDS = (
    'arrow', 'crescent', 'cross', 'disc', 'heart', 'ring', 'spiral', 'square', 'star', 'triangle',
)  # fmt: skip
TINY = ('--train', 20, '--val', 10, '--test', 10, '--size', '32x48', '--workers', 1)


def run(*arguments: object) -> subprocess.CompletedProcess:
    command = [sys.executable, TOOLS / 'make_toy_data.py', 'shapes', *arguments]
    return subprocess.run([str(part) for part in command], capture_output=True, text=True)


def make(root: Path, *arguments: object) -> Path:
    done = run(root, *arguments)
    assert done.returncode == 0, done.stderr
    return root


def files(root: Path) -> dict[str, bytes]:
    return {str(path.relative_to(root)): path.read_bytes() for path in root.rglob('*.png')}


@pytest.fixture(scope='module')
def tiny(tmp_path_factory) -> Path:
    return make(tmp_path_factory.mktemp('toy') / 'shapes', *TINY)


@pytest.mark.parametrize(('split', 'number'), [('train', 20), ('val', 10), ('test', 10)])
def test_mmpretrain_reads_every_split_and_classes_are_balanced(tiny, split, number):
    from mmpretrain.datasets import CustomDataset

    dataset = CustomDataset(
        data_root=str(tiny), data_prefix=split, pipeline=[{'type': 'LoadImageFromFile'}]
    )
    assert dataset.CLASSES == KINDS
    labels = Counter(sample['gt_label'] for sample in dataset)
    assert labels == dict.fromkeys(range(10), number // 10)
    for sample in dataset:
        assert sample['img'].shape == (32, 48, 3)
        assert KINDS[sample['gt_label']] == Path(sample['img_path']).parent.name
        # A picture, not a plain colour.
        assert sample['img'].std() > 10


@pytest.fixture(scope='module')
def masks() -> dict[str, list[np.ndarray]]:
    """Filled outlines of each kind, all in one pose, four of a kind."""
    sys.path.insert(0, str(TOOLS))
    try:
        from toy_data.shapes.outlines import KINDS as outlines
    finally:
        sys.path.remove(str(TOOLS))
    rng = np.random.default_rng(0)
    return {name: [filled(draw(rng)) for _ in range(4)] for name, draw in outlines.items()}


def filled(contours: list[np.ndarray]) -> np.ndarray:
    mask = np.zeros((64, 64), np.uint8)
    cv2.fillPoly(mask, [np.round(32 + 28 * contour).astype(np.int32) for contour in contours], 1)
    return mask


def test_outlines_fill_their_frame(masks):
    for name, drawn in masks.items():
        for mask in drawn:
            rows, columns = np.nonzero(mask)
            extent = max(np.ptp(rows), np.ptp(columns))
            assert 36 < extent <= 60, name
            assert 0.06 < mask.mean() < 0.65, name


def test_kinds_differ_from_each_other_more_than_among_themselves(masks):
    def overlap(first: np.ndarray, second: np.ndarray) -> float:
        return (first & second).sum() / (first | second).sum()

    for (name, drawn), (other, others) in combinations(masks.items(), 2):
        apart = max(overlap(a, b) for a in drawn for b in others)
        assert apart < 0.85, (name, other)


def test_bytes_depend_on_neither_workers_nor_counts(tiny, tmp_path):
    more = make(tmp_path / 'more', '--train', 31, '--val', 12, '--test', 0, '--size', '32x48',
                '--workers', 2)  # fmt: skip
    first, second = files(tiny), files(more)
    common = first.keys() & second.keys()
    assert len(common) == 20 + 10
    assert all(first[name] == second[name] for name in common)


def test_another_seed_makes_other_pictures(tiny, tmp_path):
    other = files(make(tmp_path / 'other', *TINY, '--seed', 1))
    assert other.keys() == files(tiny).keys()
    assert all(other[name] != data for name, data in files(tiny).items())


def test_no_two_pictures_of_a_set_are_alike(tiny):
    assert len(set(files(tiny).values())) == len(files(tiny)) == 40


def test_second_run_does_nothing(tiny):
    before = {path: path.stat().st_mtime_ns for path in tiny.rglob('*')}
    done = run(tiny, *TINY)
    assert done.returncode == 0
    assert 'already there' in done.stdout
    assert {path: path.stat().st_mtime_ns for path in tiny.rglob('*')} == before


def test_manifest_says_what_the_set_is(tiny):
    manifest = json.loads((tiny / 'toy_shapes.json').read_text())
    expected = {'train': 20, 'val': 10, 'test': 10, 'height': 32, 'width': 48, 'seed': 0}
    assert expected.items() <= manifest.items()
    assert manifest['classes'] == list(KINDS)


def test_missing_picture_and_leftovers_of_a_killed_run_are_mended(tmp_path):
    root = make(tmp_path / 'shapes', *TINY)
    before = files(root)
    next(root.rglob('*.png')).unlink()
    (root / '.unfinished/train').mkdir(parents=True)
    make(root, *TINY)
    assert files(root) == before
    assert {path.name for path in root.iterdir()} == {'train', 'val', 'test', 'toy_shapes.json'}


def test_other_toy_set_needs_force(tmp_path):
    root = make(tmp_path / 'shapes', *TINY)
    before = files(root)
    smaller = ('--train', 3, '--val', 1, '--test', 0, '--size', '32x32', '--workers', 1)
    refused = run(root, *smaller)
    assert refused.returncode == 2
    assert '--force' in refused.stderr
    assert files(root) == before
    make(root, *smaller, '--force')
    assert len(files(root)) == 4


@pytest.mark.parametrize('force', [(), ('--force',)], ids=['plain', 'force'])
def test_folder_of_somebody_else_is_left_alone(tmp_path, force):
    (tmp_path / 'thesis.tex').write_text('precious')
    done = run(tmp_path, *TINY, *force)
    assert done.returncode == 2
    assert done.stderr.startswith('error: ')
    assert len(done.stderr.splitlines()) == 1
    assert [path.name for path in tmp_path.iterdir()] == ['thesis.tex']


@pytest.mark.parametrize(
    ('name', 'content', 'code', 'complaint'),
    [
        ('out', 'precious', 2, 'is a file'),
        ('out/toy_shapes.json', '{', 2, 'not readable'),
        ('.', None, 1, 'cannot write'),
    ],
)
def test_trouble_is_told_in_one_line(tmp_path, name, content, code, complaint):
    if content is None:
        (tmp_path / 'file').write_text('precious')
        root = tmp_path / 'file' / 'out'  # below a file no folder can be made
    else:
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(content)
        root = tmp_path / 'out'
    done = run(root, *TINY)
    assert done.returncode == code
    assert complaint in done.stderr
    assert len(done.stderr.splitlines()) == 1


def test_failure_half_way_leaves_nothing_behind(tmp_path):
    """Where files may not grow to the size of a picture, drawing fails at the first one."""
    root = tmp_path / 'deep' / 'shapes'
    limited = (
        'import resource, runpy, signal, sys; '
        'signal.signal(signal.SIGXFSZ, signal.SIG_IGN); '
        'resource.setrlimit(resource.RLIMIT_FSIZE, (100, 100)); '
        f'sys.path.insert(0, {str(TOOLS)!r}); '
        f'sys.argv = {["make_toy_data.py", "shapes", str(root), *map(str, TINY)]!r}; '
        f'runpy.run_path({str(TOOLS / "make_toy_data.py")!r}, run_name="__main__")'
    )
    environment = {**os.environ, 'PYTHONDONTWRITEBYTECODE': '1'}
    done = subprocess.run(
        [sys.executable, '-c', limited], capture_output=True, text=True, env=environment
    )
    assert done.returncode == 1
    assert 'cannot write' in done.stderr
    assert not root.exists()


@pytest.mark.parametrize(
    ('arguments', 'complaint'),
    [
        (('--size', '64'), 'HEIGHTxWIDTH'),
        (('--size', '31x64'), 'between 32 and 2048'),
        (('--val', 'many'), '0 or more'),
        (('--workers', '0'), 'at least one process'),
        (('--train', '0', '--val', '0', '--test', '0'), 'nothing to draw'),
    ],
)
def test_bad_arguments(tmp_path, arguments, complaint):
    done = run(tmp_path / 'out', *arguments)
    assert done.returncode == 2
    assert re.search(complaint, done.stderr)
    assert not (tmp_path / 'out').exists()


def test_help_names_layout_and_classes():
    text = ' '.join(run('--help').stdout.split())
    assert 'SPLIT/CLASS/CLASS_NUMBER.png' in text
    assert ', '.join(KINDS) in text

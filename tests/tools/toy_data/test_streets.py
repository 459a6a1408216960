"""The toy streets: real runs of the command line, read back by mmseg's own data set."""

import json
import re
import subprocess
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest

import st_mm  # noqa: F401  # makes mmseg importable beside mmcv-lite

TOOLS = Path(__file__).parents[3] / 'tools'
LABELS = {*range(19), 255}
ABSENT = {16, 17}  # train and motorcycle, as `--help` says


def run(*arguments: object, cwd: Path | None = None) -> subprocess.CompletedProcess:
    command = [sys.executable, TOOLS / 'make_toy_data.py', 'streets', *arguments]
    return subprocess.run([str(part) for part in command], capture_output=True, text=True, cwd=cwd)


def make(root: Path, *arguments: object) -> Path:
    done = run(root, *arguments)
    assert done.returncode == 0, done.stderr
    return root


def files(root: Path) -> dict[str, bytes]:
    return {str(path.relative_to(root)): path.read_bytes() for path in root.rglob('*.png')}


TINY = ('--train', 5, '--val', 2, '--test', 1, '--size', '48x96', '--workers', 1)


@pytest.fixture(scope='module')
def tiny(tmp_path_factory) -> Path:
    return make(tmp_path_factory.mktemp('toy') / 'streets', *TINY)


@pytest.fixture(scope='module')
def forty(tmp_path_factory) -> list[np.ndarray]:
    """The labels of 40 images at the default size."""
    root = tmp_path_factory.mktemp('toy') / 'forty'
    make(root, '--train', 40, '--val', 0, '--test', 0)
    paths = sorted((root / 'gtFine/train').rglob('*.png'))
    return [cv2.imread(str(path), cv2.IMREAD_UNCHANGED) for path in paths]


@pytest.mark.parametrize(('split', 'number'), [('train', 5), ('val', 2), ('test', 1)])
def test_mmseg_reads_every_split(tiny, split, number):
    from mmseg.datasets import CityscapesDataset

    dataset = CityscapesDataset(
        data_root=str(tiny),
        data_prefix={'img_path': f'leftImg8bit/{split}', 'seg_map_path': f'gtFine/{split}'},
        pipeline=[{'type': 'LoadImageFromFile'}, {'type': 'mmseg.LoadAnnotations'}],
    )
    assert len(dataset) == number
    for sample in dataset:
        assert sample['img'].shape == (48, 96, 3)
        assert sample['gt_seg_map'].shape == (48, 96)
        assert set(np.unique(sample['gt_seg_map'])) <= LABELS
        # A picture, not a plain colour.
        assert sample['img'].std() > 10


def test_each_image_has_its_labels(tiny):
    images = {re.sub('_leftImg8bit.png$', '', name)[len('leftImg8bit/') :]
              for name in files(tiny) if name.startswith('leftImg8bit')}  # fmt: skip
    labels = {re.sub('_gtFine_labelTrainIds.png$', '', name)[len('gtFine/') :]
              for name in files(tiny) if name.startswith('gtFine')}  # fmt: skip
    assert images == labels
    assert len(images) == 8


def test_all_promised_classes_appear_and_no_other(forty):
    assert len(forty) == 40
    assert {label.shape for label in forty} == {(128, 256)}
    seen = set(np.unique(np.stack(forty)).tolist())
    assert seen == LABELS - ABSENT


def test_big_classes_have_their_share(forty):
    share = np.bincount(np.stack(forty).ravel(), minlength=256) / np.stack(forty).size
    road, building, vegetation, sky, car = share[[0, 2, 8, 10, 13]]
    assert 0.15 < road < 0.45
    assert min(building, sky) > 0.08
    assert min(vegetation, car) > 0.03
    assert share[255] < 0.10


def test_bytes_depend_on_neither_workers_nor_counts(tiny, tmp_path):
    more = make(tmp_path / 'more', '--train', 7, '--val', 3, '--test', 0, '--size', '48x96',
                '--workers', 2)  # fmt: skip
    first, second = files(tiny), files(more)
    common = first.keys() & second.keys()
    assert len(common) == 2 * (5 + 2)
    assert all(first[name] == second[name] for name in common)


def test_another_seed_makes_other_streets(tiny, tmp_path):
    other = files(make(tmp_path / 'other', *TINY, '--seed', 1))
    assert other.keys() == files(tiny).keys()
    assert all(other[name] != data for name, data in files(tiny).items())


def test_images_of_a_set_and_of_its_splits_differ(tiny):
    assert len(set(files(tiny).values())) == len(files(tiny))


def test_second_run_does_nothing(tiny):
    before = {path: path.stat().st_mtime_ns for path in tiny.rglob('*')}
    done = run(tiny, *TINY)
    assert done.returncode == 0
    assert 'already there' in done.stdout
    assert {path: path.stat().st_mtime_ns for path in tiny.rglob('*')} == before


def test_manifest_says_what_the_set_is(tiny):
    manifest = json.loads((tiny / 'toy_streets.json').read_text())
    expected = {'train': 5, 'val': 2, 'test': 1, 'height': 48, 'width': 96, 'seed': 0}
    assert expected.items() <= manifest.items()
    assert sum(manifest['pixels'].values()) == 8 * 48 * 96


def test_missing_file_is_drawn_again(tmp_path):
    root = make(tmp_path / 'streets', *TINY)
    before = files(root)
    next(root.rglob('*_leftImg8bit.png')).unlink()
    make(root, *TINY)
    assert files(root) == before


def test_interrupted_set_is_finished(tmp_path):
    root = make(tmp_path / 'streets', *TINY)
    before = files(root)
    # What a run leaves behind that is killed while it draws.
    (root / 'toy_streets.json').rename(root / 'toy_streets.json.part')
    next(root.rglob('*_labelTrainIds.png')).write_bytes(b'half a file')
    make(root, *TINY)
    assert files(root) == before
    assert not (root / 'toy_streets.json.part').exists()


def test_other_toy_set_needs_force(tmp_path):
    root = make(tmp_path / 'streets', *TINY)
    before = files(root)
    smaller = ('--train', 2, '--val', 1, '--test', 0, '--size', '32x64', '--workers', 1)
    refused = run(root, *smaller)
    assert refused.returncode == 2
    assert '--force' in refused.stderr
    assert files(root) == before
    make(root, *smaller, '--force')
    assert len(files(root)) == 2 * 3


@pytest.mark.parametrize('force', [(), ('--force',)], ids=['plain', 'force'])
def test_folder_of_somebody_else_is_left_alone(tmp_path, force):
    (tmp_path / 'thesis.tex').write_text('precious')
    done = run(tmp_path, *TINY, *force)
    assert done.returncode == 2
    assert done.stderr.startswith('error: ')
    assert len(done.stderr.splitlines()) == 1
    assert [path.name for path in tmp_path.iterdir()] == ['thesis.tex']


def test_file_as_folder_is_refused(tmp_path):
    (tmp_path / 'out').write_text('precious')
    done = run(tmp_path / 'out', *TINY)
    assert done.returncode == 2
    assert 'is a file' in done.stderr


def test_broken_manifest_is_refused(tmp_path):
    (tmp_path / 'toy_streets.json').write_text('{')
    done = run(tmp_path, *TINY, '--force')
    assert done.returncode == 2
    assert 'not readable' in done.stderr


@pytest.mark.parametrize(
    ('arguments', 'complaint'),
    [
        (('--size', '128'), 'HEIGHTxWIDTH'),
        (('--size', '128x256x3'), 'HEIGHTxWIDTH'),
        (('--size', '64.5x128'), 'HEIGHTxWIDTH'),
        (('--size', '-64x128'), 'expected one argument'),
        (('--size', '31x128'), 'between 32 and 2048'),
        (('--size', '128x9999'), 'between 32 and 2048'),
        (('--train', '-1'), 'expected one argument|0 or more'),
        (('--val', 'many'), '0 or more'),
        (('--seed', '1.5'), '0 or more'),
        (('--workers', '0'), 'at least one process'),
        (('--train', '0', '--val', '0', '--test', '0'), 'nothing to draw'),
    ],
)
def test_bad_arguments(tmp_path, arguments, complaint):
    done = run(tmp_path / 'out', *arguments)
    assert done.returncode == 2
    assert re.search(complaint, done.stderr)
    assert not (tmp_path / 'out').exists()


@pytest.mark.parametrize('size', ['32x32', '33x71', '96x40'])
def test_odd_sizes_work_from_any_folder(tmp_path, size):
    arguments = ('--train', 4, '--val', 0, '--test', 0, '--size', size, '--workers', 1)
    done = run('here', *arguments, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    height, width = map(int, size.split('x'))
    for path in (tmp_path / 'here').rglob('*.png'):
        assert cv2.imread(str(path)).shape[:2] == (height, width)


def test_help_names_layout_and_absent_classes():
    text = ' '.join(run('--help').stdout.split())
    assert 'leftImg8bit' in text
    assert 'but train and motorcycle' in text

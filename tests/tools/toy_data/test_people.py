"""The toy people: real runs of the command line, read back by mmpose's own data set."""

import json
import re
import subprocess
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest

import st_mm  # noqa: F401  # makes mmpose importable beside mmcv-lite

TOOLS = Path(__file__).parents[3] / 'tools'
COUNTS = {'train': 12, 'val': 3, 'test': 1}
TINY = ('--train', 12, '--val', 3, '--test', 1, '--size', '72x96', '--workers', 1)


@pytest.fixture(scope='module', autouse=True)
def _tools():
    sys.path.insert(0, str(TOOLS))
    yield
    sys.path.remove(str(TOOLS))


def run(*arguments: object, cwd: Path | None = None) -> subprocess.CompletedProcess:
    command = [sys.executable, TOOLS / 'make_toy_data.py', 'people', *arguments]
    return subprocess.run([str(part) for part in command], capture_output=True, text=True, cwd=cwd)


def make(root: Path, *arguments: object) -> Path:
    done = run(root, *arguments)
    assert done.returncode == 0, done.stderr
    return root


def files(root: Path) -> dict[str, bytes]:
    return {str(path.relative_to(root)): path.read_bytes() for path in root.rglob('*.*')}


def annotations(root: Path, split: str = 'train') -> dict:
    return json.loads((root / 'annotations' / f'person_keypoints_{split}.json').read_text())


def scenes(seed: int, number: int = 12):
    from toy_data.people.scene import draw_scene

    for index in range(number):
        yield draw_scene(np.random.default_rng([seed, index]), (96, 96))


@pytest.fixture(scope='module')
def tiny(tmp_path_factory) -> Path:
    return make(tmp_path_factory.mktemp('toy') / 'people', *TINY)


@pytest.mark.parametrize('split', COUNTS)
def test_mmpose_reads_every_split(tiny, split):
    from mmpose.datasets import CocoDataset

    found = annotations(tiny, split)
    dataset = CocoDataset(
        data_root=str(tiny),
        ann_file=f'annotations/person_keypoints_{split}.json',
        data_prefix={'img': f'images/{split}/'},
        pipeline=[{'type': 'mmpose.LoadImage'}],
    )
    assert len(found['images']) == COUNTS[split]
    assert len(dataset) == len(found['annotations']) >= COUNTS[split]
    for sample, person in zip(dataset, found['annotations'], strict=True):
        assert sample['img'].shape == (72, 96, 3)
        assert sample['img'].std() > 10  # a picture, not a plain colour
        flags = np.array(person['keypoints'][2::3])
        assert sample['keypoints'].shape == (1, 17, 2)
        np.testing.assert_array_equal(sample['keypoints_visible'][0], flags > 0)
        assert sample['area'] == pytest.approx(person['area'])


def test_category_is_that_of_coco(tiny):
    from mmpose.datasets import CocoDataset
    from mmpose.datasets.datasets.utils import parse_pose_metainfo

    (category,) = annotations(tiny)['categories']
    coco = parse_pose_metainfo(CocoDataset.METAINFO)
    names = category['keypoints']
    assert names == [coco['keypoint_id2name'][index] for index in range(17)]
    links = {frozenset((one - 1, other - 1)) for one, other in category['skeleton']}
    assert links == set(map(frozenset, coco['skeleton_links']))


def test_keypoints_boxes_and_areas_agree(tiny):
    for split in COUNTS:
        for person in annotations(tiny, split)['annotations']:
            left, top, width, height = person['bbox']
            columns, rows, flags = np.array(person['keypoints']).reshape(17, 3).T
            assert set(flags) <= {0, 1, 2}
            assert person['num_keypoints'] == (flags > 0).sum() > 0
            assert not np.concatenate([columns[flags == 0], rows[flags == 0]]).any()
            assert left >= 0
            assert top >= 0
            assert left + width <= 96 + 0.02
            assert top + height <= 72 + 0.02
            # a pixel's middle has a whole number, its edges lie half a pixel off
            inside = (columns + 0.5 >= left) & (columns + 0.5 <= left + width)
            inside &= (rows + 0.5 >= top) & (rows + 0.5 <= top + height)
            assert inside[flags > 0].all()
            assert 0.05 * width * height < person['area'] < width * height


def test_box_and_area_are_those_of_the_silhouette():
    from toy_data.people.body import place
    from toy_data.people.canvas import FINE, Canvas, extent
    from toy_data.people.scene import annotation, clothes, paint_body

    rng = np.random.default_rng(3)
    canvas = Canvas(np.zeros((96, 96, 3), np.uint8))
    body = place(rng, (48, 48), 60)
    whole = paint_body(canvas, body, clothes(rng), first=0)
    np.testing.assert_array_equal(whole, canvas.parts > 0)
    box, area = extent(whole)
    rows, columns = np.nonzero(whole)
    assert box == pytest.approx(
        [
            columns.min() / FINE,
            rows.min() / FINE,
            (np.ptp(columns) + 1) / FINE,
            (np.ptp(rows) + 1) / FINE,
        ]
    )
    assert area == pytest.approx(whole.sum() / FINE**2)
    hidden = annotation(canvas, body, whole, first=0)
    canvas.paint([np.array([48, 48])], [200], (0, 0, 0))  # hides all of it
    behind = annotation(canvas, body, whole, first=0)
    assert behind['bbox'] == hidden['bbox']
    assert behind['area'] == hidden['area']
    assert behind['keypoints'][2::3] == [1] * 17
    assert 2 in hidden['keypoints'][2::3]


def test_joints_lie_on_the_limbs_drawn():
    """Each part alone on a canvas covers its own joints, whatever the pose."""
    from toy_data.people.body import KEYPOINTS, place
    from toy_data.people.canvas import Canvas
    from toy_data.people.scene import CARRIERS, PARTS

    for seed in range(5):
        body = place(np.random.default_rng(seed), (100, 100), 100)
        for part, (joints, radii, _) in PARTS.items():
            canvas = Canvas(np.zeros((200, 200, 3), np.uint8))
            canvas.paint(
                [body.joints[joint] for joint in joints],
                [radius * body.pixels for radius in radii],
                (255, 255, 255),
                part=1,
            )
            assert all(canvas.part_at(body.joints[joint]) == 1 for joint in joints), part
    assert CARRIERS.keys() == set(KEYPOINTS)


def test_left_and_right_are_those_of_the_body():
    from toy_data.people.body import pose

    for seed in range(20):
        joints = pose(np.random.default_rng(seed))
        for part in ('eye', 'ear', 'shoulder', 'hip'):
            across = joints[f'left_{part}'] - joints[f'right_{part}']
            assert across[0] > 0, part
        assert joints['left_hip'][0] > 0 > joints['right_hip'][0]


def test_who_shows_the_back_hides_the_face():
    from toy_data.people.body import KEYPOINTS, Body, pose
    from toy_data.people.canvas import Canvas
    from toy_data.people.scene import annotation, clothes, paint_body

    for turned, flags in ((1, {2}), (-1, {1})):
        for seed in range(5):
            rng = np.random.default_rng(seed)
            joints = {
                name: 60 * joint * (turned, -1, turned) + (100, 100, 0)
                for name, joint in pose(rng).items()
            }
            body = Body(joints, 60)
            canvas = Canvas(np.zeros((200, 200, 3), np.uint8))
            whole = paint_body(canvas, body, clothes(rng), first=0)
            seen = annotation(canvas, body, whole, first=0)['keypoints'][2::3]
            arms_aside = [seen[KEYPOINTS.index(name)] for name in ('left_eye', 'right_eye')]
            assert set(arms_aside) <= flags | {1}
            if turned == -1:
                assert seen[0] == 1  # the nose


def test_people_vary():
    people = [person for _, found in scenes(0, 60) for person in found]
    flags = np.array([person['keypoints'][2::3] for person in people])
    share = np.bincount(flags.ravel(), minlength=3) / flags.size
    assert share[2] > 0.5
    assert share[1] > 0.1
    heights = np.array([person['bbox'][3] for person in people])
    assert heights.max() > 1.5 * heights.min()
    assert len({len(found) for _, found in scenes(0, 60)}) == 3


def test_bytes_depend_on_neither_workers_nor_counts(tiny, tmp_path):
    more = make(tmp_path / 'more', '--train', 14, '--val', 4, '--test', 0, '--size', '72x96',
                '--workers', 2)  # fmt: skip
    first, second = files(tiny), files(more)
    common = [name for name in first.keys() & second.keys() if name.endswith('.png')]
    assert len(common) == 12 + 3
    assert all(first[name] == second[name] for name in common)
    known = annotations(tiny)['annotations']
    assert annotations(more)['annotations'][: len(known)] == known


def test_same_arguments_same_set(tiny, tmp_path):
    assert files(make(tmp_path / 'again', *TINY)) == files(tiny)


def test_another_seed_makes_other_people(tiny, tmp_path):
    other, first = files(make(tmp_path / 'other', *TINY, '--seed', 1)), files(tiny)
    assert other.keys() == first.keys()
    assert all(other[name] != data for name, data in first.items())


def test_second_run_does_nothing_and_force_draws_again(tmp_path):
    arguments = ('--train', 2, '--val', 0, '--test', 0, '--size', '32x32', '--workers', 1)
    root = make(tmp_path / 'people', *arguments)
    before, data = root.stat().st_ino, files(root)
    assert 'already there' in run(root, *arguments).stdout
    assert root.stat().st_ino == before
    refused = run(root, *arguments, '--seed', 1)
    assert refused.returncode == 2
    assert '--force' in refused.stderr
    assert files(root) == data
    make(root, *arguments, '--seed', 1, '--force')
    assert files(root) != data
    assert [path.name for path in tmp_path.iterdir()] == ['people']  # nothing half-written


@pytest.mark.parametrize('force', [(), ('--force',)], ids=['plain', 'force'])
@pytest.mark.parametrize('name', ['thesis.tex', 'toy_people.json'])
def test_folder_of_somebody_else_is_left_alone(tmp_path, force, name):
    (tmp_path / name).write_text('precious')
    done = run(tmp_path, *TINY, *force)
    assert done.returncode == 2
    assert done.stderr.startswith('error: ')
    assert len(done.stderr.splitlines()) == 1
    assert files(tmp_path) == {name: b'precious'}


def test_file_as_folder_is_refused(tmp_path):
    (tmp_path / 'out').write_text('precious')
    done = run(tmp_path / 'out', *TINY)
    assert done.returncode == 2
    assert 'is a file' in done.stderr


def test_interrupted_set_leaves_nothing(tmp_path, monkeypatch):
    from toy_data.people import dataset

    drawing = dataset.write_set(dataset.Request(3, 0, 0, 32, 32, seed=0), tmp_path / 'people', 1)
    next(drawing)
    drawing.close()
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ('arguments', 'complaint'),
    [
        (('--size', '128'), 'HEIGHTxWIDTH'),
        (('--size', '31x128'), 'between 32 and 2048'),
        (('--size', '128x9999'), 'between 32 and 2048'),
        (('--train', 'many'), '0 or more'),
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
    arguments = ('--train', 3, '--val', 0, '--test', 0, '--size', size, '--workers', 1)
    done = run('here', *arguments, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    height, width = map(int, size.split('x'))
    for path in (tmp_path / 'here').rglob('*.png'):
        assert cv2.imread(str(path)).shape[:2] == (height, width)


def test_help_names_format():
    text = ' '.join(run('--help').stdout.split())
    assert 'person_keypoints_SPLIT.json' in text
    assert '17 keypoints of COCO' in text

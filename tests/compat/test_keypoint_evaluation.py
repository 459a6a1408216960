"""Equality with xtcocotools, where it is installed; what must hold without it, everywhere."""

import json
import os
import tarfile
from copy import deepcopy
from pathlib import Path

import numpy as np
import pytest

from st_mm.compat import keypoint_evaluation as ours

ROOT = Path(__file__).parents[2]
DATA = Path(os.environ.get('ST_MM_SHARED_DIR', ROOT.parent / 'shared')) / 'data'
FIELDS = ('keypoints', 'foot_kpts', 'face_kpts', 'lefthand_kpts', 'righthand_kpts')


def annotations(count: int = 12, joints: int = 5, seed: int = 0) -> dict:
    """Persons of all sizes in three pictures: some in a crowd, some without a visible joint."""
    random = np.random.default_rng(seed)
    persons = []
    for index in range(count):
        width, height = random.uniform(20, 200, 2)
        left, top = random.uniform(0, 300, 2)
        place = [left, top] + random.uniform(0, 1, (joints, 2)) * [width, height]
        seen = random.integers(0, 3, (joints, 1)) * (index % 5 > 0)
        persons.append(
            dict(
                id=index,  # 0 among them
                image_id=index % 3,
                category_id=1,
                bbox=[left, top, width, height],
                area=width * height / 2,
                iscrowd=int(index == 4),
                keypoints=np.hstack([place, seen]).ravel().tolist(),
                num_keypoints=int((seen == 2).sum()),
            )
        )
    return dict(
        images=[dict(id=index, crowdIndex=index / 3) for index in range(3)],
        categories=[dict(id=1, name='person', keypoints=[str(x) for x in range(joints)])],
        annotations=persons,
    )


def predictions(truth: dict, seed: int = 0) -> list[dict]:
    """Two guesses at each person, the second the worse, but for some; and a few at nobody."""
    random = np.random.default_rng(seed)
    guesses = []
    for index, person in enumerate(truth['annotations'] * 2):
        if random.uniform() < 0.1:
            continue
        size = np.sqrt(np.prod(person['bbox'][2:]))
        guess = dict(image_id=person['image_id'], category_id=person['category_id'])
        for field in FIELDS:
            if field in person:
                joints = np.array(person[field], float).reshape(-1, 3)
                error = 0.03 if index < len(truth['annotations']) else 0.2
                joints[:, :2] += random.normal(0, error * size, (len(joints), 2))
                joints[:, 2] = random.uniform(0.1, 1) * (index % 11 > 0)
                guess[field] = joints.ravel().tolist()
        guesses.append(dict(guess, score=round(random.uniform(), 2)))  # with ties
    return guesses


def evaluate(library, truth: Path, guesses: list[dict], kind: str, sigmas, use_area: bool):
    gt = library.COCO(str(truth))
    path = truth.with_suffix('.keypoints.json')
    path.write_text(json.dumps(guesses))
    scores = library.COCOeval(gt, gt.loadRes(str(path)), kind, sigmas, use_area)
    scores.params.useSegm = None  # as mmpose does
    scores.evaluate()
    scores.accumulate()
    curves = {key: scores.eval[key] for key in ('precision', 'recall', 'scores')}
    scores.summarize()
    return scores.stats, curves


def assert_equal_to_xtcocotools(truth: dict, folder: Path, kind: str, use_area: bool, count: int):
    theirs = pytest.importorskip('xtcocotools.cocoeval')
    if theirs.COCOeval.__module__ != 'xtcocotools.cocoeval':
        pytest.skip('xtcocotools is not installed: this is what stands in for it')
    theirs.COCO = pytest.importorskip('xtcocotools.coco').COCO
    (folder / 'truth.json').write_text(json.dumps(truth))
    sigmas = np.random.default_rng(1).uniform(0.02, 0.1, count).astype(np.float32)
    guesses = predictions(truth)
    results = [
        evaluate(each, folder / 'truth.json', deepcopy(guesses), kind, sigmas, use_area)
        for each in (ours, theirs)
    ]
    (stats, curves), (expected, expected_curves) = results
    assert stats.tolist() == expected.tolist()
    assert 0 < stats[0] < 1
    for name, curve in curves.items():
        if kind != 'keypoints_crowd':  # theirs ends with the curves of the hard pictures alone
            np.testing.assert_array_equal(curve, expected_curves[name])


@pytest.mark.parametrize('use_area', [True, False])
@pytest.mark.parametrize('kind', ['keypoints', 'keypoints_body', 'keypoints_crowd'])
def test_drawn_persons_score_as_with_xtcocotools(kind, use_area, tmp_path):
    assert_equal_to_xtcocotools(annotations(), tmp_path, kind, use_area, count=5)


@pytest.fixture(scope='module')
def real() -> dict[str, dict]:
    """The annotations of real data sets, by name."""
    found = {}
    archives = dict(dataset_class_samples='mmpose_tests_data', lspet_mini='lspet/annotations')
    for archive, folder in archives.items():
        with tarfile.open(DATA / f'{archive}.tar.gz') as files:
            for member in files:
                if member.name.startswith(folder) and member.name.endswith('.json'):
                    found[Path(member.name).stem] = json.load(files.extractfile(member))
    return found


@pytest.mark.data
@pytest.mark.parametrize(
    ('name', 'kind', 'use_area', 'joints'),
    [
        ('lspet_val_coco17', 'keypoints', True, 17),
        ('lspet_val_coco17', 'keypoints', False, 17),
        ('lspet_val_aic14', 'keypoints', True, 14),
        ('lspet_val_aic14', 'keypoints', False, 14),
        ('test_coco', 'keypoints', True, 17),
        ('test_coco', 'keypoints', False, 17),
        ('test_aic', 'keypoints', False, 14),  # without area, without iscrowd
        ('test_crowdpose', 'keypoints_crowd', False, 14),
        ('test_coco_wholebody', 'keypoints_body', True, 17),
        ('test_coco_wholebody', 'keypoints_foot', True, 6),
        ('test_coco_wholebody', 'keypoints_face', True, 68),
        ('test_coco_wholebody', 'keypoints_lefthand', False, 21),
        ('test_coco_wholebody', 'keypoints_righthand', True, 21),
        ('test_coco_wholebody', 'keypoints_wholebody', True, 133),
    ],
)
def test_real_persons_score_as_with_xtcocotools(real, name, kind, use_area, joints, tmp_path):
    assert_equal_to_xtcocotools(real[name], tmp_path, kind, use_area, joints)


# What holds without xtcocotools ------------------------------------------------------------------


def stats(truth: dict, guesses: list[dict], folder: Path, use_area=True, kind='keypoints'):
    (folder / 'truth.json').write_text(json.dumps(truth))
    return evaluate(ours, folder / 'truth.json', guesses, kind, np.full(5, 0.05), use_area)[0]


@pytest.mark.parametrize('use_area', [True, False])
def test_the_truth_is_right(use_area, tmp_path):
    truth = annotations()
    guesses = [dict(x, score=1 - x['id'] / 100) for x in truth['annotations']]
    assert stats(truth, guesses, tmp_path, use_area)[[0, 5]].tolist() == pytest.approx([1, 1])


def test_half_of_the_truth_is_half_of_the_recall(tmp_path):
    truth = annotations(count=20)
    counted = [
        x
        for x in truth['annotations']
        if not x['iscrowd'] and any(v > 0 for v in x['keypoints'][2::3])
    ]
    guesses = [dict(x, score=1) for x in counted[::2]]
    assert stats(truth, guesses, tmp_path)[5] == pytest.approx(len(guesses) / len(counted))


def test_a_sharper_sigma_scores_lower(tmp_path):
    truth = annotations()
    (tmp_path / 'truth.json').write_text(json.dumps(truth))
    ap = [
        evaluate(
            ours, tmp_path / 'truth.json', predictions(truth), 'keypoints', np.full(5, sigma), True
        )[0][0]
        for sigma in (0.02, 0.05, 0.2)
    ]
    assert ap[0] < ap[1] < ap[2]


def test_no_prediction_scores_nothing(tmp_path):
    assert stats(annotations(), [], tmp_path)[[0, 5]].tolist() == [0, 0]


def test_evaluation_leaves_the_annotations_alone(tmp_path):
    truth = annotations()
    (tmp_path / 'truth.json').write_text(json.dumps(truth))
    gt = ours.COCO(str(tmp_path / 'truth.json'))
    before = deepcopy(gt.dataset)
    scores = ours.COCOeval(gt, gt.loadRes(predictions(truth)), sigmas=np.full(5, 0.05))
    scores.evaluate()
    assert gt.dataset == before


def test_a_missing_area_is_named(tmp_path):
    truth = annotations()
    del truth['annotations'][7]['area']
    with pytest.raises(ValueError, match=r'annotation 7 has no "area": set use_area=False'):
        stats(truth, predictions(truth), tmp_path)
    stats(truth, predictions(truth), tmp_path, use_area=False)


def test_boxes_are_for_pycocotools():
    with pytest.raises(ValueError, match=r"not 'bbox'.*pycocotools"):
        ours.COCOeval(iouType='bbox')

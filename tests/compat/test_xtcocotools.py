"""mmpose with and without xtcocotools."""

import importlib.util
import subprocess
import sys

import pytest

from st_mm.compat.keypoint_evaluation import COCO, COCOeval

HIDE = """
import importlib.machinery
find = importlib.machinery.PathFinder.find_spec
hidden = {hidden!r}
importlib.machinery.PathFinder.find_spec = classmethod(
    lambda cls, name, *place: None if name.split('.')[0] in hidden else find(name, *place)
)
"""


def run_without(hidden: list[str], code: str) -> subprocess.CompletedProcess:
    code = HIDE.format(hidden=hidden) + code
    return subprocess.run([sys.executable, '-c', code], capture_output=True, text=True, timeout=120)


@pytest.mark.parametrize('module', ['coco', 'cocoeval', 'mask'])
def test_the_import_fails_without(module):
    done = run_without(['xtcocotools'], f'import xtcocotools.{module}')
    assert "No module named 'xtcocotools'" in done.stderr


def test_it_stands_in():
    code = """
import st_mm, sys
assert 'pycocotools' not in sys.modules, 'nothing is imported before somebody asks'
import xtcocotools.mask as masks
from xtcocotools.coco import COCO
from xtcocotools.cocoeval import COCOeval
assert COCO.__module__ == COCOeval.__module__ == 'st_mm.compat.keypoint_evaluation'
area = masks.area(masks.frPyObjects([[0, 0, 4, 0, 4, 4, 0, 4]], 8, 8))
assert area == [16], area
"""
    done = run_without(['xtcocotools'], code)
    assert done.returncode == 0, done.stderr


@pytest.mark.slow
def test_mmpose_imports_without():
    pytest.importorskip('mmpose')
    code = """
import st_mm, mmpose.apis, mmpose.datasets
from mmpose.evaluation.metrics import coco_metric
assert coco_metric.COCOeval.__module__ == 'st_mm.compat.keypoint_evaluation'
"""
    done = run_without(['xtcocotools'], code)
    assert done.returncode == 0, done.stderr


def test_without_pycocotools_it_says_what_to_install():
    done = run_without(['xtcocotools', 'pycocotools'], 'import st_mm, xtcocotools.coco')
    assert 'pip install pycocotools' in done.stderr


def test_an_installed_one_is_left_alone():
    import xtcocotools.coco
    import xtcocotools.cocoeval

    found = importlib.util.find_spec('xtcocotools').origin is not None
    assert (xtcocotools.coco.COCO is COCO) is not found
    assert (xtcocotools.cocoeval.COCOeval is COCOeval) is not found

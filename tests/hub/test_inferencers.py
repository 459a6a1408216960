"""The inferencers of the three libraries take a model of ours by name, and the weights of it."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from mmengine import Config
from mmpose.apis import MMPoseInferencer, inference_topdown
from mmpose.apis import init_model as init_pose_model
from mmseg.apis import MMSegInferencer, inference_model, init_model

from st_mm.hub import find
from st_mm.models.building import build_model

SEG = 'supertickets-p90-slim_8b-30e_toy-streets-128x256'
POSE = 'supertickets-p90-slim_16b-18e_toy-people-96x64'
CLS = 'supertickets-p90-slim_32b-36e_toy-shapes-48x48'
pytestmark = [
    pytest.mark.slow,
    pytest.mark.filterwarnings('ignore::UserWarning'),  # mm's, at every model it builds
]


@pytest.fixture
def weights(request, tmp_path: Path) -> str | None:
    """What has to be named beside the model: weights, unless some ship under its name."""
    model = find(request.param)
    if model.weights:
        return None
    torch.manual_seed(0)
    state = build_model(Config.fromfile(model.config)).state_dict()
    torch.save(dict(meta={}, state_dict=state), tmp_path / 'new.pth')
    return str(tmp_path / 'new.pth')


def paths(name: str, weights: str | None) -> tuple[str, str]:
    """Config and weights as files, to compare with."""
    model = find(name)
    return str(model.config), weights or str(model.weights)


def picture(height: int, width: int) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (height, width, 3), dtype=np.uint8)


@pytest.mark.parametrize('weights', [SEG], indirect=True)
def test_segmentation(weights: str | None) -> None:
    found = MMSegInferencer(SEG, weights, device='cpu')(picture(128, 256), return_datasamples=True)
    expected = inference_model(init_model(*paths(SEG, weights), device='cpu'), picture(128, 256))
    assert torch.equal(found.seg_logits.data, expected.seg_logits.data)


@pytest.mark.parametrize('weights', [POSE], indirect=True)
def test_pose(weights: str | None) -> None:
    inferencer = MMPoseInferencer(POSE, weights, det_model='whole_image', device='cpu')
    [[person]] = next(inferencer(picture(96, 64)))['predictions']
    model = init_pose_model(*paths(POSE, weights), device='cpu')
    [expected] = inference_topdown(model, picture(96, 64))
    assert np.allclose(person['keypoints'], expected.pred_instances.keypoints[0])


@pytest.mark.parametrize('first', ['st_mm', 'mmpretrain'])
@pytest.mark.parametrize('weights', [CLS], indirect=True)
def test_classification(first: str, weights: str | None) -> None:
    """In a process of its own: mmpretrain is told of our models when it is imported, or later."""
    other = {'st_mm': 'mmpretrain', 'mmpretrain': 'st_mm'}[first]
    code = f"""
import {first}, {other}
import numpy as np
from mmpretrain import ImageClassificationInferencer as Inferencer, get_model
picture = np.random.default_rng(0).integers(0, 256, (64, 64, 3), dtype=np.uint8)
[found] = Inferencer({CLS!r}, pretrained={weights!r} or True, device='cpu')(picture)
config, weights = {paths(CLS, weights)!r}
[expected] = Inferencer(config, pretrained=weights, device='cpu')(picture)
assert np.array_equal(found['pred_scores'], expected['pred_scores'])
assert get_model('resnet18_8xb32_in1k') is not None
"""
    done = subprocess.run([sys.executable, '-c', code], capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr[-3000:]


def test_other_names_are_still_theirs() -> None:
    with pytest.raises(ValueError, match='Cannot find model: nothing in mmseg'):
        MMSegInferencer('nothing')

"""A project of somebody else's: its own package, a config of mmpose, and three lines."""

import json
import os
import subprocess
import sys
from pathlib import Path

import mmcv
import numpy as np
import pytest

import st_mm
from st_mm.ticket import KEY, load_checkpoint

pytestmark = pytest.mark.slow

TOOL = Path(__file__).parents[2] / 'tools' / 'ticket.py'
WIDTH, HEIGHT = 48, 64
EPOCHS = 4

PACKAGE = """
from mmpose.datasets import CocoDataset
from mmpose.models.backbones import MobileNetV2
from mmpose.registry import DATASETS, MODELS


@DATASETS.register_module()
class Shepherds(CocoDataset):
    # people of whom a few keypoints are annotated
    def load_data_list(self):
        return [p for p in super().load_data_list() if p['keypoints_visible'].sum() > 5]


@MODELS.register_module()
class ShallowMobileNet(MobileNetV2):
    # one block a stage
    arch_settings = [[t, c, 1, s] for t, c, _, s in MobileNetV2.arch_settings]
"""

CONFIG = """
_base_ = [
    'mmpose::body_2d_keypoint/topdown_heatmap/coco/td-hm_mobilenetv2_8xb64-210e_coco-256x192.py'
]

custom_imports = dict(imports=['st_mm', 'shepherds'], allow_failed_imports=False)
search = dict(type='SearchHook', interval=2, rho=1e-2, warmup=1, threshold=0.9985, min_macs_drop=1,
              input_shape=(3, 256, 192))
prune = dict(type='ProgressivePruneHook', ratio=0.9, interval=1, step=0.45, end=3,
             rules=[dict(names='*', min_per_channel=1)])
custom_hooks = [*_base_.custom_hooks, search, prune, dict(type='ReactivateHook', on='search')]

model = dict(
    backbone=dict(type='ShallowMobileNet', widen_factor=0.25, init_cfg=None),
    head=dict(deconv_out_channels=(16, 16, 16)),
)
optim_wrapper = dict(optimizer=dict(lr=1e-3))
param_scheduler = []
train_cfg = dict(max_epochs=4, val_interval=4)
default_hooks = dict(checkpoint=dict(interval=1, save_best=None))
randomness = dict(seed=0)
people = dict(type='Shepherds', data_root='data/', ann_file='people.json', data_prefix=dict(img=''))
loader = dict(batch_size=2, num_workers=0, persistent_workers=False)
train_dataloader = dict(dataset=people, **loader)
val_dataloader = dict(dataset=dict(bbox_file=None, **people), **loader)
test_dataloader = val_dataloader
val_evaluator = [dict(type='CocoMetric', ann_file='data/people.json'), dict(type='EPE')]
test_evaluator = val_evaluator
"""


@pytest.fixture(scope='module')
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Package, config and data; nothing of the repository is near."""
    folder = tmp_path_factory.mktemp('pasture')
    (folder / 'shepherds').mkdir()
    (folder / 'shepherds' / '__init__.py').write_text(PACKAGE)
    (folder / 'config.py').write_text(CONFIG)
    rng = np.random.default_rng(0)
    images, people = [], []
    for i in range(1, 7):
        picture = rng.integers(0, 256, (HEIGHT, WIDTH, 3), np.uint8)
        mmcv.imwrite(picture, str(folder / 'data' / f'{i}.png'))
        images.append(dict(id=i, file_name=f'{i}.png', width=WIDTH, height=HEIGHT))
        points = np.column_stack(
            [rng.integers(4, (WIDTH - 4, HEIGHT - 4), (17, 2)), np.full(17, 2)]
        )
        points[i % 2 :: 2] *= i > 2  # the first two people have 8 or 9 keypoints
        person = dict(id=i, image_id=i, category_id=1, iscrowd=0, num_keypoints=17)
        box = dict(bbox=[2, 2, WIDTH - 4, HEIGHT - 4], area=(WIDTH - 4) * (HEIGHT - 4))
        people.append(dict(**person, **box, keypoints=points.flatten().tolist()))
    categories = [dict(id=1, name='person')]
    content = dict(images=images, annotations=people, categories=categories)
    (folder / 'data' / 'people.json').write_text(json.dumps(content))
    return folder


def run(project: Path, *command: object) -> str:
    """Run a command as in the project's folder; gives what it prints."""
    done = subprocess.run(
        [sys.executable, *map(str, command)],
        cwd=project,
        env={**os.environ, 'PYTHONPATH': '.'},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, (done.stdout + done.stderr)[-3000:]
    return done.stdout


def test_trained_tested_and_shown(project: Path) -> None:
    run(project, '-m', 'mim', 'train', 'mmpose', 'config.py', '--work-dir', 'run')
    checkpoint = project / 'run' / f'epoch_{EPOCHS}.pth'
    saved = load_checkpoint(checkpoint)
    record = saved['meta'][KEY]
    kinds = [(event['kind'], event['t']) for event in record['events']]
    assert {('prune', 1), ('search', 2), ('reactivate', 2), ('prune', 2), ('prune', 3)} <= set(
        kinds
    )
    units = sum(len(kept) for groups in record['units'].values() for kept in groups.values())
    total = sum(count for groups in record['total'].values() for count in groups.values())
    assert 0 < units < total
    weights = [saved['state_dict'][name] for name in record['masks']]
    density = sum(int(w.count_nonzero()) for w in weights) / sum(w.numel() for w in weights)
    assert density == pytest.approx(0.1, abs=1e-3)

    command = ['-m', 'mim', 'test', 'mmpose', 'config.py', '--checkpoint', checkpoint]
    run(project, *command, '--work-dir', 'test')
    [tested] = (project / 'test').glob('*/*.json')
    scores = json.loads(tested.read_text())
    [scalars] = (project / 'run').glob('*/vis_data/scalars.json')
    [logged] = [line for line in map(json.loads, scalars.read_text().splitlines()) if 'EPE' in line]
    compared = {'EPE', 'coco/AP', 'coco/AR'}
    assert {name: scores[name] for name in compared} == {name: logged[name] for name in compared}
    assert scores['EPE'] > 0

    # a config out of a file imports nothing, so its own classes are not known
    alone = subprocess.run(
        [sys.executable, TOOL, 'show', checkpoint], cwd=project, capture_output=True, text=True
    )
    assert alone.returncode == 2
    assert "it imports 'shepherds', and nothing is imported out of a checkpoint" in alone.stderr
    assert '--config FILE' in alone.stderr

    shown = run(project, TOOL, 'show', checkpoint, '--config', 'config.py', '--json', 'ticket.json')
    assert 'Shepherds, data/, 17 keypoints' in shown
    plain = json.loads((project / 'ticket.json').read_text())
    alive = [group['alive'] for block in plain['blocks'] for group in block['units'].values()]
    assert sum(alive) == units


def test_a_base_of_ours(project: Path) -> None:
    """A config of ours as the base, by path: whole or a part, wherever the child lies."""
    part = '_base_/models/hr_supernet_seg.py'
    (project / 'supernet.py').write_text(
        "_base_ = ['mmseg::_base_/default_runtime.py',\n"
        f"          __import__('st_mm').config_path('{part}')]\n"
        "custom_imports = dict(imports=['st_mm'], allow_failed_imports=False)\n"
    )
    script = (
        'from mmengine import Config; from mmengine.registry import MODELS\n'
        "config = Config.fromfile('supernet.py'); import mmseg.models\n"
        'print(type(MODELS.build(config.model.backbone)).__name__, config.default_scope)'
    )
    assert run(project, '-c', script).split()[-2:] == ['HRSupernet', 'mmseg']
    assert Path(st_mm.config_path(part)).is_absolute()

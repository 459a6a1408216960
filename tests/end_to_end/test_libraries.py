"""Tickets in all three libraries: our supernet in mmpose and mmpretrain, and networks of theirs."""

import copy
import json
import pickle
import subprocess
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import mmcv
import numpy as np
import pytest
import torch
from mmengine import Config
from mmengine.evaluator import BaseMetric
from mmengine.registry import METRICS
from mmengine.runner import Runner
from mmpose.apis import init_model
from mmpretrain import get_model
from torch import nn

from st_mm.ticket import KEY, load_checkpoint

pytestmark = pytest.mark.slow

Entries = dict[str, Any]

PIXELS = 64
PICTURE = dict(mean=[127.5] * 3, std=[64.0] * 3)
BN = dict(norm_cfg=dict(type='BN'))  # their SyncBN trains on GPUs only
CODEC = dict(
    type='MSRAHeatmap', input_size=(PIXELS, PIXELS), heatmap_size=(PIXELS // 4,) * 2, sigma=1
)

OURS = dict(
    mmpose=dict(
        type='TopdownPoseEstimator',
        data_preprocessor=dict(type='PoseDataPreprocessor', **PICTURE),
        neck=dict(type='HRFusionNeck', in_channels=(6, 12), out_channels=12),
        head=dict(
            type='HeatmapHead',
            in_channels=12,
            out_channels=17,
            deconv_out_channels=None,
            loss=dict(type='KeypointMSELoss', use_target_weight=True),
            decoder=CODEC,
        ),
        test_cfg=dict(flip_test=True, flip_mode='heatmap', shift_heatmap=True),
    ),
    mmpretrain=dict(
        type='ImageClassifier',
        data_preprocessor=dict(type='ClsDataPreprocessor', num_classes=2, **PICTURE),
        neck=dict(
            type='HRClassificationNeck', in_channels=(6, 12), head_channels=(8, 16), out_channels=24
        ),
        head=dict(
            type='LinearClsHead',
            in_channels=24,
            num_classes=2,
            topk=(1,),
            loss=dict(type='LabelSmoothLoss', label_smooth_val=0.1, num_classes=2),
        ),
    ),
)
for model in OURS.values():
    model['backbone'] = dict(
        type='HRSupernet',
        stem_channels=(4, 8),
        stage_channels=((8,), (6, 12)),
        stage_blocks=((1,), (1, 1)),
    )
EPOCHS = 4
EVENTS = [
    ('prune', 1),
    ('search', 2),
    ('reactivate', 2),
    ('prune', 2),
    ('prune', 3),
    ('search', 4),
    ('refit', 4),
]
DENSITIES = {1: 0.55, 2: 0.1, 3: 0.1, 4: 0.1}
HOOKS = [
    dict(type='EMAHook', ema_type='MomentumAnnealingEMA', gamma=9, update_buffers=True),
    dict(
        type='SearchHook',
        interval=2,
        rho=1e-2,
        warmup=1,
        threshold=0.985,
        min_macs_drop=1,
        input_shape=(3, PIXELS, PIXELS),
        calibration_batches=2,
    ),
    dict(
        type='ProgressivePruneHook', ratio=0.9, interval=1, step=0.45, end=3, calibration_batches=2
    ),
    dict(type='ReactivateHook'),
]

THEIRS = dict(
    mmseg=dict(
        _base_='mmseg::pspnet/pspnet_r18-d8_4xb2-80k_cityscapes-512x1024.py',
        model=dict(
            data_preprocessor=dict(size=(PIXELS, 2 * PIXELS)),
            pretrained=None,
            backbone=BN,
            decode_head=BN,
            auxiliary_head=BN,
        ),
        train_cfg=dict(max_iters=3, val_interval=3),
        default_hooks=dict(checkpoint=dict(interval=3)),
    ),
    mmpose=dict(
        _base_='mmpose::body_2d_keypoint/topdown_heatmap/coco/'
        'td-hm_mobilenetv2_8xb64-210e_coco-256x192.py',
        model=dict(backbone=dict(init_cfg=None), head=dict(decoder=CODEC)),
        train_cfg=dict(max_epochs=3, val_interval=3),
        default_hooks=dict(checkpoint=dict(interval=3)),
    ),
    mmpretrain=dict(
        _base_='mmpretrain::resnet/resnet18_8xb32_in1k.py',
        train_cfg=dict(max_epochs=3, val_interval=3),
        default_hooks=dict(checkpoint=dict(interval=3)),
    ),
)
LAST = dict(mmseg='iter_3.pth', mmpose='epoch_3.pth', mmpretrain='epoch_3.pth')
CLASSIFIERS = dict(
    mmseg={'decode_head.conv_seg', 'auxiliary_head.conv_seg'},
    mmpose={'head.final_layer'},
    mmpretrain={'head.fc'},
)


@METRICS.register_module()
class MeanScore(BaseMetric):
    """Tells networks apart that are equally accurate."""

    default_prefix = 'st'

    def process(self, data_batch: object, data_samples: list[dict]) -> None:
        self.results += [_scores(sample).double().mean() for sample in data_samples]

    def compute_metrics(self, results: list[torch.Tensor]) -> dict[str, float]:
        return dict(score=torch.stack(results).mean().item())


def _scores(sample: dict) -> torch.Tensor:
    """What a network says about a picture, in full precision."""
    if 'seg_logits' in sample:
        return sample['seg_logits']['data']
    if 'pred_instances' in sample:
        return torch.as_tensor(sample['pred_instances']['keypoint_scores'])
    return sample['pred_score']


@pytest.fixture(scope='module')
def persons(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """4 pictures, and keypoints in COCO's format."""
    folder = tmp_path_factory.mktemp('persons')
    rng = np.random.default_rng(0)
    images, annotations = [], []
    for i in range(1, 5):
        _picture(rng, folder / f'{i}.png')
        images.append(dict(id=i, file_name=f'{i}.png', width=PIXELS, height=PIXELS))
        points = np.column_stack([rng.integers(8, PIXELS - 8, (17, 2)), np.full(17, 2)])
        person = dict(id=i, image_id=i, category_id=1, iscrowd=0, num_keypoints=17)
        box = dict(bbox=[4, 4, PIXELS - 8, PIXELS - 8], area=(PIXELS - 8) ** 2)
        annotations.append(dict(**person, **box, keypoints=points.flatten().tolist()))
    categories = [dict(id=1, name='person')]
    content = dict(images=images, annotations=annotations, categories=categories)
    (folder / 'persons.json').write_text(json.dumps(content))
    return folder


@pytest.fixture(scope='module')
def classes(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """2 pictures in the folder of each class."""
    folder = tmp_path_factory.mktemp('classes')
    rng = np.random.default_rng(0)
    for name in ('a/1', 'a/2', 'b/1', 'b/2'):
        _picture(rng, folder / f'{name}.png')
    return folder


def _picture(rng: np.random.Generator, path: Path) -> None:
    mmcv.imwrite(rng.integers(0, 256, (PIXELS, PIXELS, 3), np.uint8), str(path))


@pytest.fixture(scope='module')
def data(persons: Path, classes: Path, toy_streets: Path) -> dict[str, Entries]:
    """Entries on data in a config of each library; nothing is random but the order."""
    street = dict(
        type='CityscapesDataset',
        data_prefix=dict(img_path='leftImg8bit/val', seg_map_path='gtFine/val'),
        data_root=f'{toy_streets}/',
        pipeline=[
            dict(type='LoadImageFromFile'),
            dict(type='LoadAnnotations'),
            dict(type='PackSegInputs'),
        ],
    )
    person = dict(
        type='CocoDataset',
        data_root=f'{persons}/',
        data_mode='topdown',
        ann_file='persons.json',
        bbox_file=None,
        data_prefix=dict(img=''),
    )
    load = [
        dict(type='LoadImage'),
        dict(type='GetBBoxCenterScale'),
        dict(type='TopdownAffine', input_size=CODEC['input_size']),
    ]
    target, pack = dict(type='GenerateTarget', encoder=CODEC), dict(type='PackPoseInputs')
    picture = dict(
        type='CustomDataset',
        data_root=str(classes),
        pipeline=[dict(type='LoadImageFromFile'), dict(type='PackInputs')],
    )
    return dict(
        mmseg=_data(street, street, dict(type='IoUMetric', iou_metrics=['mIoU'])),
        mmpose=_data(
            dict(**person, pipeline=[*load, target, pack]),
            dict(**person, pipeline=[*load, pack], test_mode=True),
            dict(type='CocoMetric', ann_file=f'{persons}/persons.json'),
        ),
        mmpretrain=_data(picture, picture, dict(type='Accuracy', topk=(1,))),
    )


def _data(train: Entries, test: Entries, evaluator: Entries) -> Entries:
    loader = dict(batch_size=2, num_workers=0, persistent_workers=False)
    at_random = dict(**loader, sampler=dict(type='DefaultSampler', shuffle=True), dataset=train)
    in_order = dict(**loader, sampler=dict(type='DefaultSampler', shuffle=False), dataset=test)
    return dict(
        train_dataloader=at_random,
        val_dataloader=in_order,
        test_dataloader=in_order,
        val_evaluator=evaluator,
        test_evaluator=evaluator,
    )


def _config(path: Path, **entries: object) -> Config:
    """Write a config as a user does, and read it as mm's tools do."""
    path.parent.mkdir(parents=True, exist_ok=True)
    entries['custom_imports'] = dict(imports=['st_mm'])
    path.write_text('\n'.join(f'{name} = {value!r}' for name, value in entries.items()))
    return Config.fromfile(path)


def _runner(config: Config, work_dir: Path, **changes: object) -> Runner:
    config = copy.deepcopy(config)
    config.merge_from_dict(changes)
    config.work_dir = str(work_dir)
    # runners of one name share their logs
    config.experiment_name = config.visualizer.name = f'{work_dir.parent.name}-{work_dir.name}'
    return Runner.from_cfg(config)


def _density(state: dict[str, torch.Tensor], names: Iterable[str]) -> float:
    weights = [state[name] for name in names]
    return sum(int(w.count_nonzero()) for w in weights) / sum(w.numel() for w in weights)


@pytest.fixture(scope='module', params=OURS)
def library(request: pytest.FixtureRequest) -> str:
    return request.param


@pytest.fixture(scope='module')
def config(library: str, data: dict, tmp_path_factory: pytest.TempPathFactory) -> Config:
    """A config that draws tickets of our supernet."""
    entries = dict(
        model=OURS[library],
        custom_hooks=HOOKS,
        **data[library],
        train_cfg=dict(by_epoch=True, max_epochs=EPOCHS, val_interval=1),
        val_cfg={},
        test_cfg={},
        optim_wrapper=dict(optimizer=dict(type='Adam', lr=1e-2)),
        default_hooks=dict(checkpoint=dict(interval=1, max_keep_ckpts=-1), logger=dict(interval=1)),
        randomness=dict(seed=0),
    )
    for name in ('val_evaluator', 'test_evaluator'):
        entries[name] = [entries[name], dict(type='MeanScore')]
    base = f'{library}::_base_/default_runtime.py'
    return _config(tmp_path_factory.mktemp(library) / 'config.py', _base_=base, **entries)


@pytest.fixture(scope='module')
def run(config: Config, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Work dir of a finished training."""
    work_dir = tmp_path_factory.mktemp('trained') / 'run'
    _runner(config, work_dir).train()
    return work_dir


def test_events_of_our_supernet(run: Path) -> None:
    events = load_checkpoint(run / f'epoch_{EPOCHS}.pth')['meta'][KEY]['events']
    assert [(event['kind'], event['t']) for event in events] == EVENTS
    assert all(event['removed'] for event in events if event['kind'] == 'search')


@pytest.mark.parametrize('weights', ['state_dict', 'ema_state_dict'])
def test_density_of_our_supernet(run: Path, weights: str) -> None:
    for epoch, density in DENSITIES.items():
        saved = load_checkpoint(run / f'epoch_{epoch}.pth')
        state = {name.removeprefix('module.'): tensor for name, tensor in saved[weights].items()}
        names = list(saved['meta'][KEY]['masks'])
        assert _density(state, names) == pytest.approx(density, abs=1e-3)
        assert not any(name.startswith('head.') for name in names)


def test_evaluation_sees_the_network_of_the_checkpoint(
    config: Config, run: Path, tmp_path: Path
) -> None:
    """What was logged when an epoch was validated is what a test of its checkpoint gives."""
    [scalars] = run.glob('*/vis_data/scalars.json')
    lines = [json.loads(line) for line in scalars.read_text().splitlines()]
    logged = {line['step']: line for line in lines if 'st/score' in line}
    assert list(logged) == list(DENSITIES)
    for epoch, line in logged.items():
        checkpoint = str(run / f'epoch_{epoch}.pth')
        metrics = _runner(config, tmp_path / f'test_{epoch}', load_from=checkpoint).test()
        assert len(metrics) > 1
        assert metrics == {name: line[name] for name in metrics}


@torch.no_grad()
def test_loading_our_supernet(library: str, config: Config, run: Path, tmp_path: Path) -> None:
    """By mm's own functions, bit for bit what plain torch gives."""
    checkpoint = run / f'epoch_{EPOCHS}.pth'
    plain = _runner(config, tmp_path / 'plain').model.eval()
    plain.load_state_dict(load_checkpoint(checkpoint)['state_dict'])
    if library == 'mmpose':
        loaded = init_model(config, str(checkpoint), device='cpu')
    else:
        loaded = get_model(config, pretrained=str(checkpoint), device='cpu')
    pictures = torch.randn(2, 3, PIXELS, PIXELS)
    expected = plain(pictures, None, mode='tensor')
    assert torch.equal(loaded.eval()(pictures, None, mode='tensor'), expected)


@pytest.mark.parametrize('library', THEIRS)
def test_a_network_of_theirs(library: str, data: dict, tmp_path: Path, monkeypatch) -> None:
    """Trained from a config of theirs, tested by the command line."""
    monkeypatch.chdir(tmp_path)  # where the predictions are written
    prune = dict(type='ProgressivePruneHook', ratio=0.9, interval=1, step=0.45, end=2)
    prune.update(calibration_batches=2, by_epoch=library != 'mmseg')
    entries = {**data[library], **THEIRS[library]}
    for split in ('train', 'val', 'test'):
        entries[f'{split}_dataloader'] = {**entries[f'{split}_dataloader'], '_delete_': True}
    entries['test_evaluator'] = [
        entries['test_evaluator'],
        dict(type='DumpResults', out_file_path='predictions.pkl'),
    ]
    hooks = [prune, dict(type='ReactivateHook', on='prune', scope='all')]
    config = _config(tmp_path / 'config.py', **entries, custom_hooks=hooks)
    _runner(config, tmp_path / 'run').train()

    checkpoint = tmp_path / 'run' / LAST[library]
    saved = load_checkpoint(checkpoint)
    plain = _runner(config, tmp_path / 'plain', custom_hooks=[])
    names = {
        f'{name}.weight'
        for name, module in plain.model.named_modules()
        if isinstance(module, nn.modules.conv._ConvNd | nn.Linear)
        and name not in CLASSIFIERS[library]
    }
    assert names == saved['meta'][KEY]['masks'].keys()
    assert _density(saved['state_dict'], names) == pytest.approx(0.1, abs=1e-3)
    for name in CLASSIFIERS[library]:
        assert saved['state_dict'][f'{name}.weight'].all()
    events = saved['meta'][KEY]['events']
    assert [(e['kind'], e['t']) for e in events] == [('prune', 1), ('reactivate', 1), ('prune', 2)]
    assert events[1]['density'] == 1

    mim = [sys.executable, '-m', 'mim', 'test', library, 'config.py', '--checkpoint', checkpoint]
    done = subprocess.run(mim, capture_output=True, text=True)
    assert done.returncode == 0, (done.stdout + done.stderr)[-3000:]
    ours = pickle.loads((tmp_path / 'predictions.pkl').read_bytes())
    plain.model.load_state_dict(saved['state_dict'])
    plain.test()
    theirs = pickle.loads((tmp_path / 'predictions.pkl').read_bytes())
    for one, other in zip(ours, theirs, strict=True):
        assert torch.equal(_scores(one), _scores(other))

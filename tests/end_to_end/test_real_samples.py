"""The full recipes on real samples: a step, a validation and a test by the libraries' own classes.

The configs are those of the paper's recipes, with nothing in them changed but where the files lie,
batches, workers, and sizes of pictures where a CPU would take minutes for the full ones. Training
ends with its first epoch.
"""

import math
import os
import tarfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from mmengine import Config
from mmengine.hooks import Hook
from mmengine.runner import Runner

from st_mm.hooks.run_state import RunState
from st_mm.search import count_units
from st_mm.ticket import KEY, load_checkpoint
from st_mm.units import find_owners

pytestmark = [pytest.mark.slow, pytest.mark.data]

ROOT = Path(__file__).parents[2]
SHARED = Path(os.environ.get('ST_MM_SHARED_DIR', ROOT.parent / 'shared'))
RECIPES = dict(
    cityscapes='supertickets-p90_8xb4-430e_cityscapes-512x1024.py',
    ade20k='supertickets-p90_8xb8-200e_ade20k-512x512.py',
    coco_keypoint='supertickets-p90_8xb48-210e_coco-256x192.py',
    imagenet='supertickets-p90_8xb32-350e_imagenet-224x224.py',
)
UNITS = dict(cityscapes=44_928, ade20k=44_928, coco_keypoint=44_928, imagenet=47_952)
# samples seen in training, validation and test
SEEN = dict(cityscapes=(1, 1, 1), ade20k=(3, 3, 3), coco_keypoint=(12, 18, 12), imagenet=(4, 2, 2))
BATCH = 4
METRICS = dict(
    cityscapes={'mIoU': 100, 'aAcc': 100},
    ade20k={'mIoU': 100, 'aAcc': 100},
    coco_keypoint={'coco/AP': 1, 'coco/AR': 1},
    imagenet={'accuracy/top1': 100, 'accuracy/top5': 100},
)


@pytest.fixture(scope='module')
def samples(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The single samples, and six pictures of Tiny-ImageNet in the folder `imagenet`."""
    folder = tmp_path_factory.mktemp('samples')
    with tarfile.open(SHARED / 'data' / 'dataset_class_samples.tar.gz') as archive:
        archive.extractall(folder, filter='data')
    with tarfile.open(SHARED / 'data' / 'tiny_imagenet_20.tar.gz') as archive:
        members = {member.name: member for member in archive}
        for split, count in (('train', 4), ('val', 2)):
            listed = archive.extractfile(members[f'tiny_imagenet_20/meta/{split}.txt'])
            lines = listed.read().decode().splitlines()
            chosen = lines[:: len(lines) // count][:count]
            (folder / 'imagenet' / split).mkdir(parents=True)
            (folder / 'imagenet' / f'{split}.txt').write_text('\n'.join(chosen))
            for line in chosen:
                name = line.split()[0]
                target = folder / 'imagenet' / split / name
                target.parent.mkdir(exist_ok=True)
                member = members[f'tiny_imagenet_20/{split}/{name}']
                target.write_bytes(archive.extractfile(member).read())
    return folder


def steps(config: Config, split: str) -> dict[str, dict]:
    """The steps of a pipeline, by type, to be changed."""
    return {step.type: step for step in config[f'{split}_dataloader'].dataset.pipeline}


def small_segmentation(config: Config, width: int, height: int) -> None:
    config.model.data_preprocessor.size = (height, width)
    steps(config, 'train')['RandomResize'].scale = (width, height)
    steps(config, 'train')['RandomCrop'].crop_size = (height, width)
    for split in ('val', 'test'):  # the score is that at full size
        steps(config, split)['Resize'].scale = (width, height)


def to_cityscapes(config: Config, samples: Path) -> None:
    small_segmentation(config, 256, 128)
    for split in ('train', 'val', 'test'):
        dataset = config[f'{split}_dataloader'].dataset
        dataset.data_root = str(samples / 'cityscapes')
        dataset.data_prefix = dict(img_path='leftImg8bit/val', seg_map_path='gtFine/val')


def to_ade20k(config: Config, samples: Path) -> None:
    small_segmentation(config, 128, 128)
    for split in ('train', 'val', 'test'):
        dataset = config[f'{split}_dataloader'].dataset
        dataset.data_root = str(samples / 'ade' / 'ADEChallengeData2016')
        parts = dict(img_path='images/validation', seg_map_path='annotations/validation')
        dataset.data_prefix = parts


def to_coco_keypoint(config: Config, samples: Path) -> None:
    """Detected boxes in validation, annotated ones in the test."""
    folder = samples / 'mmpose_tests_data' / 'coco'
    codec = dict(type='MSRAHeatmap', input_size=(96, 128), heatmap_size=(24, 32), sigma=1)
    config.model.head.decoder = codec
    for split in ('train', 'val', 'test'):
        dataset = config[f'{split}_dataloader'].dataset
        dataset.update(data_root=str(folder), ann_file='test_coco.json', data_prefix=dict(img=''))
        steps(config, split)['TopdownAffine'].input_size = codec['input_size']
    steps(config, 'train')['GenerateTarget'].encoder = codec
    config.val_dataloader.dataset.bbox_file = str(folder / 'test_coco_det_AP_H_56.json')
    config.val_dataloader.dataset.filter_cfg = dict(bbox_score_thr=0.5)
    config.test_dataloader.dataset.bbox_file = None
    for split in ('val', 'test'):
        config[f'{split}_evaluator'].ann_file = str(folder / 'test_coco.json')


def to_imagenet(config: Config, samples: Path) -> None:
    for split in ('train', 'val', 'test'):
        dataset = config[f'{split}_dataloader'].dataset
        dataset.data_root = str(samples / 'imagenet')
        dataset.ann_file = f'{dataset.split}.txt'


PLACES: dict[str, Callable[[Config, Path], None]] = dict(
    cityscapes=to_cityscapes,
    ade20k=to_ade20k,
    coco_keypoint=to_coco_keypoint,
    imagenet=to_imagenet,
)


class Witness(Hook):
    """Counts what is seen, and ends training after an epoch."""

    def __init__(self) -> None:
        self.losses: list[float] = []
        self.seen = dict.fromkeys(('train', 'val', 'test'), 0)

    def after_train_iter(
        self, runner: Runner, batch_idx: int, data_batch: Any = None, outputs: Any = None
    ) -> None:
        self.losses.append(float(outputs['loss']))
        self.seen['train'] += len(data_batch['inputs'])

    def after_train_epoch(self, runner: Runner) -> None:
        runner.train_loop.stop_training = True

    def after_val_iter(
        self, runner: Runner, batch_idx: int, data_batch: Any = None, outputs: Any = None
    ) -> None:
        self.seen['val'] += len(outputs)

    def after_test_iter(
        self, runner: Runner, batch_idx: int, data_batch: Any = None, outputs: Any = None
    ) -> None:
        self.seen['test'] += len(outputs)


def build(config: Config, work_dir: Path) -> tuple[Runner, Witness]:
    config.work_dir = str(work_dir)
    config.experiment_name = config.visualizer.name = work_dir.name
    runner, witness = Runner.from_cfg(config), Witness()
    runner.register_hook(witness, priority='VERY_LOW')
    return runner, witness


@pytest.fixture
def config(folder: str, samples: Path) -> Config:
    config = Config.fromfile(ROOT / 'configs' / folder / RECIPES[folder])
    for split in ('train', 'val', 'test'):
        loader = config[f'{split}_dataloader']
        loader.update(num_workers=0, persistent_workers=False)
    config.train_dataloader.batch_size = BATCH
    config.default_hooks.checkpoint.interval = 1
    PLACES[folder](config, samples)
    return config


def check_metrics(metrics: dict[str, float], highest: dict[str, float]) -> None:
    for name, best in highest.items():
        assert 0 <= metrics[name] <= best, name


@pytest.mark.parametrize('folder', RECIPES)
def test_train_val_test(folder: str, config: Config, tmp_path: Path) -> None:
    runner, witness = build(config.copy(), tmp_path / f'{folder}-train')
    runner.train()

    train, val, test = SEEN[folder]
    assert witness.seen['train'] == train
    assert len(witness.losses) == math.ceil(train / BATCH)
    assert all(math.isfinite(loss) and loss > 0 for loss in witness.losses)
    hooks = {type(hook).__name__: hook for hook in runner.hooks}
    assert count_units(hooks['SearchHook'].owners) == UNITS[folder]
    assert hooks['SearchHook'].costs.keys() == hooks['SearchHook'].owners.keys()
    assert RunState.of(runner).masks.weights

    check_metrics(runner.val(), METRICS[folder])
    assert witness.seen['val'] == val

    checkpoint = tmp_path / f'{folder}-train' / 'epoch_1.pth'
    record = load_checkpoint(checkpoint)['meta'][KEY]
    assert record['config'].keys() == {'SearchHook', 'ProgressivePruneHook', 'ReactivateHook'}
    assert record['config']['SearchHook']['interval'] == config.search.interval

    config.load_from = str(checkpoint)
    runner, witness = build(config, tmp_path / f'{folder}-test')
    check_metrics(runner.test(), METRICS[folder])
    assert witness.seen['test'] == test
    assert count_units(find_owners(runner.model)) == UNITS[folder]

"""Every way to load a ticket, for our network and two of theirs, in all three libraries.

The configs name stock backbones; the blocks take a ticket's widths by themselves. Each path has to
give, bit for bit, what plain torch gives: ``load_state_dict(strict=True)`` into a fresh model.
``pytest -s`` prints the matrix.
"""

import importlib
import json
import pickle
import re
import subprocess
import sys
from collections import defaultdict
from collections.abc import Callable, Iterator
from operator import attrgetter
from pathlib import Path
from typing import Any, NamedTuple

import mmcv
import mmpose.apis
import mmpretrain
import mmseg.apis
import numpy as np
import pytest
import torch
from mmengine import Config
from mmengine.hooks import Hook
from mmengine.runner import Runner, load_checkpoint
from torch import Tensor, nn

from st_mm.hooks.run_state import averaged_models
from st_mm.search import count_units
from st_mm.ticket import KEY
from st_mm.ticket import load_checkpoint as read
from st_mm.units import find_owners
from st_mm.units.loading import shapes_at

pytestmark = pytest.mark.slow

Entries = dict[str, Any]

PIXELS = 64
HEIGHT, WIDTH = PIXELS, dict(mmseg=2 * PIXELS, mmpose=PIXELS, mmpretrain=PIXELS)
PICTURE = dict(mean=[127.5] * 3, std=[64.0] * 3)
BN = dict(norm_cfg=dict(type='BN'))
CODEC = dict(
    type='MSRAHeatmap', input_size=(PIXELS, PIXELS), heatmap_size=(PIXELS // 4,) * 2, sigma=1
)

BACKBONES = dict(
    HRSupernet=dict(
        type='HRSupernet',
        stem_channels=(4, 8),
        stage_channels=((8,), (6, 12)),
        stage_blocks=((1,), (1, 1)),
    ),
    MobileNetV2=dict(type='MobileNetV2', widen_factor=0.25),
    MobileNetV3=dict(type='MobileNetV3', arch='small'),
)
NECKS = dict(
    mmseg=dict(type='HRFusionNeck', in_channels=(6, 12), out_channels=12),
    mmpose=dict(type='HRFusionNeck', in_channels=(6, 12), out_channels=12),
    mmpretrain=dict(
        type='HRClassificationNeck', in_channels=(6, 12), head_channels=(8, 16), out_channels=24
    ),
)
CHANNELS = dict(  # what the head sees
    mmseg=dict(HRSupernet=12, MobileNetV2=80, MobileNetV3=576),
    mmpose=dict(HRSupernet=12, MobileNetV2=1280, MobileNetV3=96),
    mmpretrain=dict(HRSupernet=24, MobileNetV2=1280, MobileNetV3=576),
)
# started as a process for these, since each takes ten seconds; tests of the others run inside
COMMAND_LINE = [('mmseg', 'MobileNetV2'), ('mmpose', 'MobileNetV3'), ('mmpretrain', 'HRSupernet')]
CASES = [(library, network) for library in CHANNELS for network in BACKBONES]

SEARCH, END = 2, 3  # iterations
HOOKS = [
    dict(type='EMAHook', ema_type='MomentumAnnealingEMA', gamma=9, update_buffers=True),
    dict(type='SearchHook', interval=SEARCH, min_macs_drop=1, calibration_batches=2),
    dict(
        type='ProgressivePruneHook',
        ratio=0.9,
        interval=1,
        step=0.45,
        end=2,
        calibration_batches=2,
        rules=[dict(names='*', min_per_channel=1)],  # untrained layers die of a common threshold
    ),
    dict(type='ReactivateHook', on='search'),
]
EVENTS = [('prune', 1), ('search', 2), ('reactivate', 2), ('prune', 2)]


def _model(library: str, network: str) -> Entries:
    """A model of a library around a backbone; of what is ours it has no more than the names."""
    channels = CHANNELS[library][network]
    model: Entries = dict(backbone=BACKBONES[network])
    if network == 'HRSupernet':
        model['neck'] = NECKS[library]
    if library == 'mmseg':
        model.update(
            type='EncoderDecoder',
            data_preprocessor=dict(
                type='SegDataPreProcessor', size=(HEIGHT, WIDTH[library]), **PICTURE
            ),
            decode_head=dict(
                type='FCNHead',
                in_channels=channels,
                in_index=0 if 'neck' in model else -1,
                channels=8,
                num_convs=1,
                concat_input=False,
                num_classes=19,
                **BN,
            ),
            test_cfg=dict(mode='whole'),
        )
    elif library == 'mmpose':
        upsample = dict(deconv_out_channels=(8, 8, 8), deconv_kernel_sizes=(4, 4, 4))
        model.update(
            type='TopdownPoseEstimator',
            data_preprocessor=dict(type='PoseDataPreprocessor', **PICTURE),
            head=dict(
                type='HeatmapHead',
                in_channels=channels,
                out_channels=17,
                **(dict(deconv_out_channels=None) if 'neck' in model else upsample),
                loss=dict(type='KeypointMSELoss', use_target_weight=True),
                decoder=CODEC,
            ),
            test_cfg=dict(flip_test=True, flip_mode='heatmap', shift_heatmap=True),
        )
    else:
        model.update(
            type='ImageClassifier',
            data_preprocessor=dict(type='ClsDataPreprocessor', num_classes=2, **PICTURE),
            head=dict(
                type='LinearClsHead',
                in_channels=channels,
                num_classes=2,
                topk=(1,),
                loss=dict(type='CrossEntropyLoss'),
            ),
        )
        model.setdefault('neck', dict(type='GlobalAveragePooling'))
    return model


@pytest.fixture(scope='module')
def pictures(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """4 pictures in folders of 2 classes, and keypoints for each in COCO's format."""
    folder = tmp_path_factory.mktemp('pictures')
    rng = np.random.default_rng(0)
    images, annotations = [], []
    for i, file in enumerate(('a/1.png', 'a/2.png', 'b/3.png', 'b/4.png'), 1):
        mmcv.imwrite(rng.integers(0, 256, (PIXELS, PIXELS, 3), np.uint8), str(folder / file))
        images.append(dict(id=i, file_name=file, width=PIXELS, height=PIXELS))
        points = np.column_stack([rng.integers(8, PIXELS - 8, (17, 2)), np.full(17, 2)])
        person = dict(id=i, image_id=i, category_id=1, iscrowd=0, num_keypoints=17)
        box = dict(bbox=[4, 4, PIXELS - 8, PIXELS - 8], area=(PIXELS - 8) ** 2)
        annotations.append(dict(**person, **box, keypoints=points.flatten().tolist()))
    categories = [dict(id=1, name='person')]
    content = dict(images=images, annotations=annotations, categories=categories)
    (folder / 'persons.json').write_text(json.dumps(content))
    return folder


def _dataset(library: str, pictures: Path, streets: Path, train: bool) -> tuple[Entries, Entries]:
    """A dataset of a library without anything random, and what scores it."""
    if library == 'mmseg':
        pipeline = [dict(type='LoadImageFromFile'), dict(type='PackSegInputs')]
        pipeline.insert(1, dict(type='LoadAnnotations'))
        prefix = dict(img_path='leftImg8bit/val', seg_map_path='gtFine/val')
        dataset = dict(type='CityscapesDataset', data_root=f'{streets}/', data_prefix=prefix)
        metric = dict(type='IoUMetric', iou_metrics=['mIoU'])
    elif library == 'mmpose':
        pipeline = [
            dict(type='LoadImage'),
            dict(type='GetBBoxCenterScale'),
            dict(type='TopdownAffine', input_size=CODEC['input_size']),
        ]
        pipeline += [dict(type='GenerateTarget', encoder=CODEC)] if train else []
        pipeline.append(dict(type='PackPoseInputs'))
        dataset = dict(type='CocoDataset', data_root=f'{pictures}/', data_prefix=dict(img=''))
        dataset.update(data_mode='topdown', ann_file='persons.json', test_mode=not train)
        metric = dict(type='CocoMetric', ann_file=f'{pictures}/persons.json')
    else:
        pipeline = [dict(type='LoadImageFromFile'), dict(type='PackInputs')]
        dataset = dict(type='CustomDataset', data_root=str(pictures))
        metric = dict(type='Accuracy', topk=(1,))
    return dict(**dataset, pipeline=pipeline), metric


class Drawn(NamedTuple):
    """A config file, the ticket drawn from it, and how far its surgery moved the outputs."""

    library: str
    network: str
    file: Path
    checkpoint: Path
    drifts: list[float]  # of the live model and of the EMA

    @property
    def config(self) -> Config:
        return Config.fromfile(self.file)

    def load(self, checkpoint: Path | None = None) -> nn.Module:
        """By the library's own function; a fresh model without a checkpoint."""
        path = str(checkpoint) if checkpoint else None
        if self.library == 'mmpretrain':
            return mmpretrain.get_model(self.config, pretrained=path, device='cpu')
        apis = mmseg.apis if self.library == 'mmseg' else mmpose.apis
        return apis.init_model(self.config, path, device='cpu')

    def plain(self, entry: str = 'state_dict') -> nn.Module:
        """What every path is measured against."""
        model = self.load()
        model.load_state_dict(_weights(self.checkpoint, entry), strict=True)
        return model.eval()

    def runner(self, folder: Path, **changes: object) -> Runner:
        config = self.config
        config.merge_from_dict(changes)
        config.work_dir = str(folder)
        # runners of one name share their logs
        config.experiment_name = f'{self.library}-{self.network}-{folder.parent.name}-{folder.name}'
        config.visualizer.name = config.experiment_name
        return Runner.from_cfg(config)


def _weights(checkpoint: Path, entry: str = 'state_dict') -> dict[str, Tensor]:
    """Weights in a file: those of the EMA, or the live ones under ``ema_state_dict``."""
    state = read(checkpoint)[entry]
    state.pop('steps', None)
    return {name.removeprefix('module.'): tensor for name, tensor in state.items()}


@torch.no_grad()
def _outputs(model: nn.Module, library: str, part: str = '') -> list[Tensor]:
    """What a model, or a part of it, makes of two pictures in eval mode; the mode stays."""
    generator = torch.Generator().manual_seed(1)
    pictures = 3 * torch.randn(2, 3, HEIGHT, WIDTH[library], generator=generator)  # of contrast
    training = model.training
    model.eval()
    found = attrgetter(part)(model)(pictures) if part else model(pictures, None, mode='tensor')
    model.train(training)
    return list(found) if isinstance(found, list | tuple) else [found]


class At(Hook):
    """Does something at the iteration of the search."""

    def __init__(self, priority: int, act: Callable[[Runner], None]) -> None:
        self.priority = priority
        self.act = act

    def after_train_iter(self, runner: Runner, *_: object, **__: object) -> None:
        if runner.iter + 1 == SEARCH:
            self.act(runner)


def _both(runner: Runner) -> list[nn.Module]:
    """The live model and its average."""
    return [runner.model, *(average.module for average in averaged_models(runner))]


def _starve(runner: Runner) -> None:
    """Bring units to where a long penalty brings them: no scale, but a constant to emit."""
    generator = torch.Generator().manual_seed(0)
    for name, owner in find_owners(runner.model).items():
        dead = torch.rand(owner.unit_bn.weight.shape, generator=generator) < 0.4
        for model in _both(runner):
            norm = find_owners(model)[name].unit_bn
            norm.weight.data[dead] = 0
            norm.bias.data[dead] = 0.3


def _train(drawn: Drawn, folder: Path, **changes: object) -> None:
    """Train, with units that die right before they are searched for."""
    runner = drawn.runner(folder, **changes)
    seen: list[list[list[Tensor]]] = []

    def look(runner: Runner) -> None:
        seen.append([_outputs(model, drawn.library) for model in _both(runner)])

    # in the order of their registration where priorities are equal
    for priority, act in ((38, _starve), (39, look), (40, look)):
        runner.register_hook(At(priority, act))
    runner.train()
    if seen:
        drawn.drifts[:] = map(_drift, *seen)


def _drift(before: list[Tensor], after: list[Tensor]) -> float:
    return max(((a - b).norm() / b.norm()).item() for a, b in zip(after, before, strict=True))


@pytest.fixture(scope='module', params=CASES, ids='-'.join)
def drawn(
    request: pytest.FixtureRequest,
    pictures: Path,
    toy_streets: Path,
    tmp_path_factory: pytest.TempPathFactory,
) -> Drawn:
    """A ticket of 3 iterations: searched and pruned at the second, then trained sparse."""
    library, network = request.param
    folder = tmp_path_factory.mktemp(f'{library}-{network}')
    train, _ = _dataset(library, pictures, toy_streets, train=True)
    test, metric = _dataset(library, pictures, toy_streets, train=False)
    loader = dict(batch_size=2, num_workers=0, persistent_workers=False)
    hooks = [dict(hook) for hook in HOOKS]
    for hook in hooks[1:3]:
        hook['by_epoch'] = False
    hooks[1]['input_shape'] = (3, HEIGHT, WIDTH[library])
    entries = dict(
        _base_=f'{library}::_base_/default_runtime.py',
        custom_imports=dict(imports=['st_mm']),
        model=_model(library, network),
        custom_hooks=hooks,
        train_cfg=dict(by_epoch=False, max_iters=END),
        # no end of an epoch, at which mmengine's loop pauses for two seconds
        train_dataloader=dict(**loader, dataset=train, sampler=dict(type='InfiniteSampler')),
        test_dataloader=dict(**loader, dataset=test, sampler=dict(type='DefaultSampler')),
        test_pipeline=test['pipeline'],  # mmseg's inference reads it
        test_evaluator=[metric, dict(type='DumpResults', out_file_path='predictions.pkl')],
        val_cfg=None,
        test_cfg={},
        optim_wrapper=dict(optimizer=dict(type='Adam', lr=1e-3)),
        param_scheduler=[dict(type='LinearLR', start_factor=0.5, end=END, by_epoch=False)],
        default_hooks=dict(
            checkpoint=dict(type='CheckpointHook', interval=1, by_epoch=False),
            logger=dict(type='LoggerHook', interval=1),
        ),
        log_processor=dict(by_epoch=False),
        log_level='WARNING',
        randomness=dict(seed=0),
    )
    entries['test_dataloader']['sampler']['shuffle'] = False
    file = folder / 'config.py'
    file.write_text('\n'.join(f'{name} = {value!r}' for name, value in entries.items()))
    made = Drawn(library, network, file, folder / 'run' / f'iter_{END}.pth', [])
    _train(made, folder / 'run')
    return made


def test_the_ticket(drawn: Drawn) -> None:
    """Fewer units and a tenth of the weights, in the EMA, the live model and the optimizer."""
    full = drawn.load()
    plain = drawn.plain()
    assert count_units(find_owners(plain)) < 0.7 * count_units(find_owners(full))
    saved = read(drawn.checkpoint)
    events = saved['meta'][KEY]['events']
    assert [(event['kind'], event['t']) for event in events] == EVENTS
    assert events[-1]['ratio'] == 0.9
    for entry in ('state_dict', 'ema_state_dict'):
        state = _weights(drawn.checkpoint, entry)
        assert {k: v.shape for k, v in state.items()} == {
            k: v.shape for k, v in plain.state_dict().items()
        }
        masked = [state[name] for name in saved['meta'][KEY]['masks']]
        kept = sum(int(weight.count_nonzero()) for weight in masked)
        assert kept / sum(w.numel() for w in masked) == pytest.approx(0.1, abs=1e-3)
    moments = saved['optimizer']['state']
    for index, parameter in enumerate(plain.parameters()):
        assert moments[index]['exp_avg'].shape == parameter.shape
    # equality means something only where the weights decide
    [outputs] = _outputs(plain, drawn.library)
    assert (outputs[0] - outputs[1]).norm() > 1e-3 * outputs.norm()


def test_surgery_keeps_the_outputs(drawn: Drawn) -> None:
    """Of live model and EMA, though the dead units emit constants; an excitation weights those."""
    assert len(drawn.drifts) == 2
    print(f'drift: {drawn.library} {drawn.network} {max(drawn.drifts):.1e}')
    assert max(drawn.drifts) < (0.2 if drawn.network == 'MobileNetV3' else 1e-4)


Pair = tuple[list[Tensor], list[Tensor]]  # of a path, of plain torch


def _expected(drawn: Drawn, entry: str = 'state_dict') -> list[Tensor]:
    return _outputs(drawn.plain(entry), drawn.library)


def mim_test(drawn: Drawn, folder: Path) -> Pair:
    command = [sys.executable, '-m', 'mim', 'test', drawn.library, drawn.file]
    command += ['--checkpoint', drawn.checkpoint, '--work-dir', folder / 'mim']
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, (done.stdout + done.stderr)[-3000:]
    return _predictions(), _plain_predictions(drawn, folder)


def runner_test(drawn: Drawn, folder: Path) -> Pair:
    """What mm's tools/test.py does, without its process."""
    drawn.runner(folder / 'test', load_from=str(drawn.checkpoint)).test()
    return _predictions(), _plain_predictions(drawn, folder)


def _plain_predictions(drawn: Drawn, folder: Path) -> list[Tensor]:
    runner = drawn.runner(folder / 'plain', custom_hooks=[])
    runner.model.load_state_dict(_weights(drawn.checkpoint), strict=True)
    runner.test()
    return _predictions()


def _predictions() -> list[Tensor]:
    """What was predicted last in this folder."""
    return [scores(sample) for sample in pickle.loads(Path('predictions.pkl').read_bytes())]


def scores(sample: Any) -> Tensor:
    """What a network says about a picture, in full precision."""
    if 'seg_logits' in sample:
        return sample['seg_logits']['data']
    if 'pred_instances' in sample:
        people = sample['pred_instances']
        return torch.as_tensor(np.dstack([people['keypoints'], people['keypoint_scores']]))
    return torch.as_tensor(sample['pred_score'])


class Stop(Hook):
    """Looks at live model and EMA where training is about to begin, and ends it."""

    priority = 100

    def __init__(self, library: str) -> None:
        self.library = library

    def before_train(self, runner: Runner) -> None:
        self.seen = [_outputs(model, self.library) for model in _both(runner)]
        runner.train_loop.stop_training = True


def _start(drawn: Drawn, folder: Path, resume: bool) -> list[list[Tensor]]:
    runner = drawn.runner(folder / 'run', load_from=str(drawn.checkpoint), resume=resume)
    stop = Stop(drawn.library)
    runner.register_hook(stop)
    runner.train()
    return stop.seen


def load_from(drawn: Drawn, folder: Path) -> Pair:
    live, average = _start(drawn, folder, resume=False)
    return live + average, 2 * _expected(drawn)


def resume(drawn: Drawn, folder: Path) -> Pair:
    live, average = _start(drawn, folder, resume=True)
    return live + average, _expected(drawn, 'ema_state_dict') + _expected(drawn)


def pretrained(drawn: Drawn, folder: Path) -> Pair:
    init_cfg = dict(type='Pretrained', checkpoint=str(drawn.checkpoint))
    model = drawn.runner(folder / 'run', model=dict(init_cfg=init_cfg)).model
    model.init_weights()
    return _outputs(model, drawn.library), _expected(drawn)


def pretrained_backbone(drawn: Drawn, folder: Path) -> Pair:
    init_cfg = dict(type='Pretrained', checkpoint=str(drawn.checkpoint), prefix='backbone.')
    model = drawn.runner(folder / 'run', model=dict(backbone=dict(init_cfg=init_cfg))).model
    model.init_weights()
    ours, theirs = (_outputs(m, drawn.library, 'backbone') for m in (model, drawn.plain()))
    return ours, theirs


def init_api(drawn: Drawn, folder: Path) -> Pair:
    return _outputs(drawn.load(drawn.checkpoint), drawn.library), _expected(drawn)


def inference_api(drawn: Drawn, folder: Path) -> Pair:
    picture = drawn.config.test_dataloader.dataset.data_root
    picture = str(next(iter(sorted(Path(picture).rglob('*.png')))))
    ours, theirs = (
        [_infer(drawn.library, model, picture)]
        for model in (drawn.load(drawn.checkpoint), drawn.plain())
    )
    return ours, theirs


def _infer(library: str, model: nn.Module, picture: str) -> Tensor:
    if library == 'mmseg':
        return mmseg.apis.inference_model(model, picture).seg_logits.data
    if library == 'mmpose':
        [sample] = mmpose.apis.inference_topdown(model, picture)
        return scores(sample.to_dict())
    [result] = mmpretrain.ImageClassificationInferencer(model)(picture)
    return torch.as_tensor(result['pred_scores'])


def published(drawn: Drawn, folder: Path) -> Pair:
    """The library's own script, which never imports st_mm."""
    package = Path(importlib.import_module(drawn.library).__file__).parent
    [script] = (package / '.mim' / 'tools').glob('*/publish_model.py')
    command = [sys.executable, script, drawn.checkpoint, folder / 'published.pth']
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-3000:]
    [file] = folder.glob('published*.pth')
    assert 'optimizer' not in read(file)
    return _outputs(drawn.load(file), drawn.library), _expected(drawn)


PATHS = [
    mim_test,
    runner_test,
    load_from,
    resume,
    pretrained,
    pretrained_backbone,
    init_api,
    inference_api,
    published,
]


@pytest.fixture(scope='module')
def matrix() -> Iterator[dict[str, dict[tuple[str, str], str]]]:
    """Results by path and case; printed as a table in the end."""
    cells: dict[str, dict[tuple[str, str], str]] = defaultdict(dict)
    yield cells
    print('\n| path |', ' | '.join(' '.join(case) for case in CASES), '|')
    print('|---' * (1 + len(CASES)), '|', sep='')
    for path, row in cells.items():
        print(f'| {path} |', ' | '.join(row.get(case, '') for case in CASES), '|')


@pytest.mark.parametrize('path', PATHS, ids=lambda path: path.__name__)
def test_path(path: Callable, drawn: Drawn, matrix: dict, tmp_path: Path, monkeypatch) -> None:
    if path is mim_test and (drawn.library, drawn.network) not in COMMAND_LINE:
        pytest.skip('in its place runner_test, which needs no process of its own')
    monkeypatch.chdir(tmp_path)  # where predictions are written
    ours, theirs = path(drawn, tmp_path)
    same = all(torch.equal(a, b) for a, b in zip(ours, theirs, strict=True))
    cell = 'equal' if same else f'{_drift(theirs, ours):.1e}'
    matrix[path.__name__][drawn.library, drawn.network] = cell
    assert cell == 'equal'


@pytest.mark.parametrize('stop', range(1, END))
@pytest.mark.parametrize('drawn', [('mmpretrain', 'MobileNetV2')], indirect=True, ids='-'.join)
def test_resumed_is_uninterrupted(
    stop: int, drawn: Drawn, assert_same_end: Callable[[Path, Path], None], tmp_path: Path
) -> None:
    """Weights, EMA, Adam's moments and the record, before the cut and after it."""
    checkpoint = str(drawn.checkpoint.with_name(f'iter_{stop}.pth'))
    _train(drawn, tmp_path / 'run', load_from=checkpoint, resume=True)
    assert_same_end(tmp_path / 'run' / f'iter_{END}.pth', drawn.checkpoint)


@pytest.mark.parametrize('change', ['wider', 'missing', 'foreign'])
def test_what_does_not_fit_is_refused(change: str, drawn: Drawn, tmp_path: Path) -> None:
    """By name, where mmengine would warn and go on with random weights."""
    model = drawn.load()
    # a stock file of full width that fits in part stays a warning; a torn ticket does not
    state = model.state_dict() if change == 'wider' else _weights(drawn.checkpoint)
    name, owner = list(find_owners(model).items())[-1]
    key = f'{name}.{owner.unit_slices()[0].name}'
    if change == 'wider':
        block = attrgetter(name)(model)
        widths = {group: units + 1 for group, units in owner.unit_groups().items()}
        state |= {f'{name}.{k}': torch.ones(v) for k, v in shapes_at(block, owner, widths).items()}
        message = rf"tensor '{re.escape(name)}\.\S+' has shape"
    elif change == 'missing':
        del state[key]
        message = f"no tensor '{re.escape(key)}'"
    else:
        state[f'{key}_foreign'] = torch.ones(1)
        message = rf"tensor '{re.escape(key)}_foreign' \(and 0 more\) in the checkpoint has no"
    torch.save(dict(meta={}, state_dict=state), tmp_path / 'other.pth')
    with pytest.raises(RuntimeError, match=message):
        drawn.load(tmp_path / 'other.pth')


def test_a_narrow_model_takes_the_supernet_back(drawn: Drawn, tmp_path: Path) -> None:
    full = drawn.load()
    torch.save(dict(meta={}, state_dict=full.state_dict()), tmp_path / 'full.pth')
    narrow = drawn.plain()
    load_checkpoint(narrow, str(tmp_path / 'full.pth'))
    for name, tensor in full.state_dict().items():
        assert torch.equal(narrow.state_dict()[name], tensor), name
    for ours, theirs in zip(
        _outputs(narrow, drawn.library), _outputs(full, drawn.library), strict=True
    ):
        assert torch.equal(ours, theirs)

"""A teacher's answers beside the truth: the right number, and nothing else is changed."""

import json
from collections.abc import Callable
from copy import deepcopy
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pytest
import torch
from mmengine import Config
from mmengine.config import ConfigDict
from mmengine.hooks import EMAHook, Hook
from mmengine.registry import MODELS, DefaultScope
from mmengine.runner import Runner
from mmengine.structures import PixelData
from mmpose.testing import get_packed_inputs
from mmpretrain.structures import DataSample
from mmseg.structures import SegDataSample
from torch import nn
from torch.nn import functional as F

from st_mm import config_path
from st_mm.analysis.checkpoints import open_checkpoint
from st_mm.distillation import (
    Teacher,
    batch_statistics,
    distance,
    kept_output,
    loss_of,
    with_teacher,
)
from st_mm.hooks import DistillHook
from st_mm.hooks.distill_hook import build
from st_mm.ticket import LATENT, load_checkpoint

ROOT = Path(__file__).parents[1]
PICTURE = dict(mean=[127.0] * 3, std=[60.0] * 3)
BACKBONE = dict(type='MobileNetV2', widen_factor=0.25)
CODEC = dict(type='MSRAHeatmap', input_size=(64, 64), heatmap_size=(16, 16), sigma=2)
MODELS_OF_THREE = dict(
    mmseg=dict(
        type='EncoderDecoder',
        data_preprocessor=dict(type='SegDataPreProcessor', size=(64, 64), **PICTURE),
        backbone=dict(type='MobileNetV2', widen_factor=0.25, out_indices=(4, 6)),
        decode_head=dict(
            type='FCNHead', in_channels=80, channels=8, num_convs=1, num_classes=3,
            loss_decode=dict(type='CrossEntropyLoss'),
        ),
    ),
    mmpose=dict(
        type='TopdownPoseEstimator',
        data_preprocessor=dict(type='PoseDataPreprocessor', **PICTURE),
        backbone=dict(**BACKBONE, out_indices=(7,)),
        head=dict(
            type='HeatmapHead', in_channels=1280, out_channels=17,
            deconv_out_channels=(8, 8, 8), deconv_kernel_sizes=(4, 4, 4), decoder=CODEC,
            loss=dict(type='KeypointMSELoss', use_target_weight=True),
        ),
    ),
    mmpretrain=dict(
        type='ImageClassifier',
        data_preprocessor=dict(type='ClsDataPreprocessor', **PICTURE),
        backbone=BACKBONE,
        neck=dict(type='GlobalAveragePooling'),
        head=dict(type='LinearClsHead', num_classes=3, in_channels=1280),
    ),
)  # fmt: skip


def model_of(library: str, seed: int) -> nn.Module:
    torch.manual_seed(seed)
    with DefaultScope.overwrite_default_scope(library):
        return MODELS.build(ConfigDict(MODELS_OF_THREE[library]))


def batch_of(library: str) -> dict[str, Any]:
    noise = torch.Generator().manual_seed(0)
    pictures = [255 * torch.rand((3, 64, 64), generator=noise) for _ in range(2)]
    if library == 'mmpose':
        np.random.seed(0)
        return get_packed_inputs(2, img_shape=(64, 64), input_size=(64, 64), heatmap_size=(16, 16))
    if library == 'mmpretrain':
        samples = [DataSample().set_gt_label(i) for i in range(2)]
    else:
        samples = [SegDataSample(metainfo=dict(img_shape=(64, 64))) for _ in range(2)]
        for picture, sample in zip(pictures, samples, strict=True):
            sample.gt_sem_seg = PixelData(data=(picture[:1] > 127).long())
    return dict(inputs=pictures, data_samples=samples)


@pytest.mark.parametrize('shape', [(4, 5), (2, 5, 3, 4)])
def test_divergence(shape: tuple[int, ...]) -> None:
    ours, theirs = torch.randn(2, *shape, dtype=torch.float64)
    for temperature in (1.0, 4.0):
        p, q = ((x / temperature).softmax(1) for x in (theirs, ours))
        want = (p * (p.log() - q.log())).sum(1).mean() * temperature**2
        got = distance(ours, theirs, 'kl', temperature)
        torch.testing.assert_close(got.double(), want, rtol=1e-5, atol=1e-7)
    assert distance(ours, ours, 'kl').abs() < 1e-6


@pytest.mark.parametrize('shape', [(4, 1), (4, 5), (2, 1, 3, 4)])
def test_divergence_of_yes_and_no(shape: tuple[int, ...]) -> None:
    ours, theirs = torch.randn(2, *shape, dtype=torch.float64)
    for temperature in (1.0, 4.0):
        p, q = ((x / temperature).sigmoid() for x in (theirs, ours))
        both = p * (p.log() - q.log()) + (1 - p) * ((1 - p).log() - (1 - q).log())
        want = both.sum(1).mean() * temperature**2
        got = distance(ours, theirs, 'binary', temperature)
        torch.testing.assert_close(got.double(), want, rtol=1e-5, atol=1e-7)
    assert distance(ours, ours, 'binary').abs() < 1e-6


def test_one_class() -> None:
    with pytest.raises(ValueError, match="give DistillHook loss='binary'"):
        distance(torch.zeros(2, 1), torch.ones(2, 1), 'kl')


SIGMOID = dict(type='CrossEntropyLoss', use_sigmoid=True)
MAPS, POINTS = dict(in_channels=8, out_channels=17), dict(in_channels=8, num_joints=17)
SIMCC = dict(
    **MAPS,
    input_size=(64, 64),
    in_featuremap_size=(2, 2),
    deconv_out_channels=(),
    deconv_kernel_sizes=(),
)


@pytest.mark.parametrize(
    ('library', 'head', 'loss'),
    [
        ('mmpretrain', dict(type='LinearClsHead', num_classes=3, in_channels=8), 'kl'),
        (
            'mmpretrain',
            dict(type='MultiLabelLinearClsHead', num_classes=3, in_channels=8),
            'binary',
        ),
        (
            'mmseg',
            dict(type='FCNHead', num_classes=2, out_channels=1, loss_decode=SIGMOID),
            'binary',
        ),
        ('mmseg', dict(type='FCNHead', num_classes=2, loss_decode=[SIGMOID] * 2), 'binary'),
        ('mmpose', dict(type='HeatmapHead', **MAPS), 'mse'),
        ('mmpose', dict(type='RLEHead', **POINTS), 'a RLEHead gives neither'),
        (
            'mmpose',
            dict(type='DSNTHead', in_featuremap_size=(2, 2), **POINTS),
            'a DSNTHead gives neither',
        ),
        ('mmpose', dict(type='SimCCHead', **SIMCC), 'a SimCCHead gives neither'),
    ],
)
def test_heads(library: str, head: dict, loss: str) -> None:
    model = nn.Module()
    more = dict(in_channels=8, channels=8) if library == 'mmseg' else {}
    with DefaultScope.overwrite_default_scope(library):
        model.head = MODELS.build(ConfigDict(head, **more))
    if 'neither' in loss:
        with pytest.raises(ValueError, match=loss):
            loss_of(model)
    else:
        assert loss_of(model) == loss


def test_maps_of_another_size() -> None:
    ours, theirs = torch.randn(1, 3, 8, 8), torch.randn(1, 3, 4, 4)
    want = F.mse_loss(ours, F.interpolate(theirs, (8, 8), mode='bilinear'))
    assert distance(ours, theirs, 'mse') == want


def test_other_shapes() -> None:
    with pytest.raises(ValueError, match=r'answers with \(2, 4\), the model with \(2, 3\)'):
        distance(torch.zeros(2, 3), torch.zeros(2, 4), 'kl')


@pytest.mark.parametrize('library', MODELS_OF_THREE)
def test_three_libraries(library: str) -> None:
    student, teacher = model_of(library, 0), Teacher(model_of(library, 1))
    teacher.check(student)
    kind = loss_of(student)
    assert kind == ('mse' if library == 'mmpose' else 'kl')
    data = student.data_preprocessor(batch_of(library), True)
    torch.manual_seed(0)  # dropout
    with kept_output(student) as kept:
        own = student.loss(**data)
    assert 'forward' not in (student.decode_head if library == 'mmseg' else student.head).__dict__
    before = {name: value.clone() for name, value in teacher.model.state_dict().items()}
    torch.manual_seed(0)
    both = with_teacher(student, lambda x, y: 2 * distance(y, teacher(x), kind))(**data)
    assert set(both) == {*own, 'loss_distill'}
    want = 2 * distance(kept[0], teacher.model(data['inputs'], None, mode='tensor'), kind)
    torch.testing.assert_close(both['loss_distill'], want)
    assert both['loss_distill'] > 0
    both['loss_distill'].backward()
    learned = [p for p in student.backbone.parameters() if p.grad is not None and p.grad.any()]
    assert len(learned) > 10
    after = teacher.model.state_dict()
    assert all(torch.equal(after[name], value) for name, value in before.items())
    assert all(p.grad is None for p in teacher.model.parameters())


def test_two_teachers() -> None:
    student = model_of('mmpretrain', 0).eval()
    data = student.data_preprocessor(batch_of('mmpretrain'), True)
    student.loss = with_teacher(student, lambda x, y: torch.tensor(2.0))
    student.loss = with_teacher(student, lambda x, y: torch.tensor(3.0))
    assert student.loss(**data)['loss_distill'] == 5


@pytest.mark.parametrize('library', MODELS_OF_THREE)
def test_channels_in_another_order(library: str) -> None:
    swapped = ConfigDict(deepcopy(MODELS_OF_THREE[library]))
    swapped.data_preprocessor['to_rgb' if library == 'mmpretrain' else 'bgr_to_rgb'] = True
    with DefaultScope.overwrite_default_scope(library):
        teacher = Teacher(MODELS.build(swapped))
    with pytest.raises(ValueError, match='order of channels is swapped'):
        teacher.check(model_of(library, 0))


@pytest.fixture
def teacher_files(tmp_path: Path) -> Callable[..., dict[str, str]]:
    """Config and weights of a classifier of 3 classes, changed as said."""

    def make(**changes: Any) -> dict[str, str]:
        config = Config(dict(model=MODELS_OF_THREE['mmpretrain'], default_scope='mmpretrain'))
        config.merge_from_dict(changes)
        file, weights = tmp_path / 'teacher.py', tmp_path / 'teacher.pth'
        config.dump(file)
        torch.manual_seed(3)
        with DefaultScope.overwrite_default_scope('mmpretrain'):
            model = MODELS.build(config.model)
        torch.save(dict(meta={}, state_dict=model.state_dict()), weights)
        return dict(teacher=str(file), checkpoint=str(weights))

    return make


@pytest.fixture
def trained(tmp_path: Path) -> Callable[..., Path]:
    """The last checkpoint of a training of three epochs on two pictures of noise."""

    def train(name: str, hooks: list, epochs: int = 3, **config: Any) -> Path:
        work_dir = tmp_path / name
        pictures = batch_of('mmpretrain')
        pairs = zip(pictures['inputs'], pictures['data_samples'], strict=True)
        data = [dict(inputs=picture, data_samples=sample) for picture, sample in pairs]
        torch.manual_seed(0)
        Runner(
            model=config.pop('model', None) or model_of('mmpretrain', 0),
            work_dir=str(work_dir),
            train_dataloader=dict(
                dataset=data,
                batch_size=2,
                sampler=dict(type='DefaultSampler', shuffle=False),
                collate_fn=dict(type='pseudo_collate'),
            ),
            train_cfg=dict(by_epoch=True, max_epochs=epochs),
            optim_wrapper=dict(optimizer=dict(type='SGD', lr=0.01, momentum=0.9)),
            custom_hooks=hooks,
            default_scope='mmpretrain',
            experiment_name=f'{tmp_path.name}-{name}',
            randomness=dict(seed=0),
            log_level='WARNING',
            **config,
        ).train()
        return work_dir / f'epoch_{epochs}.pth'

    return train


def states(*files: Path) -> list[dict[str, torch.Tensor]]:
    return [load_checkpoint(file)['state_dict'] for file in files]


def test_a_teacher_that_does_not_count_changes_no_bit(
    trained: Callable, teacher_files: Callable
) -> None:
    hook = dict(type='DistillHook', **teacher_files())
    without, silent, heard = states(
        trained('without', []),
        trained('silent', [dict(hook, weight=0)]),
        trained('heard', [dict(hook, weight=3.0, temperature=2.0)]),
    )
    assert without.keys() == silent.keys() == heard.keys()
    assert all(torch.equal(silent[name], value) for name, value in without.items())
    assert not torch.equal(heard['head.fc.weight'], without['head.fc.weight'])


def test_scores_see_the_model_s_own_loss(trained: Callable, teacher_files: Callable) -> None:
    """Hooks that score weights by a loss work after the iteration, some at priority 41."""

    class Probe(Hook):
        priority = 41
        found: ClassVar[list[bool]] = []

        def after_train_iter(self, runner: Runner, *_: Any, **__: Any) -> None:
            self.found.append('loss' in vars(runner.model))

    trained('run', [dict(type='DistillHook', **teacher_files()), Probe()])
    assert Probe.found == [False] * 3


def test_with_a_ticket_resumed_is_uninterrupted(trained: Callable, teacher_files: Callable) -> None:
    prune = dict(type='ProgressivePruneHook', ratio=0.5, step=0.3, interval=1, end=2)
    hooks = [dict(type='DistillHook', **teacher_files()), prune]
    whole = trained('whole', hooks)
    again = trained('again', hooks, resume=True, load_from=str(whole.with_name('epoch_1.pth')))
    ours, theirs = states(again, whole)
    assert all(torch.equal(ours[name], value) for name, value in theirs.items())
    weights = [value for name, value in ours.items() if value.dim() == 4]
    assert sum(int((weight == 0).sum()) for weight in weights) > 1000


def test_a_ticket_as_teacher() -> None:
    name = 'supertickets-p90-slim_32b-36e_toy-shapes-48x48'
    model = build(config_path(f'toy/{name}.py'), f'st_mm://{name}.pth').eval()
    same = open_checkpoint(ROOT / 'weights' / f'{name}.pth').model.eval()
    pictures = torch.randn(1, 3, 48, 48)
    assert torch.equal(model(pictures, mode='tensor'), same(pictures, mode='tensor'))


AVERAGE = dict(type='EMAHook', momentum=0.3, update_buffers=True)
PRUNE = dict(type='ProgressivePruneHook', ratio=0.5, step=0.3, interval=1, end=2)
PRUNES = dict(masked=PRUNE, hard=PRUNE | dict(straight_through='hard'))
PRUNES['soft'] = PRUNE | dict(straight_through='soft')


@pytest.mark.parametrize('prune', PRUNES)
def test_the_average_of_the_run_teaches_with_its_latent_weights(
    trained: Callable, prune: str
) -> None:
    hook = DistillHook(teacher='ema')
    file = trained('run', [AVERAGE, PRUNES[prune], hook])
    pictures = torch.randn(2, 3, 64, 64)
    with hook._unmasked():
        answer = hook.teacher(pictures)
    found = load_checkpoint(file)
    average, other = found['state_dict'], hook.teacher.model.state_dict()  # the average is first
    masked = model_of('mmpretrain', 0)
    masked.load_state_dict(average)
    assert all(torch.equal(other[name], value) for name, value in average.items())
    latent = found[LATENT][1]
    assert len(latent) > 10
    dense = {name: value.clone() for name, value in average.items()}
    for name, values in latent.items():
        dense[name][dense[name] == 0] = values
    assert not any((dense[name] == 0).any() for name in latent)
    model = model_of('mmpretrain', 0)  # without dropout: in training, norms take each batch's
    model.load_state_dict(dense)
    want = model.train()(pictures, mode='tensor')
    torch.testing.assert_close(answer, want)
    assert not torch.allclose(masked.train()(pictures, mode='tensor'), want, atol=1e-4)


@pytest.mark.parametrize('library', MODELS_OF_THREE)
def test_statistics_of_a_batch(library: str) -> None:
    """Alone they are no part of the training mode, and nothing of them stays."""
    model = model_of(library, 0).eval()
    before = {name: value.clone() for name, value in model.state_dict().items()}
    pictures = 100 * torch.randn(2, 3, 64, 64)
    own = model(pictures, None, mode='tensor')
    with batch_statistics(model):
        assert not torch.equal(model(pictures, None, mode='tensor'), own)
        asked = [module for module in model.modules() if module.training]
    assert {type(module).__name__ for module in asked} == {'BatchNorm2d'}
    assert torch.equal(model(pictures, None, mode='tensor'), own)
    assert all(torch.equal(before[name], value) for name, value in model.state_dict().items())


def test_an_average_that_is_made_anew(trained: Callable) -> None:
    """EMAHook copies the model again where init brings a ticket, after the teacher was checked."""
    name = 'supertickets-p90-slim_32b-36e_toy-shapes-48x48'
    model = Config.fromfile(config_path(f'toy/{name}.py')).model
    model.init_cfg = dict(type='Ticket', checkpoint=str(ROOT / 'weights' / f'{name}.pth'))
    hook, average = DistillHook(teacher='ema'), EMAHook(momentum=0.3)
    trained('run', [hook, average], model=model)
    assert hook.teacher.model is average.ema_model.module


def test_the_average_begins_as_the_model(trained: Callable) -> None:
    """Both norm each batch by itself, so the first distance is none."""
    file = trained('run', [AVERAGE, dict(type='DistillHook', teacher='ema')])
    [log] = file.parent.glob('*/vis_data/scalars.json')
    found = [json.loads(line)['loss_distill'] for line in log.read_text().splitlines()]
    assert found[0] == found[1] == 0 < found[2]  # the first update of the average is a copy


@pytest.mark.parametrize('prune', PRUNES)
def test_the_average_is_not_changed_by_being_asked(trained: Callable, prune: str) -> None:
    hooks = [AVERAGE, PRUNES[prune]]
    without = trained('without', hooks)
    silent = trained('silent', [*hooks, dict(type='DistillHook', teacher='ema', weight=0)])
    taught = [*hooks, dict(type='DistillHook', teacher='ema', weight=2.0)]
    whole = trained('whole', taught)
    again = trained('again', taught, resume=True, load_from=str(whole.with_name('epoch_2.pth')))
    for one, other in ((silent, without), (again, whole)):
        for part in ('state_dict', 'ema_state_dict'):
            ours, theirs = (load_checkpoint(file)[part] for file in (one, other))
            assert all(torch.equal(ours[name], value) for name, value in theirs.items())
    ours, theirs = states(whole, without)
    assert not torch.equal(ours['head.fc.weight'], theirs['head.fc.weight'])


def test_a_run_without_an_average(trained: Callable) -> None:
    with pytest.raises(ValueError, match=r"teacher='ema'\) needs an EMAHook in custom_hooks"):
        trained('run', [dict(type='DistillHook', teacher='ema')])


@pytest.mark.parametrize(
    ('changes', 'message'),
    [
        ({'model.head.num_classes': 5}, 'number of classes is 5, that of the model 3'),
        ({'model.data_preprocessor.mean': [0.0] * 3}, 'mean of the pictures'),
        ({'model.data_preprocessor.mean': None}, 'mean of the pictures is none, .* 127.0'),
        ({'model.data_preprocessor.to_rgb': True}, 'order of channels is swapped'),
    ],
)
def test_a_teacher_of_something_else(
    trained: Callable, teacher_files: Callable, tmp_path: Path, changes: dict, message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        trained('run', [dict(type='DistillHook', **teacher_files(**changes))])
    assert not list((tmp_path / 'run').glob('*.pth'))


@pytest.mark.parametrize('loss', [None, 'mse'])
def test_coordinates_are_refused(
    trained: Callable, teacher_files: Callable, tmp_path: Path, loss: str | None
) -> None:
    regression = {
        **MODELS_OF_THREE['mmpose'],
        'neck': dict(type='GlobalAveragePooling'),
        'head': dict(type='RLEHead', in_channels=1280, num_joints=17, loss=dict(type='RLELoss')),
    }
    with DefaultScope.overwrite_default_scope('mmpose'):
        model = MODELS.build(ConfigDict(regression))
    with pytest.raises(ValueError, match='compares classes or heatmaps, and a RLEHead gives'):
        trained('run', [AVERAGE, dict(type='DistillHook', teacher='ema', loss=loss)], model=model)


def test_bad_files(trained: Callable, teacher_files: Callable, tmp_path: Path) -> None:
    good = teacher_files()
    empty = tmp_path / 'empty.py'
    empty.write_text('')
    with pytest.raises(ValueError, match=r'config of the teacher, .*empty.py: it has no model'):
        trained('a', [dict(type='DistillHook', **{**good, 'teacher': str(empty)})])
    part = tmp_path / 'part.pth'
    state = load_checkpoint(good['checkpoint'])['state_dict']
    torch.save(dict(meta={}, state_dict={**state, 'other.weight': torch.zeros(2)}), part)
    with pytest.raises(ValueError, match=r'weights of the teacher, .*part.pth: .*other.weight'):
        trained('b', [dict(type='DistillHook', **{**good, 'checkpoint': str(part)})])
    with pytest.raises(FileNotFoundError, match=r'nowhere.pth'):
        trained('c', [dict(type='DistillHook', **{**good, 'checkpoint': 'nowhere.pth'})])


@pytest.mark.parametrize(
    ('arguments', 'message'),
    [
        (dict(teacher='ema'), "takes no checkpoint, got 'a.pth'"),
        (dict(checkpoint=None), 'checkpoint of DistillHook must be the name of a file'),
        (dict(teacher=''), 'teacher of DistillHook must be the name of a file'),
        (dict(weight=-1), 'weight must be a number of at least 0'),
        (dict(temperature=0), 'temperature must be a number above 0'),
        (dict(loss='l1'), 'loss'),
    ],
)
def test_bad_arguments(arguments: dict, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        DistillHook(**{**dict(teacher='a.py', checkpoint='a.pth'), **arguments})

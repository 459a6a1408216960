"""A ticket of classification is trained on as segmentation and as pose estimation."""

import copy
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, ClassVar

import pytest
import torch
from mmengine import Config
from mmengine.hooks import Hook
from mmengine.optim import OptimWrapper
from mmengine.registry import DATASETS, MODELS, OPTIM_WRAPPERS, DefaultScope
from mmengine.runner import Runner
from mmpretrain.structures import DataSample
from torch import nn

from st_mm.ticket import KEY, LATENT, Ticket, load_checkpoint
from st_mm.units import find_owners

pytestmark = pytest.mark.slow

TICKET = Path(__file__).parents[2] / 'tools' / 'ticket.py'
STEPS = 100
PRE = dict(mean=[127.5] * 3, std=[64.0] * 3)
SLIM = dict(
    type='HRSupernet',
    stem_channels=(4, 8),
    stage_channels=((8,), (6, 12)),
    stage_blocks=((1,), (1, 1)),
    expand_ratio=2,
    norm_cfg=dict(type='BN', eps=1e-3, momentum=0.1),
)
MOBILE = dict(type='MobileNetV2', widen_factor=0.25)
NECK = dict(
    type='HRClassificationNeck', in_channels=(6, 12), head_channels=(8, 16), out_channels=24
)
SOURCES = dict(supernet=(SLIM, NECK, 24), mobile=(MOBILE, dict(type='GlobalAveragePooling'), 1280))
FUSION = dict(type='HRFusionNeck', in_channels=(6, 12), out_channels=12)


@DATASETS.register_module()
class NoisePictures(torch.utils.data.Dataset):
    """16 pictures of noise in four classes."""

    metainfo: ClassVar = dict(classes=list('abcd'))

    def __len__(self) -> int:
        return 16

    def full_init(self) -> None:
        pass

    def __getitem__(self, index: int) -> dict[str, Any]:
        picture = torch.randint(255, (3, 32, 32), generator=torch.Generator().manual_seed(index))
        return dict(inputs=picture.float(), data_samples=DataSample().set_gt_label(index % 4))


class Kill(Hook):
    """Brings every third unit to zero, right before the search."""

    priority = 30

    def after_train_iter(self, runner: Runner, batch_idx: int, *_: object, **__: object) -> None:
        for owner in find_owners(runner.model).values():
            owner.unit_bn.weight.data[::3] = 0


@OPTIM_WRAPPERS.register_module()
class Bfloat16Wrapper(OptimWrapper):
    """Mixed precision on any device; mmengine's own wants a GPU."""

    @contextmanager
    def optim_context(self, model: nn.Module) -> Iterator[None]:
        with super().optim_context(model), torch.autocast('cpu', torch.bfloat16):
            yield


def _classifier(network: str) -> dict[str, Any]:
    backbone, neck, channels = SOURCES[network]
    head = dict(type='LinearClsHead', num_classes=4, in_channels=channels)
    pre = dict(type='ClsDataPreprocessor', **PRE)
    return dict(
        type='ImageClassifier', backbone=backbone, neck=neck, head=head, data_preprocessor=pre
    )


@pytest.fixture(scope='module')
def tickets(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Searched and pruned classifiers, with what their trainings began with."""
    return {name: _draw(name, tmp_path_factory.mktemp(name) / 'run') for name in SOURCES}


def _draw(network: str, work_dir: Path) -> Path:
    search = dict(
        type='SearchHook',
        interval=2,
        min_macs_drop=1,
        calibration_batches=1,
        input_shape=(3, 32, 32),
        by_epoch=False,
    )
    prune = dict(
        type='PruneHook', schedule=dict(type='OneShot', ratio=0.8, at=1), by_epoch=False,
        rules=[dict(names='*', min_per_channel=1)], calibration_batches=1,
    )  # fmt: skip
    config = Config(
        dict(
            model=_classifier(network),
            work_dir=str(work_dir),
            default_scope='mmpretrain',
            experiment_name=f'draw-{network}',
            log_level='WARNING',
            custom_hooks=[search, prune, dict(type='InitialCheckpointHook')],
            default_hooks=dict(checkpoint=dict(type='CheckpointHook', by_epoch=False, interval=3)),
            train_cfg=dict(by_epoch=False, max_iters=3),
            optim_wrapper=dict(optimizer=dict(type='SGD', lr=0.01)),
            randomness=dict(seed=0),
            train_dataloader=dict(
                dataset=dict(type='NoisePictures'),
                batch_size=8,
                num_workers=0,
                sampler=dict(type='InfiniteSampler', shuffle=True),
                collate_fn=dict(type='pseudo_collate'),
            ),
        )
    )
    runner = Runner.from_cfg(config)
    runner.register_hook(Kill())
    runner.train()
    return work_dir / 'iter_3.pth'


def _build(scope: str, model: dict[str, Any]) -> nn.Module:
    with DefaultScope.overwrite_default_scope(scope):
        built = MODELS.build(model)
        built.init_weights()
    return built.eval()


def _target(library: str, network: str) -> dict[str, Any]:
    """A model of another task."""
    mobile = network == 'mobile'
    if library == 'mmseg':
        out = (
            dict(backbone=dict(MOBILE, out_indices=(6,)))
            if mobile
            else dict(backbone=SLIM, neck=FUSION)
        )
        channels = 80 if mobile else 12
        head = dict(
            type='FCNHead', in_channels=channels, channels=8, num_convs=1, num_classes=5, in_index=0
        )
        return dict(type='EncoderDecoder', **out, decode_head=head)
    out = (
        dict(backbone=dict(MOBILE, out_indices=(7,)))
        if mobile
        else dict(backbone=SLIM, neck=FUSION)
    )
    head = dict(
        type='HeatmapHead',
        in_channels=1280 if mobile else 12,
        out_channels=5,
        deconv_out_channels=None,
        loss=dict(type='KeypointMSELoss'),
    )
    return dict(type='TopdownPoseEstimator', **out, head=head)


@torch.no_grad()
def _features(backbone: nn.Module, index: int) -> torch.Tensor:
    """What one of the blocks that all three libraries have gives."""
    seen = []
    layer = backbone.layer7 if hasattr(backbone, 'layer7') else backbone.stages[-1].branches[index]
    handle = layer.register_forward_hook(lambda *call: seen.append(call[-1]))
    backbone.eval()  # which returns nothing in mmseg's MobileNetV2
    backbone(torch.randn(2, 3, 64, 64, generator=torch.Generator().manual_seed(0)))
    handle.remove()
    return seen[0]


@pytest.mark.parametrize('place', ['model', 'backbone'])
@pytest.mark.parametrize('library', ['mmseg', 'mmpose'])
@pytest.mark.parametrize('network', SOURCES)
def test_features_are_those_of_the_ticket(
    tickets: dict[str, Path], network: str, library: str, place: str
) -> None:
    source = _build('mmpretrain', copy.deepcopy(_classifier(network)))
    state = load_checkpoint(tickets[network])['state_dict']
    source.load_state_dict(state)
    config = copy.deepcopy(_target(library, network))
    init = dict(type='Ticket', checkpoint=str(tickets[network]))
    (config if place == 'model' else config['backbone'])['init_cfg'] = init
    target = _build(library, config)
    for index in (0, 1):
        ours, theirs = (_features(each.backbone, index) for each in (target, source))
        assert ours.abs().sum() > 0
        assert torch.equal(ours, theirs)
    own = target.backbone.state_dict()
    assert all(torch.equal(tensor, state[f'backbone.{name}']) for name, tensor in own.items())


def _streets(
    tiny_config: Callable[..., Config], work_dir: Path, hooks: list[dict], **changes: Any
) -> Config:
    """Segmentation of toy streets, in iterations."""
    config = tiny_config(
        work_dir,
        search=None,
        prune=None,
        reactivate=None,
        train_dataloader=dict(
            sampler=dict(_delete_=True, type='InfiniteSampler', shuffle=False), batch_size=2
        ),
        train_cfg=dict(_delete_=True, type='IterBasedTrainLoop', max_iters=STEPS, val_interval=999),
        default_hooks=dict(checkpoint=dict(by_epoch=False, interval=STEPS // 2)),
        log_processor=dict(by_epoch=False),
        param_scheduler=[dict(type='ConstantLR', factor=1.0, by_epoch=False)],
        optim_wrapper=dict(
            _delete_=True,
            type='Bfloat16Wrapper',
            optimizer=dict(type='AdamW', lr=1e-3, weight_decay=0.05),
        ),
    )
    config.model.backbone = SLIM
    config.custom_hooks += hooks
    config.merge_from_dict(changes)
    return config


def _densities(file: Path) -> dict[str, float]:
    """Share of the weights that are not zero, by part, over what the record masks."""
    checkpoint = load_checkpoint(file)
    found = {}
    for part in ('backbone', 'neck', 'decode_head'):
        weights = [checkpoint['state_dict'][n] for n in checkpoint['meta'][KEY]['masks']
                   if n.startswith(part)]  # fmt: skip
        if weights:
            kept = sum(int(weight.count_nonzero()) for weight in weights)
            found[part] = kept / sum(weight.numel() for weight in weights)
    return found


def test_a_hundred_steps_keep_the_density_and_resume_bit_equal(
    tickets: dict[str, Path],
    tiny_config: Callable[..., Config],
    tmp_path: Path,
    assert_same_end: Callable[[Path, Path], None],
) -> None:
    """AdamW with decay, EMA and bf16; the end is a ticket for every tool."""
    whole, half = tmp_path / 'whole', tmp_path / 'half'
    config = _streets(tiny_config, whole, [dict(type='FixedMaskHook')])
    config.load_from = str(tickets['supernet'])
    Runner.from_cfg(copy.deepcopy(config)).train()
    last = whole / f'iter_{STEPS}.pth'
    before = Ticket.from_meta(load_checkpoint(tickets['supernet'])['meta'])
    after = Ticket.from_meta(load_checkpoint(last)['meta'])
    shared = {name for name in before.masks if name.startswith('backbone.')}
    assert shared == set(after.masks)
    assert all(torch.equal(before.mask(name), after.mask(name)) for name in shared)
    assert all(after.units[n] == before.units[n] for n in after.units if n.startswith('backbone.'))
    assert after.units['neck.block'] == {
        k: list(range(n)) for k, n in after.total['neck.block'].items()
    }
    for weights in ('state_dict', 'ema_state_dict'):
        state = load_checkpoint(last)[weights]
        for name in shared:
            tensor = state[name] if name in state else state[f'module.{name}']
            assert not tensor[~after.mask(name)].any(), name

    half.mkdir()
    (half / f'iter_{STEPS // 2}.pth').write_bytes((whole / f'iter_{STEPS // 2}.pth').read_bytes())
    (half / 'last_checkpoint').write_text(str(half / f'iter_{STEPS // 2}.pth'))
    again = copy.deepcopy(config)
    again.work_dir, again.load_from, again.resume = str(half), None, True
    again.experiment_name = again.visualizer.name = 'half'
    Runner.from_cfg(again).train()
    assert_same_end(half / f'iter_{STEPS}.pth', last)

    config.dump(tmp_path / 'config.py')
    for command in (
        ['-m', 'mim', 'test', 'mmseg', tmp_path / 'config.py', '--checkpoint', last],
        [TICKET, 'show', last],
        [TICKET, 'show', tickets['supernet'], '--for', tmp_path / 'config.py'],
        [TICKET, 'extract', last, tmp_path / 'extracted.pth'],
    ):
        done = subprocess.run(
            [sys.executable, *command], cwd=tmp_path, capture_output=True, text=True
        )
        assert done.returncode == 0, (done.stdout + done.stderr)[-3000:]


def _short(config: Config, iterations: int = 4) -> Path:
    config.train_cfg.max_iters = iterations
    config.default_hooks.checkpoint.interval = min(iterations, 4)
    Runner.from_cfg(config).train()
    return Path(config.work_dir) / f'iter_{iterations}.pth'


def test_new_parts_are_pruned_by_a_hook_beside(
    tickets: dict[str, Path],
    tiny_config: Callable[..., Config],
    tmp_path: Path,
    assert_same_end: Callable[[Path, Path], None],
) -> None:
    prune = dict(
        type='PruneHook', schedule=dict(type='OneShot', ratio=0.6, at=2), by_epoch=False,
        calibration_batches=1,
    )  # fmt: skip
    config = _streets(tiny_config, tmp_path / 'run', [prune, dict(type='FixedMaskHook')])
    config.load_from = str(tickets['supernet'])
    whole = _short(copy.deepcopy(config), 8)
    file = whole.with_name('iter_4.pth')
    before = Ticket.from_meta(load_checkpoint(tickets['supernet'])['meta'])
    after = Ticket.from_meta(load_checkpoint(file)['meta'])
    assert {name.split('.')[0] for name in after.masks} == {'backbone', 'neck'}
    for name, each in after.masks.items():
        if name.startswith('backbone'):
            assert torch.equal(after.mask(name), before.mask(name)), each
    assert _densities(file)['neck'] == pytest.approx(0.4, abs=1e-3)

    config.work_dir, config.load_from, config.resume = str(tmp_path / 'on'), str(file), True
    config.experiment_name = config.visualizer.name = 'on'
    assert_same_end(_short(config, 8), whole)


@pytest.mark.parametrize(
    ('weights', 'hook'),
    [('trained', {}), ('random', {}), ('initial.pth', {}), ('trained', dict(shuffle=True))],
    ids=['ST', 'RR-Init', 'LT-Init', 'RP'],
)
def test_variants_of_table_8_and_9(
    tickets: dict[str, Path],
    tiny_config: Callable[..., Config],
    tmp_path: Path,
    weights: str,
    hook: dict,
) -> None:
    """Architecture and density per layer are the ticket's; weights and places as asked."""
    source = tickets['supernet']
    config = _streets(tiny_config, tmp_path / 'run', [dict(type='FixedMaskHook', **hook)])
    at = str(source.with_name(weights)) if weights.endswith('.pth') else weights
    config.model.init_cfg = dict(type='Ticket', checkpoint=str(source), weights=at)
    config.optim_wrapper.optimizer.lr = 0.0
    state = load_checkpoint(_short(config, 1))
    before = Ticket.from_meta(load_checkpoint(source)['meta'])
    after = Ticket.from_meta(state['meta'])
    name = 'backbone.stages.1.branches.0.0.expand.weight'
    ours, theirs = after.mask(name), before.mask(name)
    assert ours.sum() == theirs.sum()
    assert torch.equal(ours, theirs) == (not hook)
    reference = load_checkpoint(source if weights in ('trained', 'random') else at)
    kept = ours & theirs
    if weights == 'initial.pth':
        owner = name.removesuffix('.expand.weight')
        order = [
            start + unit
            for group, start in zip(before.units[owner], (0, 12, 24), strict=True)
            for unit in before.units[owner][group]
        ]
        expected = reference['state_dict'][name][order]
    else:
        expected = reference['state_dict'][name]
    same = torch.equal(state['state_dict'][name][kept], expected[kept])
    assert same == (weights != 'random')


def test_latent_weights_carry_over(
    tickets: dict[str, Path], tiny_config: Callable[..., Config], tmp_path: Path
) -> None:
    config = _streets(tiny_config, tmp_path / 'run', [dict(type='FixedMaskHook')])
    config.load_from = str(tickets['supernet'])
    ours = load_checkpoint(_short(config, 1))[LATENT]
    theirs = load_checkpoint(tickets['supernet'])[LATENT]
    for name, values in ours[0].items():
        assert values.any() or not values.numel()
        assert torch.equal(values, theirs[0][name]), name


def test_a_ticket_that_masks_nothing_shared_is_refused(
    tickets: dict[str, Path], tiny_config: Callable[..., Config], tmp_path: Path
) -> None:
    config = _streets(tiny_config, tmp_path / 'run', [dict(type='FixedMaskHook')])
    config.load_from = str(tickets['mobile'])
    with pytest.raises(ValueError, match=r'iter_3\.pth.*(shares no features|part .backbone.)'):
        Runner.from_cfg(config).train()


@pytest.mark.parametrize('norm_eval', [False, True])
def test_a_frozen_backbone_keeps_weights_and_masks(
    tickets: dict[str, Path], tiny_config: Callable[..., Config], tmp_path: Path, norm_eval: bool
) -> None:
    freeze = dict(type='FreezeHook', parts=['backbone'], norm_eval=norm_eval)
    config = _streets(tiny_config, tmp_path / 'run', [dict(type='FixedMaskHook'), freeze])
    config.load_from = str(tickets['supernet'])
    after, before = load_checkpoint(_short(config, 2)), load_checkpoint(tickets['supernet'])
    moved = set()
    for name, tensor in after['state_dict'].items():
        if name.startswith('backbone.') and not torch.equal(tensor, before['state_dict'][name]):
            moved.add(name.rpartition('.')[2])
    assert moved == (set() if norm_eval else {'running_mean', 'running_var'})
    assert after['meta'][KEY]['masks'].keys() == {
        name for name in before['meta'][KEY]['masks'] if name.startswith('backbone.')
    }


@pytest.mark.parametrize(
    ('parts', 'message'),
    [
        (['trunk'], "'trunk' in parts of FreezeHook is not a module"),
        (['*'], 'leaves nothing to train'),
    ],
)
def test_what_cannot_be_frozen_is_refused(
    tiny_config: Callable[..., Config], tmp_path: Path, parts: list[str], message: str
) -> None:
    config = _streets(tiny_config, tmp_path / 'run', [dict(type='FreezeHook', parts=parts)])
    with pytest.raises(ValueError, match=message):
        Runner.from_cfg(config).train()

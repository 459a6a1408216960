"""A ticket of classification is trained on as segmentation and as pose estimation."""

import copy
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from mmengine import Config
from mmengine.registry import MODELS, DefaultScope
from mmengine.runner import Runner
from torch import nn
from transfer_source import FUSION, MOBILE, SLIM, SOURCES, classifier
from transfer_target import streets

from st_mm.ticket import KEY, LATENT, Ticket, load_checkpoint

pytestmark = pytest.mark.slow


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
    source = _build('mmpretrain', copy.deepcopy(classifier(network)))
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
    config = streets(tiny_config, tmp_path / 'run', [prune, dict(type='FixedMaskHook')])
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
    config = streets(tiny_config, tmp_path / 'run', [dict(type='FixedMaskHook', **hook)])
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
    config = streets(tiny_config, tmp_path / 'run', [dict(type='FixedMaskHook')])
    config.load_from = str(tickets['supernet'])
    ours = load_checkpoint(_short(config, 1))[LATENT]
    theirs = load_checkpoint(tickets['supernet'])[LATENT]
    for name, values in ours[0].items():
        assert values.any() or not values.numel()
        assert torch.equal(values, theirs[0][name]), name


def test_a_ticket_that_masks_nothing_shared_is_refused(
    tickets: dict[str, Path], tiny_config: Callable[..., Config], tmp_path: Path
) -> None:
    config = streets(tiny_config, tmp_path / 'run', [dict(type='FixedMaskHook')])
    config.load_from = str(tickets['mobile'])
    with pytest.raises(ValueError, match=r'iter_3\.pth.*(shares no features|part .backbone.)'):
        Runner.from_cfg(config).train()


STATISTICS = {'running_mean', 'running_var'}
FREEZE = dict(type='FreezeHook', parts=['backbone'])
NO_STEPS = dict(custom_keys={'backbone': dict(lr_mult=0)})


@pytest.mark.parametrize(
    ('hooks', 'paramwise', 'moves'),
    [
        ([FREEZE], None, STATISTICS),
        ([dict(FREEZE, norm_eval=True)], None, set()),
        ([], NO_STEPS, STATISTICS),
    ],
    ids=['FreezeHook', 'norm_eval', 'lr_mult'],
)
def test_a_frozen_backbone_keeps_weights_and_masks(
    tickets: dict[str, Path],
    tiny_config: Callable[..., Config],
    tmp_path: Path,
    hooks: list[dict],
    paramwise: dict | None,
    moves: set[str],
) -> None:
    config = streets(tiny_config, tmp_path / 'run', [dict(type='FixedMaskHook'), *hooks])
    config.load_from = str(tickets['supernet'])
    config.optim_wrapper.paramwise_cfg = paramwise
    after, before = load_checkpoint(_short(config, 2)), load_checkpoint(tickets['supernet'])
    moved = set()
    for name, tensor in after['state_dict'].items():
        if name.startswith('backbone.') and not torch.equal(tensor, before['state_dict'][name]):
            moved.add(name.rpartition('.')[2])
    assert moved == moves
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
    config = streets(tiny_config, tmp_path / 'run', [dict(type='FreezeHook', parts=parts)])
    with pytest.raises(ValueError, match=message):
        Runner.from_cfg(config).train()

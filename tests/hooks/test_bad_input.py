"""Bad input gets one clear error before training starts, naming the field or the file."""

from collections.abc import Callable
from pathlib import Path

import pytest
from mmengine import Config
from mmengine.runner import Runner

from st_mm.hooks import (
    FixedMaskHook,
    FreezeHook,
    ProgressivePruneHook,
    PruneHook,
    ReactivateHook,
    SearchHook,
)

ONCE = dict(type='OneShot', ratio=0.5, at=1)


@pytest.mark.parametrize(
    ('hook', 'arguments', 'field'),
    [
        (SearchHook, dict(interval=0), 'interval'),
        (SearchHook, dict(interval=2.5), 'interval'),
        (SearchHook, dict(rho=-1e-4), 'rho'),
        (SearchHook, dict(warmup=-1), 'warmup'),
        (SearchHook, dict(threshold=-1e-3), 'threshold'),
        (SearchHook, dict(calibration_batches=-1), 'calibration_batches'),
        (SearchHook, dict(calibration_batches=2.5), 'calibration_batches'),
        (SearchHook, dict(rho=float('nan')), 'rho'),
        (SearchHook, dict(threshold='1e-3'), 'threshold'),
        (ProgressivePruneHook, dict(ratio=0.9, calibration_batches=-1), 'calibration_batches'),
        (ProgressivePruneHook, dict(ratio=1.5), 'ratio'),
        (ProgressivePruneHook, dict(ratio=0), 'ratio'),
        (ProgressivePruneHook, dict(ratio=0.9, interval=0), 'interval'),
        (ProgressivePruneHook, dict(ratio=0.9, step=0), 'step'),
        (ProgressivePruneHook, dict(ratio=0.9, begin=-1), 'begin'),
        (ProgressivePruneHook, dict(ratio=0.9, end=3), 'end'),
        (ProgressivePruneHook, dict(ratio=0.9, score='taylor'), 'score'),
        (PruneHook, dict(schedule=dict(type='OneShot', ratio=0.5, at=-1)), 'at'),
        (PruneHook, dict(schedule=ONCE, score=dict(type='snip', batches=0)), 'batches'),
        (PruneHook, dict(schedule=ONCE, score=dict(type='synflow', rounds=0)), 'rounds'),
        (PruneHook, dict(schedule=ONCE, scope='network'), 'scope'),
        (PruneHook, dict(schedule=ONCE, rules=[dict(names='*', ratio=1.5)]), 'ratio'),
        (PruneHook, dict(schedule=ONCE, score=dict(type='snip', bacthes=5)), 'score'),
        (PruneHook, dict(schedule=ONCE, scope='erk', pattern='2:4'), 'scope'),
        (SearchHook, dict(interval=True), 'interval'),
        (SearchHook, dict(input_shape=(512, 1024)), 'input_shape'),
        (SearchHook, dict(input_shape='3x512x1024'), 'input_shape'),
        (SearchHook, dict(by_epoch='False'), 'by_epoch'),
        (SearchHook, dict(by_epoch=0), 'by_epoch'),
        (ProgressivePruneHook, dict(ratio=True), 'ratio'),
        (ProgressivePruneHook, dict(ratio='0.9'), 'ratio'),
        (PruneHook, dict(schedule=ONCE, scope=['global']), 'scope'),
        (PruneHook, dict(schedule=ONCE, skip='stem.*'), 'skip'),
        (PruneHook, dict(schedule=ONCE, skip=[3]), 'skip'),
        (PruneHook, dict(schedule=ONCE, score=dict(type='random', seed='a')), 'seed'),
        (PruneHook, dict(schedule=ONCE, score=dict(type='grasp', temperature=0)), 'temperature'),
        (PruneHook, dict(schedule=ONCE, score=dict(type='grasp', logits=3)), 'logits'),
        (FixedMaskHook, dict(shuffle='no'), 'shuffle'),
        (FixedMaskHook, dict(seed=-1), 'seed'),
        (FreezeHook, dict(parts=True), 'parts'),
        (FreezeHook, dict(parts='backbone'), 'parts'),
        (FreezeHook, dict(parts=[]), 'parts'),
        (FreezeHook, dict(parts=['neck'], norm_eval='False'), 'norm_eval'),
        (ReactivateHook, dict(on='never'), 'on'),
        (ReactivateHook, dict(mode='gradient', share=0), 'share'),
        (ReactivateHook, dict(mode='gradient', batches=0.5), 'batches'),
        (ReactivateHook, dict(mode='half'), 'mode'),
        (ReactivateHook, dict(scope='none'), 'scope'),
    ],
)
def test_arguments_out_of_range(hook: type, arguments: dict, field: str) -> None:
    with pytest.raises(ValueError, match=f'^{field} must'):
        hook(**arguments)


@pytest.mark.parametrize(
    ('arguments', 'words'),
    [
        (dict(schedule=dict(type='OneShot', ratio=0.5)), "'at'"),
        (dict(schedule=dict(type='OneShot', ratio=0.5, at=1, when=2)), "'when'"),
        (dict(schedule=dict(type=dict, ratio=0.5)), 'type of a prune schedule must be one of'),
        (dict(schedule=ONCE, rules=[dict(names='*', rate=0.5)]), "'rate'"),
        (dict(schedule=ONCE, rules=[{1: 2}]), 'a rule must have'),
        (dict(schedule=ONCE, pattern=dict(type='NM', k=2)), "'k'"),
    ],
)
def test_arguments_that_nothing_takes(arguments: dict, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        PruneHook(**arguments)


@pytest.fixture
def refuses(tiny_config: Callable[..., Config], tmp_path: Path) -> Callable[..., None]:
    """Assert that a training is refused, and that it leaves no checkpoint."""

    def check(error: type[Exception], match: str, change: Callable | None = None, **cfg) -> None:
        config = tiny_config(tmp_path / 'run', **cfg)
        if change:
            change(config)
        with pytest.raises(error, match=match):
            Runner.from_cfg(config).train()
        assert not list(tmp_path.rglob('*.pth'))

    return check


def _stock_model(config: Config) -> None:
    config.model.backbone = dict(
        type='ResNet',
        depth=18,
        base_channels=4,
        stem_channels=4,
        out_indices=(3,),
        norm_cfg=dict(type='BN'),
    )
    config.model.neck = None
    config.model.decode_head.update(in_channels=32, channels=32)


def test_search_without_units(refuses) -> None:
    refuses(ValueError, 'SearchHook needs a model with search units', _stock_model)


def test_reactivation_that_would_free_nothing(refuses) -> None:
    message = "EncoderDecoder has no search units: set scope='all'"
    refuses(ValueError, message, _stock_model, search=None,
            reactivate=dict(on='prune'))  # fmt: skip


def test_rule_that_matches_nothing(refuses) -> None:
    rules = [dict(names='backbon.*', ratio=0.5)]
    refuses(ValueError, "the rule for 'backbon.*' matches no", prune=dict(rules=rules))


def test_hooks_that_count_time_differently(refuses) -> None:
    prune = dict(by_epoch=False)
    refuses(ValueError, 'must agree on by_epoch', prune=prune, reactivate=None)


def test_random_masks_without_a_ticket(refuses) -> None:
    def shuffle(config: Config) -> None:
        config.custom_hooks = [dict(type='FixedMaskHook', shuffle=True)]

    refuses(ValueError, 'FixedMaskHook found no masked weights', shuffle)


def test_prune_without_weights(refuses) -> None:
    refuses(ValueError, 'has no prunable weights', prune=dict(skip=['*']), search=None,
            reactivate=None)  # fmt: skip


def test_skip_pattern_that_matches_nothing(refuses) -> None:
    refuses(ValueError, "the pattern 'backbon.stem.*' in skip matches no", search=None,
            prune=dict(skip=['backbon.stem.*']), reactivate=None)  # fmt: skip


def test_training_too_short_for_the_ratio(refuses) -> None:
    refuses(ValueError, r'reaches a ratio of 0\.3 in a training of 6 epochs, not 0\.9',
            prune=dict(interval=4, end=None))  # fmt: skip


def test_reactivation_without_partners(refuses) -> None:
    refuses(ValueError, 'ReactivateHook.* needs a PruneHook', prune=None)
    refuses(ValueError, 'ReactivateHook.* needs a SearchHook', search=None)


def test_epochs_in_an_iteration_based_loop(refuses) -> None:
    cfg = dict(_delete_=True, type='IterBasedTrainLoop', max_iters=4, val_interval=4)
    schedule = [dict(type='ConstantLR', factor=1.0, by_epoch=False)]
    refuses(ValueError, r'by_epoch=True\) needs an epoch-based', train_cfg=cfg,
            param_scheduler=schedule)  # fmt: skip


def test_input_shape_that_does_not_fit(refuses) -> None:
    refuses(ValueError, 'input_shape', search=dict(input_shape=(1, 64, 128)))


def test_retraining_without_a_ticket(refuses) -> None:
    def change(config: Config) -> None:
        config.custom_hooks.append(dict(type=FixedMaskHook.__name__))

    refuses(ValueError, 'FixedMaskHook found no masked weights', change, search=None, prune=None,
            reactivate=None)  # fmt: skip


def test_missing_checkpoint(refuses, tmp_path: Path) -> None:
    missing = str(tmp_path / 'nowhere.pt')
    refuses(FileNotFoundError, 'there is no checkpoint .*nowhere', load_from=missing)


def test_truncated_checkpoint(refuses, ticket_run: Path, tmp_path: Path) -> None:
    whole = (ticket_run / 'epoch_6.pth').read_bytes()
    cut = tmp_path / 'cut.pt'
    cut.write_bytes(whole[: len(whole) // 2])
    refuses(ValueError, r'cut\.pt is truncated', load_from=str(cut))
    refuses(ValueError, r'cut\.pt is truncated', load_from=str(cut), resume=True)


def test_checkpoint_of_another_architecture(refuses, ticket_run: Path) -> None:
    def change(config: Config) -> None:
        config.model.backbone.stage_channels = ((8,), (6, 10))
        config.model.neck.in_channels = (6, 10)
        config.load_from = str(ticket_run / 'epoch_6.pth')

    refuses(
        ValueError, r"epoch_6\.pth: part 'backbone': 'backbone\.stages\.1\S+' has shape", change
    )


def test_missing_dataset(refuses, tmp_path: Path) -> None:
    def change(config: Config) -> None:
        config.train_dataloader.dataset.data_root = str(tmp_path / 'no_data')

    refuses(FileNotFoundError, 'no_data', change)


def test_empty_dataset(refuses, tmp_path: Path) -> None:
    for folder in ('leftImg8bit/train', 'gtFine/train'):
        (tmp_path / 'empty' / folder).mkdir(parents=True)

    def change(config: Config) -> None:
        config.train_dataloader.dataset.data_root = str(tmp_path / 'empty')

    refuses(ValueError, r'CityscapesDataset found no samples: check data_root .*empty', change)


def test_norm_without_a_scale(refuses) -> None:
    def change(config: Config) -> None:
        config.model.backbone.norm_cfg = dict(type='GN', num_groups=1)

    refuses(ValueError, 'norm_cfg must be a batch norm', change)


def test_what_no_prune_could_reach_is_refused_before_the_first_step(refuses) -> None:
    alone = dict(search=None, reactivate=None)
    rules = [dict(names='*', min_per_channel=1000)]
    refuses(ValueError, 'min_per_channel', prune=dict(rules=rules), **alone)
    rules = [dict(names='backbone.*', ratio=0.5), dict(names='backbone.stem.*')]
    refuses(ValueError, r"rule for 'backbone\.stem\.\*' never applies", prune=dict(rules=rules))
    score = dict(type='grasp', logits='decode_head.conv_sge')
    refuses(ValueError, "'decode_head.conv_sge' in logits matches no", prune=dict(score=score))


def test_resuming_a_pruned_run_without_its_masks(refuses, ticket_run: Path) -> None:
    latest = str(ticket_run / 'epoch_3.pth')
    refuses(ValueError, 'no hook of this config holds its masks', load_from=latest, resume=True,
            prune=None, reactivate=None)  # fmt: skip


def test_resuming_from_a_truncated_last_checkpoint(
    tiny_config, ticket_run: Path, tmp_path: Path
) -> None:
    config = tiny_config(tmp_path / 'run', resume=True)
    cut = tmp_path / 'run' / 'epoch_3.pth'
    cut.parent.mkdir()
    cut.write_bytes((ticket_run / 'epoch_3.pth').read_bytes()[:1000])
    (tmp_path / 'run' / 'last_checkpoint').write_text(str(cut))
    with pytest.raises(ValueError, match=r'epoch_3\.pth is truncated'):
        Runner.from_cfg(config).train()


def test_two_hooks_that_decide_the_same(refuses) -> None:
    def twice(config: Config) -> None:
        config.custom_hooks.append(config.custom_hooks[1])

    def both(config: Config) -> None:
        config.custom_hooks += 2 * [dict(type='FixedMaskHook')]

    refuses(ValueError, 'SearchHook and SearchHook, which decide the same', twice)
    refuses(ValueError, 'FixedMaskHook.* which decide the same', both)


def test_groups_of_channels_that_a_search_would_break(refuses) -> None:
    prune = dict(ratio=0.5, step=0.5, pattern='2:4')
    refuses(ValueError, 'fall apart when SearchHook removes', prune=prune)


@pytest.mark.parametrize('hook', ['search', 'prune', 'reactivate'])
def test_hooks_out_of_turn(refuses, hook: str) -> None:
    refuses(ValueError, 'drop priority from it', **{hook: dict(priority='LOW')})


def test_search_that_never_happens_is_warned_of(tiny_config, tmp_path: Path, capfd) -> None:
    config = tiny_config(tmp_path / 'run', search=dict(interval=3), prune=None, reactivate=None)
    config.train_cfg.max_epochs = 1
    Runner.from_cfg(config).train()
    assert 'SearchHook never removes a unit' in ''.join(capfd.readouterr())


def test_a_calibration_longer_than_an_epoch_is_warned_of(
    tiny_config, tmp_path: Path, capfd
) -> None:
    long = dict(calibration_batches=3)
    config = tiny_config(tmp_path / 'run', search=long, prune=None, reactivate=None)
    config.train_cfg.max_epochs = 1
    Runner.from_cfg(config).train()
    said = 'SearchHook: calibration_batches is 3, but an epoch has 2 batches'
    assert said in ''.join(capfd.readouterr())


def test_a_pattern_that_cannot_end_at_the_ratio() -> None:
    with pytest.raises(ValueError, match=r'2:4 ends at a ratio of 0\.5'):
        PruneHook(dict(type='OneShot', ratio=0.9, at=1), pattern='2:4')

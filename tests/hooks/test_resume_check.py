"""A checkpoint to resume from is looked at as a whole, before the first step."""

import copy
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from mmengine.config import Config
from mmengine.model import BaseModel
from mmengine.runner import Runner
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

from st_mm.ticket import KEY, LATENT, load_checkpoint

NAN = float('nan')


class Resumable(BaseModel):
    steps = 0

    def __init__(self) -> None:
        super().__init__()
        self.body = nn.Linear(4, 8)
        self.head = nn.Linear(8, 2)

    def forward(self, inputs, labels, mode='tensor'):
        type(self).steps += 1
        loss = nn.functional.cross_entropy(self.head(self.body(inputs).relu()), labels)
        return dict(loss=loss)


def run(folder: Path, epochs: int, average: bool = True, **kwargs: Any) -> Runner:
    data = TensorDataset(torch.ones(4, 4), torch.tensor([0, 1, 0, 1]))
    shot = dict(type='PruneHook', schedule=dict(type='OneShot', ratio=0.5, at=1),
                calibration_batches=0)  # fmt: skip
    return Runner(
        model=Resumable(),
        work_dir=str(folder),
        train_dataloader=DataLoader(data, batch_size=2),
        train_cfg=dict(by_epoch=True, max_epochs=epochs),
        optim_wrapper=dict(optimizer=dict(type='Adam', lr=0.1)),
        param_scheduler=[dict(type='ExponentialLR', gamma=0.9)],
        custom_hooks=[shot, dict(type='EMAHook')] if average else [shot],
        default_scope='mmengine',
        randomness=dict(seed=0),
        log_level='ERROR',
        experiment_name=os.urandom(6).hex(),
        cfg=Config(dict(work_dir=str(folder))),
        **kwargs,
    )


@pytest.fixture(scope='module')
def content(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """What a checkpoint after two of three epochs holds."""
    folder = tmp_path_factory.mktemp('whole')
    run(folder, 2).train()
    return load_checkpoint(folder / 'epoch_2.pth')


@pytest.fixture
def resume(content: dict, tmp_path: Path) -> Callable[..., Runner]:
    """Resume from the checkpoint after a change."""

    def resumed(change: Callable[[dict], Any], **kwargs: Any) -> Runner:
        changed = copy.deepcopy(content)
        change(changed)
        torch.save(changed, tmp_path / 'changed.pth')
        path = str(tmp_path / 'changed.pth')
        again = run(tmp_path / 'run', 3, load_from=path, resume=True, **kwargs)
        before = Resumable.steps
        try:
            again.train()
        except ValueError:
            assert Resumable.steps == before, 'it has trained'
            raise
        return again

    return resumed


def test_a_whole_one_goes_on(resume) -> None:
    assert resume(lambda content: None).iter == 6


def put(*path: Any) -> Callable[[dict], None]:
    """Change the entry of a path to its last part."""

    def change(content: dict) -> None:
        *folders, name, value = path
        for each in folders:
            content = content[each]
        content[name] = value

    return change


def drop(*path: Any) -> Callable[[dict], Any]:
    """Drop the entry of a path."""

    def change(content: dict) -> None:
        *folders, name = path
        for each in folders:
            content = content[each]
        del content[name]

    return change


def bare(content: dict) -> None:
    for name in content.keys() - {'meta', 'state_dict'}:
        del content[name]


def fill_masked(content: dict) -> None:
    """Make weights that are masked into others than zero."""
    for state, prefix in ((content['state_dict'], ''), (content['ema_state_dict'], 'module.')):
        state[f'{prefix}body.weight'] += 1


FIRST, SCHEDULER = ('optimizer', 'state', 0), ('param_schedulers', 0)
HISTORY = ('message_hub', 'log_scalars', 'train/loss')
WRONG = {
    'extracted': (bare, 'published or an extracted one'),
    'no_optimizer': (drop('optimizer'), 'has no optimizer'),
    'no_schedulers': (drop('param_schedulers'), 'has no param_schedulers'),
    'no_message_hub': (drop('message_hub'), 'has no message_hub'),
    'text_for_optimizer': (put('optimizer', 'text'), 'has a str for optimizer'),
    'no_epoch': (drop('meta', 'epoch'), 'says None for its epoch'),
    'bool_for_iter': (put('meta', 'iter', True), 'says True for its iter'),
    'early_epoch': (put('meta', 'epoch', 0), 'has an event of epoch 1'),
    'text_for_seed': (put('meta', 'seed', '0'), "says '0' for its seed"),
    'state_of_a_shape': (put(*FIRST, 'exp_avg', torch.ones(7)), r'shape \(7,\) for exp_avg'),
    'state_with_nan': (put(*FIRST, 'exp_avg', torch.full((8, 4), NAN)), 'NaN .* exp_avg'),
    'state_of_text': (put(*FIRST, 'step', 'text'), 'has str for step'),
    'state_of_nothing': (put(*FIRST, 'step', None), 'has NoneType for step'),
    'state_without_a_part': (drop(*FIRST, 'step'), r"has no step of 'body\.weight'"),
    'state_of_a_strange_name': (put(*FIRST, '\x1bstep', 1), r'has no \\x1bstep of .body'),
    'state_of_another': (put('optimizer', 'state', 9, {}), 'for the weight 9'),
    'no_lr': (drop('optimizer', 'param_groups', 0, 'lr'), 'without lr'),
    'text_for_lr': (put('optimizer', 'param_groups', 0, 'lr', 'x'), "has 'x' for lr"),
    'fewer_weights': (put('optimizer', 'param_groups', 0, 'params', [0]), 'other groups'),
    'scheduler_of_text': (put(*SCHEDULER, 'text'), 'has a str for scheduler 0'),
    'scheduler_without': (drop(*SCHEDULER, 'gamma'), 'has no gamma for scheduler 0'),
    'bool_for_last_step': (put(*SCHEDULER, 'last_step', True), 'has True for last_step'),
    'tensor_for_a_bool': (put(*SCHEDULER, 'by_epoch', torch.ones(2)), 'for by_epoch of'),
    'two_schedulers': (put('param_schedulers', [{}, {}]), 'has 2 schedulers'),
    'no_log_scalars': (drop('message_hub', 'log_scalars'), 'has no log_scalars'),
    'number_for_a_resumed_key': (
        put('message_hub', 'resumed_keys', 'max_epochs', NAN),
        'has nan for max_epochs in the resumed_keys',
    ),
    'short_history': (put(*HISTORY, 'count_history', [1]), "damaged history of 'train/loss'"),
    'no_average': (drop('ema_state_dict'), 'has no average of the weights'),
    'half_an_average': (
        drop('ema_state_dict', 'module.head.bias'),
        r"'head\.bias' in one of state_dict and ema_state_dict alone",
    ),
    'average_of_a_shape': (
        put('ema_state_dict', 'module.head.bias', torch.ones(3)),
        r"'head\.bias' of shape \(2,\) in state_dict and \(3,\)",
    ),
    'average_with_nan': (
        put('ema_state_dict', 'module.head.bias', torch.full((2,), NAN)),
        "'head.bias' in ema_state_dict .* NaN",
    ),
    'no_steps': (drop('ema_state_dict', 'steps'), 'no number of steps'),
    'no_latent_weights': (drop(LATENT), 'not the values of the weights under them'),
    'fewer_latent_weights': (
        put(LATENT, 0, 'body.weight', torch.ones(3)),
        r"\(3,\) values of torch\.float32 under the mask of 'body\.weight', which masks \d+",
    ),
    'no_masks_before': (drop('masks_before'), 'not those of its last prune'),
    'no_names_of_resting': (put('masks_resting', 'body'), 'has str for masks_resting'),
    'masked_and_not_zero': (fill_masked, "'body.weight' are masked, which are not zero"),
    'record_of_text': (put('meta', KEY, 'text'), 'record is a str'),
}  # fmt: skip


@pytest.mark.parametrize('case', WRONG)
def test_what_does_not_fit_is_one_error(resume, case) -> None:
    change, match = WRONG[case]
    with pytest.raises(ValueError, match=match):
        resume(change)


def test_an_average_that_nothing_goes_on_with(resume) -> None:
    with pytest.raises(ValueError, match='the config has no EMAHook'):
        resume(lambda content: None, average=False)


def test_states_of_different_kinds_are_whole() -> None:
    """Adafactor has rows and columns of a matrix, and the whole of a vector."""
    from st_mm.hooks.resume_check import _check_whole

    rows, whole = dict(step=1, row=2, col=3), dict(step=1, exp_avg_sq=2)
    _check_whole({0: rows, 1: whole, 2: rows, 4: {}}, [[0, 1, 2, 3], [4]], {})

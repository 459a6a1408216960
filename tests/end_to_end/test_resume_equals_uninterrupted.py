"""A run stopped at any checkpoint and resumed ends bit for bit as one that never stopped."""

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from mmengine import Config
from mmengine.runner import Runner

from st_mm.hooks.run_state import LATENT
from st_mm.ticket import KEY


def assert_same(ours: object, theirs: object, where: str = 'checkpoint') -> None:
    """Compare nested containers of tensors and plain values, bit for bit."""
    if isinstance(theirs, torch.Tensor):
        assert torch.equal(ours, theirs), where
    elif isinstance(theirs, dict):
        assert ours.keys() == theirs.keys(), where
        for key, value in theirs.items():
            assert_same(ours[key], value, f'{where}[{key!r}]')
    elif isinstance(theirs, list | tuple):
        assert len(ours) == len(theirs), where
        for index, value in enumerate(theirs):
            assert_same(ours[index], value, f'{where}[{index}]')
    else:
        assert ours == theirs, where


@pytest.mark.slow
@pytest.mark.parametrize('epoch', [1, 2, 3, 4, 5])
def test_epochs(
    epoch: int, ticket_run: Path, tiny_config: Callable[..., Config], tmp_path: Path
) -> None:
    expected = torch.load(ticket_run / 'epoch_6.pth', weights_only=True)
    config = tiny_config(tmp_path / 'resumed')
    config.load_from = str(ticket_run / f'epoch_{epoch}.pth')
    config.resume = True
    Runner.from_cfg(config).train()
    resumed = torch.load(tmp_path / 'resumed' / 'epoch_6.pth', weights_only=True)

    for entry in ('state_dict', 'ema_state_dict', 'optimizer', 'param_schedulers', LATENT):
        assert_same(resumed[entry], expected[entry], entry)
    assert_same(resumed['meta'][KEY], expected['meta'][KEY], 'ticket')

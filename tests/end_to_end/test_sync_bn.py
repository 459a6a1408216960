"""SyncBN from training to inference: one process, other norms after a load, and several GPUs."""

import copy
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import mmseg
import pytest
import torch
from mmengine import Config
from mmengine.model import revert_sync_batchnorm
from mmengine.registry import init_default_scope
from mmengine.runner import Runner
from mmseg.apis import init_model
from mmseg.registry import MODELS
from torch import Tensor, nn

from st_mm.search import shrink
from st_mm.ticket import load_checkpoint
from st_mm.units import find_owners


def with_sync_bn(config: Config) -> Config:
    for part in (config.model.backbone, config.model.neck):
        part.norm_cfg.type = 'SyncBN'
    return config


def has_sync_bn(model: nn.Module) -> bool:
    return any(isinstance(module, nn.SyncBatchNorm) for module in model.modules())


@torch.no_grad()
def logits(model: nn.Module) -> Tensor:
    picture = torch.randn(2, 3, 64, 128, generator=torch.Generator().manual_seed(1))
    return model.eval()(picture, mode='tensor')


@pytest.fixture(scope='module')
def sync_run(
    tiny_config: Callable[..., Config], tmp_path_factory: pytest.TempPathFactory
) -> tuple[Path, Config]:
    """Work dir and config of the run of conftest.py, with SyncBN for BN."""
    work_dir = tmp_path_factory.mktemp('sync') / 'run'
    config = with_sync_bn(tiny_config(work_dir))
    Runner.from_cfg(copy.deepcopy(config)).train()
    return work_dir, config


@pytest.mark.slow
def test_training_in_one_process_is_that_of_bn(sync_run: tuple, ticket_run: Path) -> None:
    """Torch does not synchronize where there is nobody else, so that a CPU will do."""
    work_dir, _ = sync_run
    ours, theirs = (load_checkpoint(folder / 'epoch_6.pth') for folder in (work_dir, ticket_run))
    events = {event['kind'] for event in ours['meta']['ticket']['events']}
    assert events == {'search', 'prune', 'reactivate', 'refit'}
    assert ours['meta']['ticket']['units'] == theirs['meta']['ticket']['units']
    assert ours['state_dict'].keys() == theirs['state_dict'].keys()
    for name, tensor in theirs['state_dict'].items():
        assert torch.equal(ours['state_dict'][name], tensor), name


@pytest.mark.slow
@pytest.mark.parametrize('revert', [False, True], ids=['as it is', 'reverted'])
def test_inference_on_a_cpu(revert: bool, sync_run: tuple) -> None:
    """As ``init_model`` leaves it, and reverted, as by mmseg's inferencer and tools."""
    work_dir, config = sync_run
    checkpoint = work_dir / 'epoch_6.pth'
    init_default_scope('mmseg')
    plain = MODELS.build(config.model)
    plain.load_state_dict(load_checkpoint(checkpoint)['state_dict'])
    model = init_model(copy.deepcopy(config), str(checkpoint), device='cpu')
    assert has_sync_bn(model)
    if revert:
        model = revert_sync_batchnorm(model)
        assert not has_sync_bn(model)
    assert torch.equal(logits(model), logits(plain))


@pytest.mark.slow
def test_reverted_model_can_be_searched(sync_run: tuple) -> None:
    """Its owners find the norms that took the old ones' places."""
    work_dir, config = sync_run
    model = init_model(copy.deepcopy(config), str(work_dir / 'epoch_6.pth'), device='cpu')
    model = revert_sync_batchnorm(model)
    dead = {}
    for name, owner in find_owners(model).items():
        dead[name] = torch.zeros_like(owner.unit_bn.weight, dtype=torch.bool)
        dead[name][::2] = True
        owner.unit_bn.weight.data[dead[name]] = 0
    before = logits(model)
    assert shrink(model, dead)
    torch.testing.assert_close(logits(model), before, rtol=1e-4, atol=1e-3)


@pytest.mark.slow
@pytest.mark.gpu
def test_training_on_gpus(tiny_config: Callable[..., Config], tmp_path: Path) -> None:
    """On two, where there are as many: then statistics are those of both."""
    config = with_sync_bn(tiny_config(tmp_path / 'run'))
    config.train_dataloader.batch_size = 2
    config.dump(tmp_path / 'config.py')
    ranks = min(torch.cuda.device_count(), 2)
    launch = [sys.executable, '-m', 'torch.distributed.run', '--standalone']
    tool = Path(mmseg.__file__).parent / '.mim' / 'tools' / 'train.py'
    command = [*launch, f'--nproc_per_node={ranks}', tool, 'config.py', '--launcher', 'pytorch']
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-3000:]
    ticket = load_checkpoint(tmp_path / 'run' / 'epoch_6.pth')['meta']['ticket']
    assert {'search', 'prune'} <= {event['kind'] for event in ticket['events']}

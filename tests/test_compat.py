"""Every fix both ways: the failure without it, and that it leaves alone what needs no fix.

Importing st_mm applies the fixes for good, so "without" runs in a process that does not import it.
"""

import importlib.machinery
import os
import socket
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
import torch
from mmengine.dist import utils as mmengine_dist
from mmengine.logging import HistoryBuffer
from mmengine.runner import Runner, load_checkpoint
from mmengine.testing.runner_test_case import ToyDataset, ToyMetric, ToyModel

from st_mm import compat
from st_mm.compat import cpu_ranks, mmcv_ops, torchvision_ops


def run_python(code: str, **env: str) -> subprocess.CompletedProcess:
    return subprocess.run(
        [sys.executable, '-c', code],
        env={**os.environ, **env},
        capture_output=True,
        text=True,
        timeout=120,
    )


def assert_works(code: str, **env: str) -> None:
    done = run_python(code, **env)
    assert done.returncode == 0, done.stderr


def assert_fails(code: str, message: str, **env: str) -> None:
    """Check that the code fails with the message; skip where the environment has no such fault."""
    done = run_python(code, **env)
    if done.returncode == 0:
        pytest.skip('this environment works without the fix')
    assert message in done.stderr


def test_second_apply_changes_nothing():
    def state() -> tuple:
        launchers = (getattr(mmengine_dist, f'_init_dist_{x}') for x in ('pytorch', 'mpi'))
        allowed = torch.serialization.get_safe_globals() if weights_only_is_default else ()
        return list(sys.meta_path), sys.modules.get('mmcv._ext'), set(allowed), *launchers

    before = state()
    compat.apply()
    assert state() == before


# Checkpoints ---------------------------------------------------------------------------------

weights_only_is_default = torch.__version__ >= '2.6'
needs_weights_only = pytest.mark.skipif(
    not weights_only_is_default, reason='torch < 2.6 loads everything'
)


def runner(work_dir: Path, epochs: int, **kwargs) -> Runner:
    """A Runner with all that puts unusual things into a checkpoint."""
    dataset = ToyDataset()
    dataset.METAINFO = dict(  # as mmpose: a palette and sigmas
        colors=np.zeros((2, 3), np.uint8), sigmas=np.ones(2, np.float32)
    )

    def loader(shuffle: bool) -> dict:
        sampler = dict(type='DefaultSampler', shuffle=shuffle)
        return dict(dataset=dataset, sampler=sampler, batch_size=4, num_workers=0)

    return Runner(
        ToyModel(),
        str(work_dir),
        train_dataloader=loader(shuffle=True),
        val_dataloader=loader(shuffle=False),
        train_cfg=dict(by_epoch=True, max_epochs=epochs),
        val_cfg={},
        val_evaluator=[NumpyMetric()],
        optim_wrapper=dict(optimizer=dict(type='Adam', lr=0.01)),
        param_scheduler=[
            dict(type='LinearLR', start_factor=0.1, end=3, by_epoch=False),
            dict(type='OneCycleLR', eta_max=0.04, total_steps=9, by_epoch=False),
        ],
        default_hooks=dict(
            logger=dict(type='LoggerHook', interval=1),
            checkpoint=dict(type='CheckpointHook', interval=1, save_best='acc', rule='greater'),
        ),
        custom_hooks=[dict(type='EMAHook')],
        experiment_name=work_dir.name,
        **kwargs,
    )


class NumpyMetric(ToyMetric):
    """Gives its score as a numpy scalar, as mm's metrics do."""

    def compute_metrics(self, results: list) -> dict:
        return dict(acc=np.float64(1))


@pytest.fixture(scope='module')
def checkpoint(tmp_path_factory) -> Path:
    """The file of a finished run."""
    work_dir = tmp_path_factory.mktemp('run')
    runner(work_dir, epochs=2).train()
    return work_dir / 'epoch_2.pth'


@needs_weights_only
def test_checkpoint_is_refused_without(checkpoint):
    code = f'import torch, mmengine.runner; torch.load({str(checkpoint)!r})'
    assert_fails(code, 'Unsupported global')


def test_checkpoint_loads(checkpoint):
    content = load_checkpoint(ToyModel(), str(checkpoint), map_location='cpu')
    history = content['message_hub']['log_scalars']['train/loss']
    assert isinstance(history, HistoryBuffer)
    assert history.mean(window_size=3) == np.mean(history.data[0][-3:])
    assert content['meta']['dataset_meta']['sigmas'].dtype == np.float32
    assert content['message_hub']['runtime_info']['best_score'] == 1


def test_checkpoint_resumes(checkpoint, tmp_path):
    again = runner(tmp_path, epochs=3, load_from=str(checkpoint), resume=True)
    again.train()
    assert (again.epoch, again.iter) == (3, 9)
    losses, _ = again.message_hub.get_scalar('train/loss').data
    assert len(losses) == 9  # 6 of them before
    assert again.param_schedulers[1].anneal_func.__name__ == '_annealing_cos'


# torchvision ---------------------------------------------------------------------------------

NO_NMS = 'operator torchvision::nms does not exist'


def test_torchvision_fails_without():
    assert_fails('import torchvision', NO_NMS)


@pytest.mark.parametrize('before', ['', 'try: import torchvision\nexcept RuntimeError: pass'])
def test_torchvision_imports(before):
    code = f"""
{before}
import st_mm
import torch, torchvision
from torchvision import ops, transforms
assert ops.nms.__module__ == 'torchvision.ops.boxes'
image = torch.rand(3, 8, 8)
assert transforms.functional.center_crop(image, [4, 4]).shape == (3, 4, 4)
try:
    ops.nms(torch.zeros(1, 4), torch.zeros(1), 0.5)
except RuntimeError as error:
    assert 'custom C++ ops' in str(error), error
"""
    assert_works(code)


@pytest.mark.slow
@pytest.mark.parametrize('package', ['mmpretrain', 'mmpose.apis', 'mmseg.apis'])
def test_mm_package_imports(package):
    pytest.importorskip(package.partition('.')[0])
    assert_works(f'import st_mm, {package}')


def test_torchvision_is_not_imported_for_nothing():
    assert_works("import st_mm, sys; assert 'torchvision' not in sys.modules")


def test_torchvision_that_imports_is_left_alone():
    calls = []
    torchvision_ops._execute_torchvision(calls.append, module := ModuleType('torchvision'))
    assert calls == [module]


def test_other_errors_of_torchvision_pass():
    def execute(module):
        raise RuntimeError('CUDA versions differ')

    with pytest.raises(RuntimeError, match='CUDA versions differ'):
        torchvision_ops._execute_torchvision(execute, ModuleType('torchvision'))


# mmcv-lite -----------------------------------------------------------------------------------


def test_mmcv_ops_fail_without():
    # torchvision is not what is tested here, and mmcv.ops does not import it.
    assert_fails('import mmcv.ops', "No module named 'mmcv._ext'")


def test_mmcv_ops_import():
    code = """
import st_mm
import torch
from mmcv.ops import nms_rotated
from mmcv.utils import collect_env
collect_env()
try:
    nms_rotated(torch.zeros(1, 5), torch.zeros(1), 0.5)
except NotImplementedError as error:
    assert 'nms_rotated' in str(error) and 'pip install' in str(error), error
"""
    assert_works(code)


def test_stub_is_honest():
    stub = mmcv_ops._OpsStub()
    assert stub.__spec__.name == 'mmcv._ext'
    assert stub.__spec__.loader is None
    assert not hasattr(stub, '__file__')
    with pytest.raises(NotImplementedError, match=r'no compiled operators.*softnms'):
        stub.softnms(1, x=2)


@pytest.mark.parametrize('full', [True, False], ids=['mmcv', 'mmcv-lite'])
def test_full_mmcv_is_left_alone(full, tmp_path, monkeypatch):
    mmcv = importlib.machinery.ModuleSpec('mmcv', None, is_package=True)
    mmcv.submodule_search_locations.append(str(tmp_path))
    if full:
        (tmp_path / '_ext.py').touch()
    monkeypatch.setattr(importlib.util, 'find_spec', lambda name: mmcv)
    monkeypatch.delitem(sys.modules, 'mmcv._ext', raising=False)
    compat.stub_mmcv_ops()
    assert ('mmcv._ext' in sys.modules) is not full
    monkeypatch.delitem(sys.modules, 'mmcv._ext', raising=False)


# gloo ----------------------------------------------------------------------------------------

INIT_GLOO = """
from mmengine.dist import get_backend, init_dist
init_dist('pytorch', backend='gloo')
assert get_backend() == 'gloo'
"""


@pytest.fixture
def ranks() -> dict[str, str]:
    """The environment of the only rank of a launcher."""
    with socket.socket() as free:
        free.bind(('localhost', 0))
        port = str(free.getsockname()[1])
    return dict(RANK='0', LOCAL_RANK='0', WORLD_SIZE='1', MASTER_ADDR='localhost', MASTER_PORT=port)


def test_gloo_fails_without(ranks):
    assert_fails(INIT_GLOO, 'set_device', **ranks)


def test_gloo_starts(ranks):
    assert_works('import st_mm\n' + INIT_GLOO, **ranks)


@pytest.mark.parametrize(
    ('backend', 'cuda', 'held'),
    [('gloo', False, True), ('gloo', True, False), ('nccl', False, False)],
)
def test_set_device_is_held_for_gloo_without_cuda_alone(backend, cuda, held, monkeypatch):
    seen = []

    def init(backend, timeout):
        seen.append((backend, timeout, torch.cuda.set_device is not set_device))

    set_device = torch.cuda.set_device
    monkeypatch.setattr(torch.cuda, 'is_available', lambda: cuda)
    cpu_ranks._InitWithoutCuda(init)(backend, timeout=9)
    assert seen == [(backend, 9, held)]
    assert torch.cuda.set_device is set_device


# models on the CPU, data sets without samples ---------------------------------------------------

WRAP_ON_CPU = """
from mmengine.dist import init_dist
from mmengine.model import MMDistributedDataParallel
from torch import nn
import torch
torch.cuda.set_device = lambda device: None  # the fault above is not the one looked for here
init_dist('pytorch', backend='gloo')
MMDistributedDataParallel(nn.Linear(1, 1), device_ids=[0])
"""


def test_wrapping_on_cpu_fails_without(ranks):
    assert_fails(WRAP_ON_CPU, 'device_ids', **ranks)


def test_wrapping_on_cpu(ranks):
    assert_works('import st_mm\n' + WRAP_ON_CPU, **ranks)


EMPTY_DATASET = """
from mmengine.dataset import BaseDataset
class Streets(BaseDataset):
    def load_data_list(self):
        return []
Streets(data_root='nowhere/')
"""


def test_empty_dataset_without():
    assert_fails(EMPTY_DATASET, 'need at least one array to concatenate')


def test_empty_dataset_says_so():
    message = r"ValueError: Streets found no samples: check data_root ('nowhere/')"
    assert_fails('import st_mm\n' + EMPTY_DATASET, message)

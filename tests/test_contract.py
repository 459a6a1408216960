"""What st_mm touches of mmengine and torch beyond their public names, each with its reason.

A new mmengine or torch that moves one of them fails here first, with a sentence that says where.
"""

import inspect
from collections.abc import Callable

import pytest
import torch
from mmengine._strategy import SingleDeviceStrategy
from mmengine.config import Config
from mmengine.dataset import BaseDataset
from mmengine.dist import utils as mmengine_dist
from mmengine.hooks import EMAHook
from mmengine.model import BaseModel, BaseModule, ExponentialMovingAverage
from mmengine.optim.scheduler.param_scheduler import OneCycleParamScheduler
from mmengine.runner import Runner
from mmengine.visualization import Visualizer
from torch import nn
from torch.nn.modules import module as torch_module
from torch.utils.checkpoint import checkpoint
from torch.utils.data import DataLoader, TensorDataset

from st_mm import private
from st_mm.units.loading import set_data


class Tiny(BaseModel):
    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(2, 1)

    def forward(self, inputs, mode='tensor'):
        outputs = self.layer(inputs)
        return dict(loss=outputs.mean()) if mode == 'loss' else outputs


@pytest.fixture
def runner(tmp_path) -> Runner:
    loader = DataLoader(TensorDataset(torch.ones(4, 2)), batch_size=2)
    return Runner(
        Tiny(),
        str(tmp_path),
        train_dataloader=loader,
        train_cfg=dict(by_epoch=True, max_epochs=1),
        optim_wrapper=dict(optimizer=dict(type='SGD', lr=0.1)),
        custom_hooks=[dict(type='EMAHook', update_buffers=True)],
        default_scope='mmengine',
        log_level='ERROR',
        experiment_name=f'contract-{tmp_path.name}',
        cfg=Config(dict(work_dir=str(tmp_path))),
    )


def test_a_runner_says_whether_it_resumes_has_loaded_and_trains(runner) -> None:
    assert private.load_from(runner) is None, 'Runner._load_from is None without load_from'
    assert not private.is_to_resume(runner), 'Runner._resume is False without resume'
    assert not private.has_loaded(runner), 'Runner._has_loaded is False before a checkpoint'
    assert not private.is_training(runner), 'Runner._train_loop is a dict before training'
    runner.train()
    assert private.is_training(runner), 'Runner._train_loop is a loop in training'
    assert not private.resumed(runner)


def test_a_loaded_checkpoint_shows(runner, tmp_path) -> None:
    runner.train()
    again = Runner(
        Tiny(),
        str(tmp_path / 'again'),
        load_from=str(tmp_path / 'epoch_1.pth'),
        experiment_name=f'again-{tmp_path.name}',
        log_level='ERROR',
    )
    again.load_or_resume()
    assert private.load_from(again) == str(tmp_path / 'epoch_1.pth')
    assert private.has_loaded(again), 'Runner._has_loaded is True after load_or_resume'


def test_an_average_holds_a_state_dict_made_once() -> None:
    average = ExponentialMovingAverage(Tiny(), update_buffers=True)
    set_data(average.module.layer.weight, torch.zeros(3, 2))
    average.module.layer.weight = nn.Parameter(torch.zeros(3, 2))
    assert average.avg_parameters['layer.weight'].shape == (1, 2), (
        'averages follow shapes by themselves now: private.refresh_average can go'
    )
    private.refresh_average(average)
    assert average.avg_parameters['layer.weight'].shape == (3, 2)


@pytest.mark.parametrize(
    ('owner', 'name', 'arguments', 'user'),
    [
        (Runner, '_maybe_compile', ['self', 'target'], 'private.compile_step'),
        (SingleDeviceStrategy, 'compile_model', ['self', 'model', 'compile'], 'the same'),
        (SingleDeviceStrategy, '_wrap_model', ['self', 'model'], 'private.wrap_anew'),
        (BaseDataset, '_serialize_data', ['self'], 'compat.name_empty_datasets'),
        (EMAHook, 'before_run', ['self', 'runner'], 'averages that follow loads'),
        (EMAHook, 'after_load_checkpoint', ['self', 'runner', 'checkpoint'], 'the same'),
        *(
            (mmengine_dist, f'_init_dist_{name}', ['backend'], 'compat.tolerate_gloo_without_cuda')
            for name in ('pytorch', 'mpi', 'slurm')
        ),
        *(
            (
                OneCycleParamScheduler,
                f'_annealing_{name}',
                ['start', 'end', 'pct'],
                'compat.allow_checkpoint_globals',
            )
            for name in ('cos', 'linear')
        ),
    ],
    ids=lambda value: value if isinstance(value, str) else None,
)
def test_functions_of_mmengine_take_what_we_pass(owner, name, arguments, user) -> None:
    function = getattr(owner, name, None)
    assert function is not None, f'{user} needs {owner.__name__}.{name}, which is gone'
    found = list(inspect.signature(function).parameters)
    found = [each for each in found if each not in ('kwargs', 'port', 'init_backend')]
    wanted = arguments[1:] if 'self' not in found and arguments[0] == 'self' else arguments
    if owner is OneCycleParamScheduler and 'self' in found:
        wanted = ['self', *arguments]
    assert found == wanted, f'{user} calls {name}{tuple(wanted)}'


def test_modules_of_mmengine_note_how_they_were_initialized() -> None:
    class Noted(BaseModule):
        def __init__(self) -> None:
            super().__init__(init_cfg=dict(type='Constant', val=1, layer='Linear'))
            self.layer = nn.Linear(1, 1)

    module = Noted()
    seen = []
    module.layer.init_weights = lambda: seen.append(hasattr(module, '_params_init_info'))
    module.init_weights()
    assert seen == [True], 'models.init writes into BaseModule._params_init_info'


def test_torch_tells_of_modules_that_get_a_parent() -> None:
    seen = []
    handle = torch_module.register_module_module_registration_hook(
        lambda parent, name, child: seen.append(name)
    )
    nn.Sequential(nn.ReLU())
    handle.remove()
    nn.Sequential(nn.ReLU())
    assert seen == ['0'], 'units.stock hears of blocks by this hook of torch'


def test_torch_calls_before_a_module_is_loaded() -> None:
    seen = []
    layer = nn.Linear(1, 1)
    hook = layer._register_load_state_dict_pre_hook
    hook(lambda module, state, prefix, *_: seen.append((module, prefix)), with_module=True)
    nn.Sequential(layer).load_state_dict({'0.weight': torch.ones(1, 1), '0.bias': torch.ones(1)})
    assert seen == [(layer, '0.')], 'units.stock hears of loads by this hook of torch'


def test_another_dtype_and_back_resets_what_autograd_remembers() -> None:
    weight = nn.Parameter(torch.ones(4))
    loss = weight.sum()  # its graph holds on to the old shape
    set_data(weight, torch.ones(2))
    weight.sum().backward()
    assert weight.grad.shape == (2,), 'units.loading.set_data takes a detour over another dtype'
    assert loss.requires_grad


@pytest.mark.parametrize(
    'name',
    ['add', 'add_', 'addcdiv_', 'addcmul_', 'mul_', 'sqrt_', 'sub_', 'zero_'],
    ids='_foreach_{}'.format,
)
def test_torch_works_on_lists_of_tensors(name) -> None:
    function: Callable | None = getattr(torch, f'_foreach_{name}', None)
    assert function is not None, 'optim.rmsprop, prune.masks and prune.straight_through use it'
    ones = [torch.ones(2), torch.ones(3)]
    count = dict(addcdiv_=2, addcmul_=2, sqrt_=0, zero_=0).get(name, 1)
    lists = [[torch.full_like(t, 2.0) for t in ones] for _ in range(count)]
    result = function(ones, *lists)
    values = dict(add=3.0, add_=3.0, addcdiv_=2.0, addcmul_=5.0, mul_=2.0, sqrt_=1.0)
    values |= dict(sub_=-1.0, zero_=0.0)
    assert all(bool((t == values[name]).all()) for t in result or ones)


def test_torch_clamps_lists_of_tensors_by_lists_of_numbers() -> None:
    upper = torch._foreach_clamp_max([torch.ones(2), torch.ones(3)], [0.5, 2.0])
    torch._foreach_clamp_min_(upper, [0.0, 1.5])
    assert [t.tolist() for t in upper] == [[0.5] * 2, [1.5] * 3], 'prune.straight_through uses it'


@pytest.mark.parametrize('reentrant', [True, False])
def test_torch_recomputes_by_names_that_can_be_replaced(reentrant) -> None:
    calls = []

    def twice(x: torch.Tensor) -> torch.Tensor:
        calls.append(x)
        return x.square() * 2

    x = torch.ones(2, requires_grad=True)
    for around, number in ((private.checkpoints_for_grad, 2), (private.without_checkpoints, 1)):
        calls.clear()
        with around():
            y = checkpoint(twice, x, use_reentrant=reentrant).sum()
            [slope] = torch.autograd.grad(y, [x])
        assert slope.tolist() == [4, 4]
        assert len(calls) == number, f'private.{around.__name__} replaces names in torch.utils'


def test_a_visualizer_tells_its_backends_and_their_folders(tmp_path) -> None:
    visualizer = Visualizer(
        vis_backends=[dict(type='LocalVisBackend')], save_dir=str(tmp_path), name=str(tmp_path)
    )
    [backend] = private.vis_backends(visualizer)
    assert private.local_folder(backend) == tmp_path / 'vis_data', 'hooks.event_log writes there'

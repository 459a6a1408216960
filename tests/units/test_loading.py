"""Loading: new shapes in old parameters, and refusals by name."""

import pytest
import torch
from torch import nn

from st_mm.models import AtomicBlock
from st_mm.units.loading import (
    TicketModule,
    check_fit,
    misfit,
    set_data,
    set_widths,
    state_tensors,
    take_widths,
)

DTYPES = [torch.float32, torch.float64, torch.float16, torch.bfloat16]


@pytest.mark.parametrize('dtype', DTYPES, ids=str)
@pytest.mark.parametrize('shape', [(2, 3), (3, 3), (5, 3), (0, 3)], ids=str)
def test_set_data_keeps_the_parameter(dtype, shape) -> None:
    parameter = nn.Parameter(torch.randn(3, 3, dtype=dtype))
    parameter.tag = 'kept'
    optimizer = torch.optim.SGD([parameter], 1.0)
    seen = []
    parameter.register_hook(lambda gradient: seen.append(gradient.shape))
    data = torch.randn(shape, dtype=dtype)
    set_data(parameter, data)
    assert torch.equal(parameter, data)
    assert parameter.data_ptr() == data.data_ptr()
    assert (parameter.dtype, parameter.shape) == (dtype, shape)
    assert parameter.is_leaf
    assert parameter.requires_grad
    assert parameter.tag == 'kept'
    assert optimizer.param_groups[0]['params'][0] is parameter
    parameter.square().sum().backward()
    assert seen == [torch.Size(shape)]
    assert torch.equal(parameter.grad, 2 * data)


@pytest.mark.parametrize('dtype', DTYPES[:2], ids=str)
@pytest.mark.parametrize('runs', [0, 1, 2])
def test_backward_works_while_the_old_graph_is_held(dtype, runs) -> None:
    """The trap: an old AccumulateGrad node remembers the old shape."""
    parameter = nn.Parameter(torch.ones(4, dtype=dtype))
    held = [parameter.sum() for _ in range(3)]
    for loss in held[:runs]:
        loss.backward()
    parameter.grad = None
    for shape in (2, 3, 3, 1):
        set_data(parameter, torch.ones(shape, dtype=dtype))
        held.append((parameter * torch.arange(1, shape + 1)).sum())
        held[-1].backward()
        assert parameter.grad.tolist() == list(range(1, shape + 1))
        parameter.grad = None


def test_the_trap_exists() -> None:
    """Without the detour: if this no longer raises, set_data can become an assignment."""
    parameter = nn.Parameter(torch.ones(4))
    held = parameter.sum()
    parameter.data = torch.ones(2)
    with pytest.raises(RuntimeError, match='invalid gradient'):
        parameter.sum().backward()
    assert held.requires_grad


def test_set_data_of_the_same_shape_keeps_the_graph() -> None:
    parameter = nn.Parameter(torch.ones(4))
    held = parameter.sum()
    set_data(parameter, torch.zeros(4))
    held.backward()
    assert parameter.grad.tolist() == [1] * 4


def test_gradients_follow_the_shape() -> None:
    parameter = nn.Parameter(torch.ones(4))
    parameter.sum().backward()
    set_data(parameter, torch.zeros(4))
    assert parameter.grad.tolist() == [1] * 4
    set_data(parameter, torch.zeros(2))
    assert parameter.grad is None


def test_set_data_of_buffers() -> None:
    norm = nn.BatchNorm2d(4)
    mean, count = norm.running_mean, norm.num_batches_tracked
    set_data(mean, torch.ones(2))
    set_data(count, torch.tensor(5))
    assert norm.running_mean is mean
    assert norm.state_dict()['running_mean'].tolist() == [1, 1]
    assert norm.num_batches_tracked.item() == 5
    assert count.dtype == torch.int64
    assert not mean.requires_grad


def test_set_data_of_frozen_parameters() -> None:
    parameter = nn.Parameter(torch.ones(4), requires_grad=False)
    set_data(parameter, torch.ones(2))
    assert not parameter.requires_grad
    parameter.requires_grad_()
    parameter.sum().backward()
    assert parameter.grad.shape == (2,)


def test_state_tensors_are_live() -> None:
    module = nn.Sequential(nn.Conv2d(2, 2, 1), nn.BatchNorm2d(2))
    module.register_buffer('passing', torch.zeros(1), persistent=False)
    tensors = dict(state_tensors(module))
    assert tensors.keys() == module.state_dict().keys()
    assert tensors['0.weight'] is module[0].weight
    assert tensors['1.running_mean'] is module[1].running_mean


class Part(TicketModule):
    def __init__(self) -> None:
        super().__init__()
        self.fc = nn.Linear(2, 3)
        self.bn = nn.BatchNorm1d(3)


class Whole(Part):
    load_required = True


def test_check_fit_passes_what_fits() -> None:
    part = Part()
    state = {f'a.{k}': v for k, v in part.state_dict().items()}
    check_fit(part, state, 'a.', required=True)
    del state['a.bn.num_batches_tracked']
    state['a.bn2.num_batches_tracked'] = torch.tensor(1)
    check_fit(part, state | {'other': torch.zeros(9)}, 'a.', required=True)


@pytest.mark.parametrize('prefix', ['', 'a.'])
def test_check_fit_refuses_what_has_no_place(prefix) -> None:
    state = {f'{prefix}{k}': v for k, v in Part().state_dict().items()}
    state |= {f'{prefix}fc2.{name}': torch.zeros(1) for name in ('weight', 'bias')}
    message = rf"'{prefix}fc2\.bias' \(and 1 more\) .* has no place in Part"
    with pytest.raises(RuntimeError, match=message):
        check_fit(Part(), state, prefix, required=True)


def test_check_fit_knows_shared_tensors() -> None:
    part = Part()
    part.twin = part.fc
    check_fit(part, part.state_dict(), '', required=True)


def test_check_fit_leaves_the_module_alone() -> None:
    """Widths that are yet to be taken do not count as a misfit, and are not taken."""
    block, smaller = AtomicBlock(2, 2, expand_ratio=1), AtomicBlock(2, 2, expand_ratio=1)
    set_widths(smaller, dict(k3=1, k5=0, k7=2))
    model = nn.Sequential(block)
    state = {f'0.{name}': tensor for name, tensor in smaller.state_dict().items()}
    check_fit(model, state, '', required=True)
    assert block.unit_groups() == dict(k3=2, k5=2, k7=2)
    take_widths(model, state, '')
    assert block.unit_groups() == dict(k3=1, k5=0, k7=2)
    check_fit(model, state, '', required=True)


def test_refused_widths_are_not_taken_in_part() -> None:
    model = nn.Sequential(*(AtomicBlock(2, 2, expand_ratio=1) for _ in range(2)))
    state = model.state_dict()
    state['0.depthwise.k3.weight'] = torch.zeros(1, 1, 3, 3)
    state['1.depthwise.k3.weight'] = torch.zeros(9, 1, 3, 3)
    with pytest.raises(RuntimeError, match=r'1\.depthwise\.k3'):
        take_widths(model, state, '')
    assert model[0].unit_groups() == dict(k3=2, k5=2, k7=2)


def test_check_fit_required() -> None:
    check_fit(Part(), {}, 'a.', required=False)
    check_fit(Part(), {'ab.fc.weight': torch.zeros(9)}, 'a.', required=False)
    with pytest.raises(RuntimeError, match=r"no tensor 'a\.fc\.weight' for Part"):
        check_fit(Part(), {}, 'a.', required=True)
    with pytest.raises(RuntimeError, match=r"no tensor 'a\.fc\.weight' for Part"):
        check_fit(Part(), {'a.fc.bias': torch.zeros(3)}, 'a.', required=False)


@pytest.mark.parametrize('shape', [(3,), (1, 2, 3), (3, 2, 1), (2, 3), (0, 2), ()], ids=str)
def test_check_fit_shape(shape) -> None:
    """Also shapes that would broadcast or hold as many values."""
    state = Part().state_dict()
    state['fc.weight'] = torch.zeros(shape)
    with pytest.raises(RuntimeError, match=r"'fc\.weight' has shape \(.*\(3, 2\) in the model"):
        check_fit(Part(), state, '', required=False)


def test_non_persistent_buffers_are_not_asked_for() -> None:
    part = Part()
    part.register_buffer('passing', torch.zeros(1), persistent=False)
    check_fit(part, Part().state_dict(), '', required=True)


def test_misfit_says_what_to_do() -> None:
    error = misfit('a.b', (1, 2), 'at most 3')
    assert isinstance(error, RuntimeError)
    assert all(part in str(error) for part in ("'a.b'", '(1, 2)', 'at most 3', 'config'))


@pytest.mark.parametrize(('cls', 'raises'), [(Part, False), (Whole, True)])
def test_ticket_module(cls, raises) -> None:
    model = nn.ModuleDict(dict(a=cls(), b=nn.Linear(1, 1)))
    state = {'b.weight': torch.full((1, 1), 5.0)}
    if raises:
        with pytest.raises(RuntimeError, match=r'a\.fc\.weight'):
            model.load_state_dict(state, strict=False)
    else:
        model.load_state_dict(state, strict=False)
        assert model['b'].weight.item() == 5


def test_nested_owners_see_their_own_prefix() -> None:
    block = AtomicBlock(2, 2, expand_ratio=1)
    state = block.state_dict()
    for name, dim, group in block.unit_slices():
        keep = [0] if group else [0, 2, 4]
        state[name] = state[name].index_select(dim, torch.tensor(keep))
    model = nn.Sequential(nn.Sequential(AtomicBlock(2, 2, expand_ratio=1)))
    model.load_state_dict({f'0.0.{k}': v for k, v in state.items()})
    assert model[0][0].unit_groups() == dict(k3=1, k5=1, k7=1)

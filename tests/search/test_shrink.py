"""Shrinking: outputs kept, everything cut in step, or nothing changed at all."""

import copy
from collections import deque
from functools import partial

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from mmengine.model import ExponentialMovingAverage
from torch import nn

from st_mm.models import AtomicBlock, HRFusionNeck, HRSupernet, TokenMixer
from st_mm.search import Cut, shrink
from st_mm.units import find_owners

NORM = dict(type='BN', eps=1e-3, momentum=0.1)
FEW = settings(max_examples=20, deadline=None, derandomize=True)

STAGES = st.sampled_from(
    [
        dict(stage_channels=((4,), (4, 6)), stage_blocks=((1,), (1, 1))),
        dict(stage_channels=((4, 4),), stage_blocks=((0, 2),), kernel_sizes=(3, 5)),
        dict(stage_channels=((4,), (4, 4), (4, 6, 5)), stage_blocks=((0,), (1, 0), (0, 1, 1))),
    ]
)
KINDS = ['none', 'some', 'kernel', 'all', 'some but one']
OPTIMIZERS = {
    'SGD': partial(torch.optim.SGD, lr=0.01),
    'SGD momentum': partial(torch.optim.SGD, lr=0.01, momentum=0.9, weight_decay=0.1),
    'Adam': partial(torch.optim.Adam, lr=0.01, amsgrad=True, weight_decay=0.1),
    'AdamW': partial(torch.optim.AdamW, lr=0.01),
    'RMSprop': partial(torch.optim.RMSprop, lr=0.01, momentum=0.9, centered=True),
    'Adagrad': partial(torch.optim.Adagrad, lr=0.01),  # has state before its first step
}


class Net(nn.Module):
    def __init__(self, stages: dict, tokens: int = 0) -> None:
        super().__init__()
        kernels = stages.get('kernel_sizes', (3, 5, 7))
        cfg = dict(expand_ratio=1, norm_cfg=NORM)
        self.backbone = HRSupernet(stem_channels=(4, 4), tokens=tokens, **stages, **cfg)
        channels = self.backbone.out_channels
        self.neck = HRFusionNeck(channels, 5, kernel_sizes=kernels, **cfg)

    def forward(self, x):
        return self.neck(self.backbone(x))[0]


DEFAULT = dict(stage_channels=((4,), (4, 6)), stage_blocks=((1,), (1, 1)))


def build(seed: int, stages: dict = DEFAULT, tokens: int = 0) -> Net:
    """A network with random scales and shifts, warmed by a few training batches."""
    torch.manual_seed(seed)
    model = Net(stages, tokens)
    for module in model.modules():
        if isinstance(module, nn.BatchNorm2d):
            nn.init.normal_(module.weight)
            nn.init.normal_(module.bias)
            nn.init.normal_(module.running_mean)
            nn.init.uniform_(module.running_var, 0.5, 2)
    with torch.no_grad():
        for _ in range(3):
            model.train()(picture())
    return model


def picture(batch: int = 4) -> torch.Tensor:
    return torch.randn(batch, 3, 16, 16)


@st.composite
def deaths(draw, stages=STAGES):
    """A seed, a network, and how each owner dies."""
    seed = draw(st.integers(0, 2**31))
    cfg = draw(stages)
    names = list(find_owners(Net(cfg)))
    kinds = draw(st.lists(st.sampled_from(KINDS), min_size=len(names), max_size=len(names)))
    branch = draw(st.sampled_from([None, *{n.rpartition('.')[0] for n in names}]))
    kinds = [
        'all' if n.rpartition('.')[0] == branch else k for n, k in zip(names, kinds, strict=True)
    ]
    return seed, cfg, dict(zip(names, kinds, strict=True))


def dead_masks(model: nn.Module, kinds: dict[str, str], seed: int) -> dict[str, torch.Tensor]:
    generator = torch.Generator().manual_seed(seed)
    dead = {}
    for name, owner in find_owners(model).items():
        counts = list(owner.unit_groups().values())
        mask = torch.rand(sum(counts), generator=generator) < 0.5
        kind = kinds.get(name, 'none')
        if kind in ('none', 'all'):
            mask = torch.full_like(mask, kind == 'all')
        elif kind == 'kernel':
            mask |= torch.arange(len(counts)).repeat_interleave(torch.tensor(counts)) == 1
        elif kind == 'some but one' and mask.numel():
            mask[:] = True
            mask[0] = False
        dead[name] = mask
    return dead


def kill(model: nn.Module, dead: dict[str, torch.Tensor], size: float) -> None:
    for name, owner in find_owners(model).items():
        scale = owner.unit_bn.weight.data
        values = (torch.rand_like(scale) * 2 - 1) * size
        scale.copy_(torch.where(dead[name], values, scale))


def relative(ours: torch.Tensor, theirs: torch.Tensor) -> float:
    return ((ours - theirs).norm() / theirs.norm()).item()


def reference_cut(model: nn.Module, dead: dict[str, torch.Tensor]) -> dict[str, tuple]:
    """(dimension, kept indices) by tensor name, spelled out for blocks and mixers."""
    cuts = {}
    for owner, mask in dead.items():
        module = model.get_submodule(owner)
        keep = (~mask).nonzero().flatten().tolist()
        if isinstance(module, TokenMixer):
            rows, columns, norms = ('input_proj.weight', 'queries'), 'output_proj', ('input_norm',)
        else:
            rows, columns, norms = ('expand.weight',), 'project', ('expand_bn', 'depthwise_bn')
            start = 0
            for kernel, conv in module.depthwise.items():
                stop = start + conv.weight.shape[0]
                part = [i - start for i in keep if start <= i < stop]
                cuts[f'{owner}.depthwise.{kernel}.weight'] = (0, part)
                start = stop
        cuts[f'{owner}.{columns}.weight'] = (1, keep)
        for name in rows:
            cuts[f'{owner}.{name}'] = (0, keep)
        for norm in norms:
            for name in ('weight', 'bias', 'running_mean', 'running_var'):
                cuts[f'{owner}.{norm}.{name}'] = (0, keep)
    return cuts


def sliced(tensor: torch.Tensor, cut: tuple | None) -> torch.Tensor:
    if cut is None:
        return tensor
    dim, keep = cut
    return (
        torch.stack([tensor.select(dim, i) for i in keep], dim)
        if keep
        else (tensor.narrow(dim, 0, 0))
    )


# Outputs


@torch.no_grad()
@FEW
@given(deaths(), st.sampled_from([0.0, 1e-3]))
def test_outputs_are_kept(death, size) -> None:
    seed, cfg, kinds = death
    model = build(seed, cfg)
    ema = copy.deepcopy(model)
    for parameter in ema.parameters():
        parameter.mul_(1 + 0.1 * torch.randn_like(parameter))
    dead = dead_masks(model, kinds, seed)
    x = picture()
    for each in (model, ema):
        kill(each, dead, size)
    before = [each.eval()(x) for each in (model, ema)]
    trained = [copy.deepcopy(each).train()(x) for each in (model, ema)]
    shrink(model, dead, copies=[ema])
    for each, expected, in_training in zip((model, ema), before, trained, strict=True):
        assert relative(each.eval()(x), expected) <= (5e-3 if size else 1e-5)
        if not size:
            assert relative(copy.deepcopy(each).train()(x), in_training) <= 1e-4


@torch.no_grad()
def test_constant_would_be_lost_without_absorbing() -> None:
    """The outputs above are kept by absorb_units, not by luck."""
    model = build(0)
    dead = dead_masks(model, dict.fromkeys(find_owners(model), 'some'), 0)
    kill(model, dead, 0)
    x = picture()
    before = model.eval()(x)
    for owner in find_owners(model).values():
        owner.absorb_units = lambda dead: None
    shrink(model, dead)
    assert relative(model(x), before) > 0.05


@torch.no_grad()
def test_tokens() -> None:
    """What stays of a mixer is the mixer that was never given the dead tokens."""
    model = build(0, tokens=5)
    mixers = {n: o for n, o in find_owners(model).items() if isinstance(o, TokenMixer)}
    dead = {name: torch.tensor([True, False, True, False, False]) for name in mixers}
    state = copy.deepcopy(model.state_dict())
    cuts = reference_cut(model, dead)
    shrink(model, dead)
    for name, tensor in model.state_dict().items():
        assert torch.equal(tensor, sliced(state[name], cuts.get(name))), name
    assert {m.unit_groups()['tokens'] for m in mixers.values()} == {3}
    shrink(model, {name: torch.ones(3).bool() for name in mixers})
    assert torch.isfinite(model.eval()(picture())).all()


# Everything in step


@FEW
@given(deaths(), st.sampled_from(list(OPTIMIZERS)), st.booleans())
def test_everything_is_cut_in_step(death, optimizer_name, stepped) -> None:
    seed, cfg, kinds = death
    model = build(seed, cfg)
    ema = copy.deepcopy(model)
    groups = [dict(params=list(model.backbone.parameters())), dict(params=model.neck.parameters())]
    optimizer = OPTIMIZERS[optimizer_name](groups)
    if stepped:
        for _ in range(2):
            optimizer.zero_grad()
            model(picture()).square().mean().backward()
            optimizer.step()
    dead = dead_masks(model, kinds, seed)
    parameters = dict(model.named_parameters())
    masks = {n: torch.rand_like(p) for n, p in parameters.items() if p.dim() > 1}
    latent = {n: torch.rand_like(p) for n, p in list(parameters.items())[::3]}
    cuts = reference_cut(model, {n: m for n, m in dead.items() if m.any()})
    old = {
        'model': copy.deepcopy(model.state_dict()),
        'ema': copy.deepcopy(ema.state_dict()),
        'grad': {n: None if p.grad is None else p.grad.clone() for n, p in parameters.items()},
        'masks': dict(masks),
        'latent': dict(latent),
        'state': {n: copy.deepcopy(optimizer.state.get(p, {})) for n, p in parameters.items()},
    }
    identity = [id(t) for each in (model, ema) for t in (*each.parameters(), *each.buffers())]

    done = shrink(model, dead, [ema], [optimizer], [masks, latent])

    assert done.keys() == cuts.keys()
    for name, cut in done.items():
        assert (cut.dim, cut.keep.tolist()) == cuts[name]
    after = [id(t) for each in (model, ema) for t in (*each.parameters(), *each.buffers())]
    assert after == identity
    held = [id(p) for group in optimizer.param_groups for p in group['params']]
    assert held == [id(p) for p in model.parameters()]
    assert dict(model.named_parameters()).keys() == parameters.keys()
    for kind, each in (('model', model), ('ema', ema)):
        for name, tensor in each.state_dict().items():
            if not name.endswith('project_bn.running_mean'):  # it absorbs
                assert torch.equal(tensor, sliced(old[kind][name], cuts.get(name))), name
    for name, parameter in model.named_parameters():
        gradient, state = old['grad'][name], optimizer.state.get(parameter, {})
        if gradient is not None:
            assert torch.equal(parameter.grad, sliced(gradient, cuts.get(name))), name
        assert state.keys() == old['state'][name].keys()
        for key, value in state.items():
            was = old['state'][name][key]
            if torch.is_tensor(value) and value.dim():
                assert value.shape == parameter.shape
                assert torch.equal(value, sliced(was, cuts.get(name))), (name, key)
            else:
                assert value == was
    for kind, tensors in (('masks', masks), ('latent', latent)):
        assert tensors.keys() == old[kind].keys()
        for name, tensor in tensors.items():
            assert torch.equal(tensor, sliced(old[kind][name], cuts.get(name))), name


@FEW
@given(deaths(), st.integers(0, 2**31))
def test_twice_is_once(death, second_seed) -> None:
    seed, cfg, kinds = death
    model = build(seed, cfg)
    first = dead_masks(model, kinds, seed)
    once = copy.deepcopy(model)
    shrink(model, first)
    again = dead_masks(model, dict.fromkeys(first, 'some'), second_seed)
    union = {}
    for name, mask in first.items():
        union[name] = mask.clone()
        union[name][~mask] = again[name]
    shrink(model, again)
    shrink(once, union)
    assert [o.unit_groups() for o in find_owners(model).values()] == [
        o.unit_groups() for o in find_owners(once).values()
    ]
    for (name, ours), theirs in zip(
        model.state_dict().items(), once.state_dict().values(), strict=True
    ):
        if name.endswith('running_mean'):
            torch.testing.assert_close(ours, theirs, rtol=1e-5, atol=1e-5)
        else:
            assert torch.equal(ours, theirs), name


@settings(FEW, max_examples=15)
@given(deaths(), st.sampled_from(list(OPTIMIZERS)))
def test_training_goes_on(death, optimizer_name) -> None:
    """While the last loss is held; it goes where a network of that size would have gone."""
    seed, cfg, kinds = death
    model = build(seed, cfg)
    optimizer = OPTIMIZERS[optimizer_name](model.parameters())
    held = []
    for _ in range(2):
        optimizer.zero_grad()
        held.append(model(picture()).square().mean())
        held[-1].backward()
        optimizer.step()
    shrink(model, dead_masks(model, kinds, seed), optimizers=[optimizer])
    twin = Net(cfg)
    twin.load_state_dict(model.state_dict())
    twin_optimizer = OPTIMIZERS[optimizer_name](twin.parameters())
    twin_optimizer.load_state_dict(copy.deepcopy(optimizer.state_dict()))
    x = picture()
    for each, opt in ((model, optimizer), (twin, twin_optimizer)):
        for _ in range(2):
            opt.zero_grad()
            loss = each.train()(x).square().mean()
            loss.backward()
            opt.step()
            held.append(loss)
    for (name, ours), theirs in zip(
        model.state_dict().items(), twin.state_dict().values(), strict=True
    ):
        assert torch.equal(ours, theirs), name


@torch.no_grad()
@settings(FEW, max_examples=15)
@given(deaths(), st.sampled_from([0, 3]))
def test_saved_weights_load_into_the_supernet(death, tokens) -> None:
    seed, cfg, kinds = death
    model = build(seed, cfg, tokens).eval()
    shrink(model, dead_masks(model, kinds, seed))
    fresh = Net(cfg, tokens).eval()
    fresh.load_state_dict(model.state_dict())
    x = picture()
    assert torch.equal(fresh(x), model(x))
    assert [o.unit_groups() for o in find_owners(fresh).values()] == [
        o.unit_groups() for o in find_owners(model).values()
    ]


def test_layers_know_their_new_sizes() -> None:
    model = build(1)
    shrink(model, dead_masks(model, dict.fromkeys(find_owners(model), 'some'), 1))
    for module in model.modules():
        if isinstance(module, nn.Conv2d):
            assert module.out_channels == module.weight.shape[0]
            assert module.in_channels == module.weight.shape[1] * module.groups
        elif isinstance(module, nn.BatchNorm2d):
            assert module.num_features == module.weight.numel() == module.running_var.numel()


def test_average_goes_on() -> None:
    """The averaged model of mmengine pairs its parameters with ours by position."""
    model = build(0)
    average = ExponentialMovingAverage(model, momentum=0.5)
    average.update_parameters(model)
    dead = dead_masks(model, dict.fromkeys(find_owners(model), 'some'), 0)
    shrink(model, dead, copies=[average.module])
    before = {n: p.clone() for n, p in average.module.named_parameters()}
    for parameter in model.parameters():
        parameter.data.add_(1)
    average.update_parameters(model)
    for name, parameter in model.named_parameters():
        expected = (before[name] + parameter) / 2
        torch.testing.assert_close(dict(average.module.named_parameters())[name], expected)


def test_nothing_dead_is_nothing_done() -> None:
    model, ema, optimizer, masks = everything()
    before = snapshot(model, ema, optimizer, masks)
    dead = {
        name: torch.zeros_like(o.unit_bn.weight).bool() for name, o in find_owners(model).items()
    }
    assert shrink(model, dead, [ema], [optimizer], [masks]) == {}
    assert shrink(model, {}, [ema], [optimizer], [masks]) == {}
    assert_same(before, snapshot(model, ema, optimizer, masks))


def test_the_network_itself_may_own_units() -> None:
    block = AtomicBlock(4, 4, expand_ratio=1)
    cuts = shrink(block, {'': torch.arange(12) == 3})
    assert cuts['expand.weight'].keep.tolist() == [0, 1, 2, *range(4, 12)]
    assert block.unit_groups() == dict(k3=3, k5=4, k7=4)


def test_channels_last_stays() -> None:
    model = build(0).to(memory_format=torch.channels_last)
    dead = dead_masks(model, dict.fromkeys(find_owners(model), 'some'), 0)
    shrink(model, dead)
    for name, parameter in model.named_parameters():
        if parameter.dim() == 4:
            assert parameter.is_contiguous(memory_format=torch.channels_last), name


@pytest.mark.parametrize('dim', [0, 1])
def test_cut(dim) -> None:
    tensor = torch.arange(24.0).view(4, 6)
    cut = Cut(dim, torch.tensor([3, 0]))
    assert torch.equal(cut(tensor), tensor[[3, 0]] if dim == 0 else tensor[:, [3, 0]])
    assert cut(tensor).is_contiguous()


# All or nothing


def everything():
    model = build(0)
    ema = copy.deepcopy(model)
    optimizer = torch.optim.Adam(model.parameters())
    model(picture()).square().mean().backward()
    optimizer.step()
    masks = {n: torch.ones_like(p) for n, p in model.named_parameters() if p.dim() > 1}
    return model, ema, optimizer, masks


def snapshot(model, ema, optimizer, masks) -> dict:
    found: dict = {}
    for kind, each in (('model', model), ('ema', ema)):
        for name, tensor in (*each.named_parameters(), *each.named_buffers()):
            found[kind, name] = (id(tensor), tensor.detach().clone())
            if tensor.grad is not None:
                found[kind, name, 'grad'] = (id(tensor.grad), tensor.grad.clone())
        for name, module in each.named_modules():
            found[kind, name, 'repr'] = (id(module), repr(module))
    names = {parameter: name for name, parameter in model.named_parameters()}
    assert optimizer.state.keys() <= names.keys()
    for parameter, state in optimizer.state.items():
        for key, value in state.items():
            copied = value.clone() if torch.is_tensor(value) else value
            found['state', names[parameter], key] = (id(value), copied)
    for name, mask in masks.items():
        found['mask', name] = (id(mask), mask.clone())
    return found


def assert_same(before: dict, after: dict) -> None:
    assert before.keys() == after.keys()
    for key, (identity, value) in before.items():
        assert after[key][0] == identity, key
        if torch.is_tensor(value):
            assert torch.equal(after[key][1], value), key
        else:
            assert after[key][1] == value, key


def wrong_length(model, ema, optimizer, masks, dead) -> None:
    dead['neck.block'] = dead['neck.block'][1:]


def wrong_dimension(model, ema, optimizer, masks, dead) -> None:
    dead['neck.block'] = dead['neck.block'][None]


def unknown_owner(model, ema, optimizer, masks, dead) -> None:
    dead['backbone.stem'] = torch.ones(4).bool()


def other_average(model, ema, optimizer, masks, dead) -> None:
    shrink(ema, {'neck.block': torch.arange(30) == 0})


def other_mask(model, ema, optimizer, masks, dead) -> None:
    masks['neck.block.expand.weight'] = torch.ones(3)


def odd_state(model, ema, optimizer, masks, dead) -> None:
    parameter = model.neck.block.expand.weight
    optimizer.state[parameter]['row_var'] = torch.ones(len(parameter), 1)


def other_precision(model, ema, optimizer, masks, dead) -> None:
    optimizer.add_param_group(dict(params=[model.neck.block.expand.weight.detach().double()]))


def orphaned_state(model, ema, optimizer, masks, dead) -> None:
    group = optimizer.param_groups[0]
    group['params'] = [p for p in group['params'] if p is not model.neck.block.expand.weight]


def shared_parameter(model, ema, optimizer, masks, dead) -> None:
    model.twin = torch.nn.Conv2d(1, 1, 1)
    model.twin.weight = model.neck.block.expand.weight


@pytest.mark.parametrize(
    'spoil',
    [
        other_precision,
        orphaned_state,
        shared_parameter,
        wrong_length,
        wrong_dimension,
        unknown_owner,
        other_average,
        other_mask,
        odd_state,
    ],
    ids=lambda spoil: spoil.__name__,
)
def test_refused_before_anything_changes(spoil) -> None:
    model, ema, optimizer, masks = everything()
    dead = dead_masks(model, dict.fromkeys(find_owners(model), 'some'), 0)
    spoil(model, ema, optimizer, masks, dead)
    before = snapshot(model, ema, optimizer, masks)
    message = r'neck\.block|backbone\.stem|Adam (holds|keeps)'
    with pytest.raises(ValueError, match=message):
        shrink(model, dead, [copy.deepcopy(model), ema], [optimizer], [{}, masks])
    assert_same(before, snapshot(model, ema, optimizer, masks))


@pytest.mark.skipif(not hasattr(torch.optim, 'Adafactor'), reason='torch < 2.5')
def test_factored_optimizers_are_refused() -> None:
    model = build(0)
    optimizer = torch.optim.Adafactor(model.parameters())
    model(picture()).square().mean().backward()
    optimizer.step()
    dead = dead_masks(model, dict.fromkeys(find_owners(model), 'some'), 0)
    with pytest.raises(ValueError, match=r"Adafactor keeps '\w+' of shape"):
        shrink(model, dead, optimizers=[optimizer])


@pytest.mark.parametrize(
    'hold',
    [
        lambda tensor: [tensor],
        lambda tensor: (None, tensor),
        lambda tensor: deque([tensor]),
        lambda tensor: dict(a=[dict(b=tensor)]),
        lambda tensor: [tensor.new_zeros(3)],
    ],
)
def test_state_in_containers_is_refused(hold) -> None:
    model = build(0)
    optimizer = torch.optim.SGD(model.parameters(), 0.1)
    parameter = model.neck.block.expand.weight
    optimizer.state[parameter]['history'] = hold(torch.zeros_like(parameter))
    dead = dead_masks(model, dict.fromkeys(find_owners(model), 'some'), 0)
    before = copy.deepcopy(model.state_dict())
    with pytest.raises(ValueError, match=r"'history' of shape .* in a container"):
        shrink(model, dead, optimizers=[optimizer])
    assert all(torch.equal(tensor, before[name]) for name, tensor in model.state_dict().items())


def test_plain_values_in_containers_pass() -> None:
    model = build(0)
    optimizer = torch.optim.SGD(model.parameters(), 0.1)
    history = [1, 'text', None, torch.tensor(3.0)]
    optimizer.state[model.neck.block.expand.weight]['history'] = history
    dead = dead_masks(model, dict.fromkeys(find_owners(model), 'some'), 0)
    assert shrink(model, dead, optimizers=[optimizer])

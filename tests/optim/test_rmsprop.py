"""RMSprop with eps in the root: the published update, and a state that shrinks with the network."""

import copy
from math import inf, nan

import pytest
import torch
from mmengine.optim import OptimWrapper, build_optim_wrapper
from torch import nn

from st_mm.models import AtomicBlock
from st_mm.optim import RMSpropEpsInRoot
from st_mm.search import shrink

SHAPES = [(3, 2, 3, 3), (4,), (2, 5), ()]


def weights(dtype=torch.float64) -> list[nn.Parameter]:
    return [nn.Parameter(torch.randn(shape, dtype=dtype)) for shape in SHAPES]


def published(w, gradients, lr, alpha, eps, momentum, weight_decay) -> list[float]:
    """One weight through the update, written out number by number."""
    square_avg = buffer = 0.0
    path = []
    for g in gradients:
        g = g + weight_decay * w
        square_avg = alpha * square_avg + (1 - alpha) * g**2
        avg = (square_avg + eps) ** 0.5
        buffer = momentum * buffer + g / avg
        w = w - lr * buffer
        path.append(w)
    return path


def train(optimizer, params, steps) -> None:
    """Steps along gradients of sizes from 1e-5 to 1."""
    for step in range(steps):
        generator = torch.Generator().manual_seed(step)
        for p in params:
            size = 10 ** (-5 * torch.rand(p.shape, generator=generator))
            p.grad = (torch.randn(p.shape, generator=generator) * size).to(p)
        optimizer.step()


@pytest.mark.parametrize('weight_decay', [0, 1e-2])
@pytest.mark.parametrize('momentum', [0, 0.9])
@pytest.mark.parametrize('scale', [1.0, 1e-3])
def test_update(scale, momentum, weight_decay) -> None:
    settings = dict(lr=0.016, alpha=0.9, eps=1e-3, momentum=momentum, weight_decay=weight_decay)
    p = nn.Parameter(torch.randn(6, dtype=torch.float64))
    gradients = scale * torch.randn(50, 6, dtype=torch.float64)
    expected = torch.tensor(
        [
            published(*each, **settings)
            for each in zip(p.tolist(), gradients.T.tolist(), strict=True)
        ],
        dtype=torch.float64,
    )
    optimizer = RMSpropEpsInRoot([p], **settings)
    for step, gradient in enumerate(gradients):
        p.grad = gradient.clone()
        optimizer.step()
        assert torch.equal(p.grad, gradient)
        torch.testing.assert_close(p.data, expected[:, step], rtol=1e-12, atol=1e-13)


def test_defaults_are_the_published_ones() -> None:
    expected = dict(lr=0.016, alpha=0.9, eps=1e-3, momentum=0.9, weight_decay=0)
    assert RMSpropEpsInRoot(weights()).defaults == expected


def test_groups() -> None:
    """Each group by its own settings, as if it had an optimizer to itself."""
    params = weights()
    settings = [
        dict(lr=0.1, momentum=0.5),
        dict(weight_decay=0.1),
        dict(alpha=0.99, eps=0.1, momentum=0),
        dict(weight_decay=0.1),
    ]
    alone = copy.deepcopy(params)
    for p, own in zip(alone, settings, strict=True):
        train(RMSpropEpsInRoot([p], **own), alone, 5)  # the others get gradients and stay
    groups = [dict(params=[p], **own) for p, own in zip(params, settings, strict=True)]
    train(RMSpropEpsInRoot(groups), params, 5)
    assert all(torch.equal(p, q) for p, q in zip(params, alone, strict=True))


def test_another_rate_takes_effect() -> None:
    """Schedulers write into the groups."""
    fixed = weights()
    changed = copy.deepcopy(fixed)
    start = copy.deepcopy(fixed)
    first, second = RMSpropEpsInRoot(fixed), RMSpropEpsInRoot(changed)
    second.param_groups[0]['lr'] = 0.008
    train(first, fixed, 1)
    train(second, changed, 1)
    for p, q, w in zip(fixed, changed, start, strict=True):
        torch.testing.assert_close(p - w, 2 * (q - w), rtol=1e-10, atol=1e-15)


def test_torch_puts_eps_outside() -> None:
    """With gradients of eps its steps are (1 / 2) / (1 / sqrt(1001)) as long in the long run."""
    steps = {}
    for cls in (RMSpropEpsInRoot, torch.optim.RMSprop):
        p = nn.Parameter(torch.zeros(1, dtype=torch.float64))
        optimizer = cls([p], lr=1.0, alpha=0.9, eps=1e-3, momentum=0)
        for _ in range(300):
            before = p.item()
            p.grad = torch.full_like(p, 1e-3)
            optimizer.step()
        steps[cls] = before - p.item()
    ratio = steps[torch.optim.RMSprop] / steps[RMSpropEpsInRoot]
    assert ratio == pytest.approx(1001**0.5 / 2, rel=1e-9)


@pytest.mark.parametrize('momentum', [0, 0.9])
def test_same_as_torch_without_eps(momentum) -> None:
    ours = weights()
    theirs = copy.deepcopy(ours)
    settings = dict(lr=0.01, alpha=0.9, eps=1e-30, momentum=momentum, weight_decay=0.1)
    train(RMSpropEpsInRoot(ours, **settings), ours, 20)
    train(torch.optim.RMSprop(theirs, **settings), theirs, 20)
    torch.testing.assert_close(ours, theirs, rtol=1e-9, atol=1e-12)


def test_precisions() -> None:
    """Of one group: state in the precision of its weight, results within it."""
    params = [*weights(torch.float32), *weights(torch.bfloat16)]
    exact = [nn.Parameter(p.detach().double()) for p in params]
    optimizer = RMSpropEpsInRoot(params)
    train(optimizer, params, 5)
    train(RMSpropEpsInRoot(exact), exact, 5)
    for p, q in zip(params, exact, strict=True):
        assert all(state.dtype == p.dtype for state in optimizer.state[p].values())
        error = (p.double() - q).abs().max()
        assert error <= 10 * torch.finfo(p.dtype).eps * q.abs().max()


def test_resume() -> None:
    straight = weights()
    resumed = copy.deepcopy(straight)
    optimizer = RMSpropEpsInRoot(straight, weight_decay=0.1)
    train(optimizer, straight, 10)
    train(optimizer, straight, 5)

    first = RMSpropEpsInRoot(resumed, weight_decay=0.1)
    train(first, resumed, 10)
    second = RMSpropEpsInRoot(resumed, lr=1.0)
    second.load_state_dict(copy.deepcopy(first.state_dict()))
    train(second, resumed, 5)
    assert all(torch.equal(p, q) for p, q in zip(straight, resumed, strict=True))


def test_weights_without_gradient_stay() -> None:
    moving, frozen = weights()[:2]
    before = frozen.detach().clone()
    optimizer = RMSpropEpsInRoot([moving, frozen], weight_decay=0.1)
    train(optimizer, [moving], 2)
    assert torch.equal(frozen, before)
    assert optimizer.state.keys() == {moving}


def test_closure() -> None:
    p = nn.Parameter(torch.tensor(2.0))
    optimizer = RMSpropEpsInRoot([p])

    def closure():
        optimizer.zero_grad()
        loss = p**2
        loss.backward()
        return loss

    assert optimizer.step(closure).item() == 4
    assert p.item() < 2
    assert RMSpropEpsInRoot([p]).step() is None


# A network that shrinks


@pytest.mark.parametrize('momentum', [0, 0.9])
def test_shrinks_with_the_network(momentum) -> None:
    """The next step is that of an optimizer made for the small network, with the state cut."""
    block = AtomicBlock(4, 6, expand_ratio=1).double()
    optimizer = RMSpropEpsInRoot(block.parameters(), momentum=momentum, weight_decay=0.1)
    x = torch.randn(2, 4, 8, 8, dtype=torch.float64)

    def backward(model) -> None:
        model.zero_grad()
        model(x).square().mean().backward()

    for _ in range(3):
        backward(block)
        optimizer.step()
    names = {p: name for name, p in block.named_parameters()}
    states = {names[p]: {k: s.clone() for k, s in v.items()} for p, v in optimizer.state.items()}
    assert states.keys() == set(names.values())
    cuts = shrink(block, {'': torch.arange(12) % 3 == 0}, optimizers=[optimizer])

    twin = copy.deepcopy(block)
    fresh = RMSpropEpsInRoot(twin.parameters(), momentum=momentum, weight_decay=0.1)
    keys = {'square_avg', 'momentum_buffer'} if momentum else {'square_avg'}
    for name, p in twin.named_parameters():
        assert states[name].keys() == keys
        cut = cuts.get(name, lambda tensor: tensor)
        fresh.state[p] = {key: cut(state) for key, state in states[name].items()}
    for model, each in ((block, optimizer), (twin, fresh)):
        backward(model)
        each.step()
    for (name, p), q in zip(block.named_parameters(), twin.parameters(), strict=True):
        assert torch.equal(p, q), name
        assert all(state.shape == p.shape for state in optimizer.state[p].values()), name


# In a config


def test_config() -> None:
    """Groups as mm makes them, one of each parameter, step as one group does."""
    torch.manual_seed(0)
    model = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.Conv2d(4, 2, 1)).double()
    twin = copy.deepcopy(model)
    optimizer = dict(type='RMSpropEpsInRoot', lr=0.016, weight_decay=0.1)
    config = dict(
        type='OptimWrapper',
        optimizer=optimizer,
        paramwise_cfg=dict(norm_decay_mult=0, bias_decay_mult=0),
    )
    wrapper = build_optim_wrapper(model, config)
    assert isinstance(wrapper, OptimWrapper)
    assert isinstance(wrapper.optimizer, RMSpropEpsInRoot)
    assert len(wrapper.optimizer.param_groups) == len(list(model.parameters()))
    decayed = [p for p in twin.parameters() if p.dim() > 1]
    others = [p for p in twin.parameters() if p.dim() == 1]
    expected = RMSpropEpsInRoot(
        [dict(params=decayed, weight_decay=0.1), dict(params=others)], lr=0.016
    )
    x = torch.randn(2, 3, 6, 6, dtype=torch.float64)
    for _ in range(3):
        wrapper.update_params(model(x).square().mean())
        expected.zero_grad()
        twin(x).square().mean().backward()
        expected.step()
    for p, q in zip(model.parameters(), twin.parameters(), strict=True):
        assert torch.equal(p, q)


# Refusals


@pytest.mark.parametrize(
    'wrong',
    [
        dict(lr=-1e-3),
        dict(lr=nan),
        dict(lr=inf),
        dict(lr='0.1'),
        dict(alpha=-0.1),
        dict(alpha=1.0),
        dict(eps=0),
        dict(eps=-1e-3),
        dict(momentum=-0.1),
        dict(momentum=1.0),
        dict(weight_decay=-1e-5),
    ],
    ids=str,
)
def test_wrong_arguments(wrong) -> None:
    (name,) = wrong
    with pytest.raises(ValueError, match=f'^{name} must be'):
        RMSpropEpsInRoot(weights(), **wrong)
    with pytest.raises(ValueError, match=f'^{name} must be'):
        RMSpropEpsInRoot([dict(params=weights(), **wrong)])


def spoil_sparse(p) -> None:
    p.grad = torch.ones(p.shape, dtype=p.dtype).to_sparse()


def spoil_complex(p) -> None:
    p.data = p.data.to(torch.complex128)
    p.grad = torch.ones_like(p)


@pytest.mark.parametrize('spoil', [spoil_sparse, spoil_complex], ids=lambda f: f.__name__)
def test_refused_gradients(spoil) -> None:
    """Before any weight moves."""
    good, bad = weights()[:2]
    spoil(bad)
    good.grad = torch.ones_like(good)
    before = good.detach().clone()
    optimizer = RMSpropEpsInRoot([dict(params=[good]), dict(params=[bad])])
    with pytest.raises(TypeError, match='dense real gradients'):
        optimizer.step()
    assert torch.equal(good, before)
    assert not optimizer.state

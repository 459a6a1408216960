"""Scores: pure functions of the weights and the evidence, higher for what matters more."""

import copy
from collections.abc import Callable
from functools import partial

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from st_mm.prune import SCORES, Evidence, lowest, magnitude, random
from st_mm.prune.scores import grasp, lamp, movement, snip, synflow

CLOSE = partial(torch.testing.assert_close, rtol=1e-6, atol=0)
RELU_NET = dict(rtol=1e-10, atol=0)


def cross_entropy(model: nn.Module, batch: tuple[Tensor, Tensor]) -> Tensor:
    return F.cross_entropy(model(batch[0]), batch[1])


def pictures(batches: int = 3, dtype: torch.dtype = torch.float64) -> list[tuple[Tensor, Tensor]]:
    generator = torch.Generator().manual_seed(1)
    return [
        (
            torch.randn(4, 2, 5, 5, generator=generator, dtype=dtype),
            torch.randint(3, (4,), generator=generator),
        )
        for _ in range(batches)
    ]


def classifier() -> nn.Sequential:
    """Twice differentiable, with every kind of weight to score and some that are not."""
    layers = [nn.Conv2d(2, 3, 3), nn.BatchNorm2d(3), nn.Tanh(), nn.Flatten(), nn.Linear(27, 3)]
    return nn.Sequential(*layers).double()


def weights_of(model: nn.Module) -> dict[str, Tensor]:
    return {
        f'{name}.weight': module.weight
        for name, module in model.named_modules()
        if isinstance(module, (nn.modules.conv._ConvNd, nn.Linear))
    }


def evidence_of(model: nn.Module, batches: list, **kwargs: object) -> Evidence:
    return Evidence(model, lambda: iter(batches), cross_entropy, **kwargs)


def flat(tensors: dict[str, Tensor]) -> Tensor:
    return torch.cat([tensor.detach().flatten() for tensor in tensors.values()])


@pytest.mark.parametrize('name', list(SCORES.module_dict))
def test_protocol(name) -> None:
    model = classifier()
    weights = weights_of(model)
    before = {key: weight.detach().clone() for key, weight in weights.items()}
    evidence = evidence_of(model, pictures(), input_shape=(2, 5, 5))
    state = torch.get_rng_state()
    scores, again = (SCORES.get(name)(weights, evidence) for _ in range(2))
    assert torch.equal(torch.get_rng_state(), state)
    assert list(scores) == list(weights)
    for key, score in scores.items():
        assert score.shape == weights[key].shape
        assert score.isfinite().all()
        assert score.any()
        assert not score.requires_grad
        assert torch.equal(weights[key], before[key])
        assert score.data_ptr() != weights[key].data_ptr()
        assert torch.equal(again[key], score)


def lamp_by_definition(weight: Tensor) -> list[float]:
    """One by one: the square, over those of the weights that are no smaller."""
    values = [abs(value) for value in weight.flatten().tolist()]
    places = sorted(range(len(values)), key=lambda i: (values[i], i))
    rank = {place: number for number, place in enumerate(places)}
    return [
        values[i] ** 2 / sum(v**2 for j, v in enumerate(values) if rank[j] >= rank[i]) if v else 0.0
        for i, v in enumerate(values)
    ]


def test_lamp_is_its_definition() -> None:
    weights = dict(
        conv=torch.randn(4, 3, 3, 3),
        equal=torch.tensor([[2.0, -1.0], [1.0, 2.0]]),
        masked=torch.tensor([0.0, 3.0, 0.0, -4.0]),
        empty=torch.zeros(0, 3),
        dead=torch.zeros(2, 2),
    )
    for name, score in lamp(weights).items():
        assert score.dtype == torch.float64
        torch.testing.assert_close(
            score.flatten(), torch.tensor(lamp_by_definition(weights[name]), dtype=torch.float64)
        )
    assert lamp(weights)['masked'].tolist() == [0, 9 / 25, 0, 1]


def test_lamp_does_not_see_the_scale_of_a_layer_and_leaves_each_a_weight() -> None:
    weights = dict(a=torch.randn(20, 5, dtype=torch.float64), b=torch.randn(8, dtype=torch.float64))
    scaled = {name: weight * 1000 if name == 'a' else weight for name, weight in weights.items()}
    for name, score in lamp(weights).items():
        torch.testing.assert_close(score, lamp(scaled)[name])
    masks = lowest(lamp(scaled), 106 / 108)
    assert {name: int(mask.sum()) for name, mask in masks.items()} == dict(a=1, b=1)


def test_own_score() -> None:
    """A user's function is found by its name, and has all of the evidence."""

    @SCORES.register_module()
    def fisher(weights, evidence, power=1):
        def squares(loss, leaves):
            return [gradient.square() for gradient in torch.autograd.grad(loss, leaves)]

        information = evidence.mean(weights, squares)
        return {n: w.detach().square() * information[n] ** power for n, w in weights.items()}

    try:
        model, batches = classifier(), pictures(1)
        weights = weights_of(model)
        evidence = evidence_of(model, batches)
        scores = SCORES.get('fisher')(weights, evidence, power=2)
        roots = snip(weights, evidence)
        for name, score in scores.items():
            gradient = roots[name] / weights[name].detach().abs()
            CLOSE(score, roots[name].square() * gradient.square())
    finally:
        del SCORES.module_dict['fisher']


# Of the weights alone


def test_magnitude() -> None:
    scores = magnitude(dict(w=torch.tensor([[-2.0, 0.0], [-0.0, 1.5]])))
    assert scores['w'].tolist() == [[2, 0], [0, 1.5]]


def test_magnitude_sorts() -> None:
    weights = dict(a=torch.randn(30), b=torch.randn(5, 4))
    masks = lowest(magnitude(weights), 0.6)
    kept = torch.cat([weight[masks[name]] for name, weight in weights.items()]).abs()
    assert torch.equal(kept.sort().values, flat(weights).abs().sort().values[30:])


def test_random() -> None:
    given = dict(a=torch.zeros(100, 100), b=torch.zeros(100, 100))
    scores = random(given)
    assert not torch.equal(scores['a'], scores['b'])
    for score in scores.values():
        assert score.max() < 1
        assert abs(score.mean().item() - 0.5) < 0.02
        assert abs(score.var().item() - 1 / 12) < 0.005
    assert all(torch.equal(random(given, seed=0)[n], scores[n]) for n in given)
    assert not torch.equal(random(given, seed=1)['a'], scores['a'])
    given['a'] += 1  # the values do not matter
    assert torch.equal(random(given)['a'], scores['a'])


@pytest.mark.parametrize('score', [magnitude, random])
def test_empty_and_half(score) -> None:
    given = dict(empty=torch.zeros(0, 1, 3, 3), half=torch.randn(5, 2).half())
    scores = score(given)
    assert scores['empty'].shape == (0, 1, 3, 3)
    assert scores['half'].dtype == torch.float16


def test_random_reaches_the_ratio() -> None:
    masks = lowest(random(dict(w=torch.zeros(1000, 10))), 0.9)
    assert int((~masks['w']).sum()) == pytest.approx(9000, abs=5)


# Of the loss


def written_out(model: nn.Module, batches: list) -> tuple[Tensor, Tensor, Tensor]:
    """Weights, gradient and Hessian of the mean loss, from a function of one flat vector."""
    twin = copy.deepcopy(model).train()
    weights = weights_of(twin)
    sizes = [weight.numel() for weight in weights.values()]

    def mean_loss(vector: Tensor) -> Tensor:
        parts = {
            name: part.view(weights[name].shape)
            for name, part in zip(weights, vector.split(sizes), strict=True)
        }
        losses = [
            F.cross_entropy(torch.func.functional_call(twin, parts, x), y) for x, y in batches
        ]
        return torch.stack(losses).mean()

    vector = flat(weights)
    gradient = torch.autograd.functional.jacobian(mean_loss, vector)
    return vector, gradient, torch.autograd.functional.hessian(mean_loss, vector)


def test_derivatives_are_those_written_out() -> None:
    model, batches = classifier(), pictures()
    w, g, hessian = written_out(model, batches)
    weights, evidence = weights_of(model), evidence_of(model, batches)
    CLOSE(flat(snip(weights, evidence)), (w * g).abs())
    CLOSE(flat(movement(weights, evidence)), -w * g)
    CLOSE(flat(grasp(weights, evidence)), w * (hessian @ g))


def test_snip_is_of_all_samples_together() -> None:
    """However they are dealt to batches, where no BN looks at a batch."""
    model = nn.Sequential(nn.Flatten(), nn.Linear(50, 3)).double()
    batches = pictures(4)
    together = [tuple(torch.cat(parts) for parts in zip(*batches, strict=True))]
    scores = [snip(weights_of(model), evidence_of(model, each)) for each in (batches, together)]
    CLOSE(*map(flat, scores))


def test_movement_is_positive_where_descent_enlarges() -> None:
    model, batches = classifier(), pictures(1)
    scores = flat(movement(weights_of(model), evidence_of(model, batches)))
    before = flat(weights_of(model)).abs()
    optimizer = torch.optim.SGD(model.parameters(), lr=1e-6)
    cross_entropy(model.train(), batches[0]).backward()
    optimizer.step()
    after = flat(weights_of(model)).abs()
    assert torch.equal(scores > 0, after > before)
    assert 0 < int((scores > 0).sum()) < len(scores)


def test_grasp_keeps_the_flow() -> None:
    """To remove the weight of the lowest score raises the gradient flow, of the highest lowers."""
    model, batches = classifier(), pictures()
    with torch.no_grad():  # the criterion is a first order in the weights
        for weight in weights_of(model).values():
            weight.mul_(0.1)
    weights = weights_of(model)
    scores = flat(grasp(weights, evidence_of(model, batches)))

    def flow_without(index: int | None) -> float:
        twin = copy.deepcopy(model)
        if index is not None:
            vector = flat(weights_of(twin))
            vector[index] = 0
            with torch.no_grad():
                for weight in weights_of(twin).values():
                    weight.copy_(vector[: weight.numel()].view_as(weight))
                    vector = vector[weight.numel() :]
        return float(flat(evidence_of(twin, batches).gradients(weights_of(twin))).square().sum())

    assert flow_without(int(scores.argmin())) > flow_without(None)
    assert flow_without(int(scores.argmax())) < flow_without(None)


def test_grasp_of_a_masked_network_is_that_of_its_live_weights() -> None:
    model, batches = classifier(), pictures()
    live = torch.rand(len(flat(weights_of(model)))) < 0.5
    masks, rest = {}, live
    with torch.no_grad():
        for name, weight in weights_of(model).items():
            masks[name], rest = rest[: weight.numel()].view_as(weight), rest[weight.numel() :]
            weight.mul_(masks[name])
    w, g, hessian = written_out(model, batches)
    expected = w[live] * (hessian[live][:, live] @ g[live])  # nothing of the masked ones
    scores = flat(grasp(weights_of(model), evidence_of(model, batches)))
    CLOSE(scores[live], expected)
    assert not scores[~live].any()


def test_grasp_temperature_divides_the_logits() -> None:
    model, batches = classifier(), pictures()
    tempered = nn.Sequential(*model, nn.Linear(3, 3, bias=False).double())
    with torch.no_grad():
        tempered[-1].weight.copy_(torch.eye(3) / 200)
    expected = grasp(weights_of(model), evidence_of(tempered, batches))
    scores = grasp(weights_of(model), evidence_of(model, batches), temperature=200, logits='4')
    CLOSE(flat(scores), flat(expected))
    assert not model[4]._forward_hooks
    plain = flat(grasp(weights_of(model), evidence_of(model, batches)))
    assert not torch.equal(flat(scores).argsort(), plain.argsort())


@pytest.mark.parametrize(
    ('options', 'message'),
    [
        (dict(temperature=0.0), 'temperature must be a number above 0'),
        (dict(temperature=200.0), 'name the layers that give them in logits'),
        (dict(temperature=200.0, logits='*.conv_seg'), 'matches no layer'),
    ],
    ids=str,
)
def test_grasp_errors(options, message) -> None:
    model = classifier()
    with pytest.raises(ValueError, match=message):
        grasp(weights_of(model), evidence_of(model, pictures(1)), **options)


def test_a_linear_loss_has_no_curvature() -> None:
    model = nn.Linear(2, 2)
    evidence = Evidence(model, lambda: [torch.ones(1, 2)], lambda m, batch: m(batch).sum())
    assert not grasp(dict(weight=model.weight), evidence)['weight'].any()


# SynFlow


def random_norms(model: nn.Module) -> nn.Module:
    """Norms and biases as after a training."""
    with torch.no_grad():
        for name, tensor in (*model.named_parameters(), *model.named_buffers()):
            if tensor.is_floating_point() and tensor.dim() == 1:
                tensor.uniform_(0.1, 2) if name.endswith('running_var') else tensor.normal_()
    return model


CHAINS: dict[str, Callable[[], nn.Module]] = {
    'convolutions': lambda: nn.Sequential(
        nn.Conv2d(2, 8, 3, padding=1),
        nn.BatchNorm2d(8),
        nn.ReLU(),
        nn.Conv2d(8, 8, 3, groups=8),
        nn.GroupNorm(2, 8),
        nn.ReLU(),
        nn.Conv2d(8, 6, 1),
        nn.InstanceNorm2d(6, affine=True),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Upsample(scale_factor=2, mode='bilinear'),
        nn.Conv2d(6, 3, 1),
    ),
    'linear layers': lambda: nn.Sequential(
        nn.Flatten(),
        nn.Linear(128, 6),
        nn.LayerNorm(6),
        nn.ReLU(),
        nn.Dropout(),
        nn.Linear(6, 4),
        nn.BatchNorm1d(4, affine=False),
        nn.ReLU(),
        nn.Linear(4, 2),
    ),
}


@pytest.mark.parametrize('name', list(CHAINS))
def test_synflow_is_conserved(name) -> None:
    model = random_norms(CHAINS[name]())
    scores = synflow(weights_of(model), evidence_of(model, [], input_shape=(2, 8, 8)))
    for score in scores.values():
        assert score.dtype == torch.float64
        assert (score >= 0).all()
        torch.testing.assert_close(score.sum(), torch.ones(()).double(), **RELU_NET)


def test_synflow_of_linear_layers_is_the_product_of_magnitudes() -> None:
    first, second = nn.Linear(3, 4), nn.Linear(4, 2)
    model = nn.Sequential(first, nn.ReLU(), second)
    evidence = Evidence(model, list, cross_entropy, input_shape=(1, 1, 3))
    scores = synflow(weights_of(model), evidence)
    a, b = first.weight.detach().abs().double(), second.weight.detach().abs().double()
    total = (b @ a).sum()
    torch.testing.assert_close(scores['0.weight'], b.sum(0)[:, None] * a / total, **RELU_NET)
    torch.testing.assert_close(scores['2.weight'], b * a.sum(1) / total, **RELU_NET)


@pytest.mark.parametrize('gain', [2.0**-14, 2.0**14])
def test_synflow_of_a_deep_network(gain) -> None:
    """100 layers of a gain that multiplies up to far beyond float64."""
    layers = [nn.Conv2d(2, 2, 1) for _ in range(100)]
    with torch.no_grad():
        for layer in layers:
            layer.weight.uniform_(0.5, 1).mul_(gain)
    model = nn.Sequential(*layers)
    weights = weights_of(model)
    scores = synflow(weights, evidence_of(model, [], input_shape=(2, 1, 1)))
    with torch.no_grad():
        for layer in layers:
            layer.weight.div_(gain)
    expected = synflow(weights, evidence_of(model, [], input_shape=(2, 1, 1)))
    for name, score in scores.items():
        torch.testing.assert_close(score, expected[name], **RELU_NET)


def test_synflow_adds_up_all_outputs_of_branches() -> None:
    """Weights beside each other share the flow; what reaches no output has none."""

    class Branches(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.stem, self.a, self.b = (nn.Conv2d(2, 2, 1) for _ in range(3))
            self.auxiliary = nn.Conv2d(2, 2, 1)

        def forward(self, x: Tensor) -> dict:
            x = self.stem(x)
            return dict(a=self.a(x), b=[self.b(x), torch.ones(1).long()])

    model = Branches()
    scores = synflow(weights_of(model), evidence_of(model, [], input_shape=(2, 3, 3)))
    sums = {name.partition('.')[0]: score.sum().item() for name, score in scores.items()}
    assert sums['stem'] == pytest.approx(1, rel=1e-10)
    assert sums['a'] + sums['b'] == pytest.approx(1, rel=1e-10)
    assert min(sums['a'], sums['b']) > 0
    assert sums['auxiliary'] == 0


@pytest.mark.parametrize(
    ('input_shape', 'message'),
    [
        (None, r'input_shape must be \(channels, height, width\)'),
        ((3, 8, 8), 'cannot take an input_shape'),
        ((2, 8, 8), 'the flow through Sequential is 0.0'),
    ],
    ids=str,
)
def test_synflow_errors(input_shape, message) -> None:
    model = nn.Sequential(nn.Conv2d(2, 2, 1), nn.Conv2d(2, 2, 1))
    nn.init.zeros_(model[1].weight)
    with pytest.raises(ValueError, match=message):
        synflow(weights_of(model), evidence_of(model, [], input_shape=input_shape))

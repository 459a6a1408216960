"""Evidence: what it computes, and that nothing of it can be seen afterwards.

Launched by torchrun, this file scores on a rank.
"""

import random
import re
import socket
import subprocess
import sys
from collections.abc import Iterator
from itertools import product
from pathlib import Path

import numpy as np
import pytest
import torch
from mmengine.dist import get_dist_info
from mmengine.registry import init_default_scope
from mmengine.structures import PixelData
from mmseg.registry import MODELS
from mmseg.structures import SegDataSample
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.checkpoint import checkpoint

from st_mm.models import AtomicBlock
from st_mm.prune import SCORES, Evidence, prunable_weights
from st_mm.prune.scores import snip
from st_mm.search import shrink

SCORED_BY_DATA = ['snip', 'grasp', 'movement']
SOFTMAX = re.compile(r'attention\.(query|key)\.')  # saturated, it lets no flow through


def mse(model: nn.Module, batch: tuple[Tensor, Tensor]) -> Tensor:
    return F.mse_loss(model(batch[0]), batch[1])


def random_batches() -> Iterator[tuple[Tensor, Tensor]]:
    """Batches that draw from every global generator, as augmentations do."""
    for _ in range(2):
        shift = random.random() + np.random.random()
        x = torch.randn(4, 2, 6, 6, dtype=torch.float64) + shift
        yield x, torch.randn(4, 3, dtype=torch.float64)


class Backbone(nn.Sequential):
    """Freezes its first layer whenever it is put into train mode, as mm backbones do."""

    def train(self, mode: bool = True) -> 'Backbone':
        super().train(mode)
        for parameter in self[0].parameters():
            parameter.requires_grad = False
        return self


def network(norm: type[nn.Module] = nn.BatchNorm2d) -> nn.Module:
    block = AtomicBlock(4, 4, expand_ratio=1)
    block.expand_bn = norm(12)
    layers = [nn.Conv2d(2, 4, 3), norm(4), nn.ReLU(), nn.Dropout(0.3), block, nn.Flatten()]
    return Backbone(*layers, nn.Dropout(0.3), nn.Linear(64, 3)).double()


def snapshot(model: nn.Module) -> list:
    """All that may be seen of a model and the generators."""
    tensors = [*model.named_parameters(), *model.named_buffers()]
    numpy_ = np.random.get_state()
    states = [torch.get_rng_state().tolist(), random.getstate(), numpy_[1].tolist(), numpy_[2:]]
    if torch.cuda.is_available():
        states.append(torch.cuda.get_rng_state().tolist())
    seen = [
        (name, id(tensor), tensor._version, tensor.requires_grad, tensor.tolist(), id(tensor.grad))
        for name, tensor in tensors
    ]
    modules = [
        (module.training, sorted(vars(module)), len(module._forward_hooks))
        for module in model.modules()
    ]
    return [seen, modules, states]


@pytest.mark.parametrize('fails', [False, True])
@pytest.mark.parametrize('norm', [nn.BatchNorm2d, nn.SyncBatchNorm])
@pytest.mark.parametrize('name', [*SCORED_BY_DATA, 'synflow'])
def test_no_trace_is_left(name, norm, fails) -> None:
    model = network(norm).train()
    for index, module in enumerate(model.modules()):
        module.training = index % 3 != 0
    for parameter in (model[0].bias, model[-1].bias):
        parameter.requires_grad = True
        parameter.grad = torch.ones_like(parameter)
    fired = []
    for tensor in model.parameters():
        if tensor.requires_grad:
            tensor.register_hook(lambda gradient: fired.append(gradient))
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9)
    weights = prunable_weights(model)
    if fails:
        model.append(nn.Linear(7, 7).double())  # which does not fit
    before = snapshot(model), str(optimizer.state_dict())
    evidence = Evidence(model, random_batches, mse, (2, 6, 6))
    if fails:
        with pytest.raises((RuntimeError, ValueError), match='shapes cannot be multiplied'):
            SCORES.get(name)(weights, evidence)
    else:
        SCORES.get(name)(weights, evidence)
    assert (snapshot(model), str(optimizer.state_dict())) == before
    assert not fired


@pytest.mark.parametrize('name', SCORED_BY_DATA)
def test_every_pass_is_the_same(name) -> None:
    """Batches and dropout follow from the seed, wherever the global generators are."""
    model = network()
    weights = prunable_weights(model)
    scores = []
    for seed in (0, 0, 1):
        torch.rand(1), random.random(), np.random.random()
        scores.append(SCORES.get(name)(weights, Evidence(model, random_batches, mse, seed=seed)))
    first, second, other = scores
    assert all(torch.equal(first[n], second[n]) for n in weights)
    assert not all(torch.equal(first[n], other[n]) for n in weights)


def test_the_model_trains_while_it_is_looked_at() -> None:
    """BN uses the batch and dropout drops, whatever mode the model is in."""
    model = nn.Sequential(nn.Linear(2, 50), nn.BatchNorm1d(50), nn.Dropout(0.5)).eval()
    seen = []

    def loss(live: nn.Module, batch: Tensor) -> Tensor:
        output = live(batch)
        seen.append(output.detach())
        return output.square().mean()

    Evidence(model, lambda: [torch.randn(8, 2)], loss).gradients(prunable_weights(model))
    assert 0.3 < (seen[0] == 0).double().mean() < 0.7
    normal = [column[column != 0] / 2 for column in seen[0].T]
    assert all((values.abs() < 8**0.5).all() for values in normal)
    assert not model.training


def test_weights_stand_in_for_those_of_the_model() -> None:
    """Masked copies give what the model gives with the masks in place."""
    model = network()
    weights = prunable_weights(model)
    masked = {name: w.detach() * (torch.rand(w.shape) < 0.5) for name, w in weights.items()}
    evidence = Evidence(model, random_batches, mse, (2, 6, 6))
    names = [*SCORED_BY_DATA, 'synflow']
    ours = [SCORES.get(name)(masked, evidence) for name in names]
    with torch.no_grad():
        for name, weight in weights.items():
            weight.copy_(masked[name])
    theirs = [SCORES.get(name)(weights, evidence) for name in names]
    for (a, b), name in product(zip(ours, theirs, strict=True), weights):
        assert torch.equal(a[name], b[name])


def test_weights_that_a_loss_does_not_reach() -> None:
    class Two(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.used, self.unused = nn.Linear(2, 2), nn.Linear(2, 2)

        def forward(self, x: Tensor) -> Tensor:
            return self.used(x).square()

    model = Two()
    evidence = Evidence(model, lambda: [torch.ones(1, 2)], lambda m, x: m(x).sum())
    for name in SCORED_BY_DATA:
        scores = SCORES.get(name)(prunable_weights(model), evidence)
        assert not scores['unused.weight'].any()
        assert scores['used.weight'].all()
    with pytest.raises(ValueError, match='depends on none of the weights'):
        evidence.gradients({'unused.weight': model.unused.weight})


def test_a_weight_under_two_names() -> None:
    model = nn.Sequential(nn.Linear(2, 2), nn.Linear(2, 2))
    model[1].weight = model[0].weight
    evidence = Evidence(model, lambda: [torch.ones(1, 2)], lambda m, x: m(x).square().sum())
    assert prunable_weights(model).keys() == {'0.weight'}
    weights = {'0.weight': model[0].weight, '1.weight': model[0].weight}
    gradients = evidence.gradients(weights)
    model(torch.ones(1, 2)).square().sum().backward()
    assert all(torch.equal(gradient, model[0].weight.grad) for gradient in gradients.values())


@pytest.mark.parametrize(
    ('batches', 'loss', 'message'),
    [
        ([], lambda m, x: m(x).sum(), 'there are no batches'),
        ([1], lambda m, x: m(torch.ones(1, 2)).sum().detach(), 'depends on none of the weights'),
        ([1], lambda m, x: m(torch.full((1, 2), torch.inf)).sum(), "'weight' .* not finite"),
    ],
    ids=['no batches', 'no graph', 'infinite'],
)
def test_errors(batches, loss, message) -> None:
    model = nn.Linear(2, 2)
    with pytest.raises(ValueError, match=message):
        Evidence(model, lambda: batches, loss).gradients(dict(weight=model.weight))


class Recomputing(nn.Module):
    """Keeps a part's activations, or computes it again in the backward."""

    def __init__(self, reentrant: bool | None) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.reentrant = reentrant
        self.stem, self.fc = nn.Conv2d(2, 8, 3), nn.Linear(8, 3)
        self.part = nn.Sequential(
            nn.Conv2d(8, 16, 3), nn.BatchNorm2d(16), nn.ReLU(), nn.Dropout(0.3), nn.Conv2d(16, 8, 1)
        )

    def forward(self, x: Tensor) -> Tensor:
        x = self.stem(x).relu()
        if self.reentrant is None:
            x = self.part(x)
        else:
            x = checkpoint(self.part, x, use_reentrant=self.reentrant)
        return self.fc(x.mean((2, 3)))


@pytest.mark.parametrize('name', [*SCORED_BY_DATA, 'synflow'])
def test_gradient_checkpointing_changes_no_score(name) -> None:
    found = []
    for reentrant in (None, False, True):
        model = Recomputing(reentrant).double()
        weights, before = prunable_weights(model), snapshot(model)
        evidence = Evidence(model, random_batches, mse, (2, 6, 6))
        found.append(SCORES.get(name)(weights, evidence))
        assert snapshot(model) == before
    for scores in found[1:]:
        for key, score in found[0].items():
            assert torch.equal(score, scores[key]), key


# A real model


def segmentation_batches() -> Iterator[dict]:
    for _ in range(2):
        samples = [SegDataSample(metainfo=dict(img_shape=(64, 128))) for _ in range(2)]
        for sample in samples:
            sample.gt_sem_seg = PixelData(data=torch.randint(6, (1, 64, 128)))
        yield dict(inputs=torch.randn(2, 3, 64, 128), data_samples=samples)


def segmentation_loss(model: nn.Module, batch: dict) -> Tensor:
    return model.parse_losses(model(**batch, mode='loss'))[0]


@pytest.fixture
def segmentor(tiny_config, tmp_path) -> nn.Module:
    """The toy recipe's model with tokens and dropout; one block is empty, another one partly."""
    config = tiny_config(tmp_path)
    init_default_scope('mmseg')
    config.model.backbone.tokens = 2
    config.model.decode_head.dropout_ratio = 0.1
    model = MODELS.build(config.model).train()
    dead = {}
    for name, module in model.named_modules():
        if isinstance(module, AtomicBlock):
            dead[name] = torch.zeros(sum(module.unit_groups().values()), dtype=torch.bool)
    first, second, *_ = dead
    dead[first][:] = True
    dead[second][: next(iter(model.get_submodule(second).unit_groups().values()))] = True
    shrink(model, dead)
    return model


@pytest.mark.parametrize('name', list(SCORES.module_dict))
def test_segmentor(segmentor, name) -> None:
    weights = prunable_weights(segmentor)
    assert any(not weight.numel() for weight in weights.values())
    evidence = Evidence(segmentor, segmentation_batches, segmentation_loss, (3, 64, 128))
    before = snapshot(segmentor)
    scores = SCORES.get(name)(weights, evidence)
    assert snapshot(segmentor) == before
    for key, score in scores.items():
        assert score.shape == weights[key].shape
        assert score.isfinite().all()
    if name == 'synflow':
        scores = {key: score for key, score in scores.items() if not SOFTMAX.search(key)}
        for stem in ('backbone.stem.0.conv.weight', 'backbone.stem.1.conv.weight'):
            assert scores[stem].sum().item() == pytest.approx(1, abs=0.01)  # tokens add a little
    # but for the corners of kernels that are larger than the map
    assert (torch.cat([score.flatten() for score in scores.values()]) != 0).double().mean() > 0.9


def test_snip_of_the_segmentor_is_what_training_computes(segmentor) -> None:
    segmentor.decode_head.dropout = None
    for module in segmentor.modules():
        if isinstance(module, nn.Dropout):
            module.p = 0.0
    batches = list(segmentation_batches())
    weights = prunable_weights(segmentor)
    scores = snip(weights, Evidence(segmentor, lambda: batches, segmentation_loss))
    torch.stack([segmentation_loss(segmentor, batch) for batch in batches]).mean().backward()
    for name, weight in weights.items():
        expected = (weight * weight.grad).abs().detach()
        torch.testing.assert_close(scores[name], expected, rtol=1e-4, atol=1e-8)


# Ranks


def scores_of_rank(ranks: range) -> dict[str, dict[str, Tensor]]:
    """Scores by the batches of some ranks; each rank has its own BN statistics."""
    torch.manual_seed(0)
    model = nn.Sequential(nn.Conv2d(2, 4, 3), nn.BatchNorm2d(4), nn.ReLU(), nn.Flatten())
    model.append(nn.Linear(64, 3)).double()
    model[1].running_var.fill_(1.0 + ranks[0])
    batches = [(torch.randn(4, 2, 6, 6).double(), torch.randn(4, 3).double()) for _ in range(4)]
    own = [batches[2 * rank + index] for rank in ranks for index in range(2)]
    if get_dist_info()[1] > 1:
        model = nn.SyncBatchNorm.convert_sync_batchnorm(model)
    evidence = Evidence(model, lambda: own, mse, (2, 6, 6))
    weights = prunable_weights(model)
    return {name: score(weights, evidence) for name, score in SCORES.module_dict.items()}


@pytest.mark.slow
def test_ranks_agree(tmp_path: Path) -> None:
    """Two ranks score alike, and as one process does that has the batches of both."""
    with socket.socket() as free:
        free.bind(('localhost', 0))
        port = free.getsockname()[1]
    launch = ['-m', 'torch.distributed.run', '--nproc_per_node=2', f'--master_port={port}']
    done = subprocess.run(
        [sys.executable, *launch, __file__, tmp_path],
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    first, second = (torch.load(tmp_path / f'{rank}', weights_only=True) for rank in range(2))
    alone = scores_of_rank(range(2))
    for name, scores in alone.items():
        for key, score in scores.items():
            assert torch.equal(first[name][key], second[name][key])
            torch.testing.assert_close(first[name][key], score, rtol=1e-9, atol=1e-12)


if __name__ == '__main__':
    torch.distributed.init_process_group('gloo')
    rank = get_dist_info()[0]
    torch.save(scores_of_rank(range(rank, rank + 1)), Path(sys.argv[1], f'{rank}'))
    torch.distributed.barrier()
    torch.distributed.destroy_process_group()  # else its threads may abort a rank that ends

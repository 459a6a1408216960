"""Pruning criteria: how much each weight matters. Each is a pure function.

A criterion is any function ``score(weights, evidence, **options)`` of the weights by name and of an
:class:`Evidence`. It returns scores of the weights' shapes; weights with higher scores are kept.
Scores may be negative. The function does not change weights or model, and returns the same on every
rank.

To add one, register it by its name in a module of ``custom_imports``::

    @SCORES.register_module()
    def fisher(weights, evidence):
        def squares(loss, leaves):
            return [g.square() for g in torch.autograd.grad(loss, leaves)]

        information = evidence.mean(weights, squares)
        return {name: w.detach().square() * information[name] for name, w in weights.items()}
"""

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from fnmatch import fnmatch
from typing import Any

import torch
from mmengine.registry import Registry
from torch import Tensor, nn

from st_mm.arguments import integer, number

from .evidence import Evidence
from .layers import kernels_of
from .stand_ins import Weights

Score = Callable[..., dict[str, Tensor]]

SCORES = Registry('score', scope='st_mm')


def random(weights: Weights, evidence: Evidence | None = None, seed: int = 0) -> dict[str, Tensor]:
    """Score by uniform random numbers, a baseline in the paper's Figures 2 and 3.

    Args:
        weights (Mapping[str, Tensor]): Weights by name.
        evidence (Evidence, optional): Not used.
        seed (int): Seed of the numbers, the same on every rank. Defaults to 0.

    Returns:
        dict[str, Tensor]: Scores in [0, 1) of the weights' shapes.
    """
    generator = torch.Generator().manual_seed(seed)
    return {
        name: torch.rand(weight.shape, generator=generator).to(weight)
        for name, weight in weights.items()
    }


def magnitude(weights: Weights, evidence: Evidence | None = None) -> dict[str, Tensor]:
    """Score by the magnitude |w| (paper Section 3.1) of the weight that runs.

    A layer with weight norm runs ``g * v / |v|``: the scale of v, the tensor that is masked, means
    nothing, and cannot be compared with the weights of other layers.

    Args:
        weights (Mapping[str, Tensor]): Weights by name.
        evidence (Evidence, optional): Its model says what runs. Defaults to None: the weights
            themselves.

    Returns:
        dict[str, Tensor]: Non-negative scores of the weights' shapes.
    """
    run = weights if evidence is None else kernels_of(evidence.model, weights)
    return {name: weight.detach().abs() for name, weight in run.items()}


def lamp(weights: Weights, evidence: Evidence | None = None) -> dict[str, Tensor]:
    """Score by w^2 over the sum of the squares that are no smaller, per tensor (Lee et al., 2021).

    LAMP (ICLR 2021) makes magnitudes of different layers comparable: the score is the share of a
    tensor that would be lost with a weight, after all smaller ones. The largest weight of each
    tensor has the score 1, so that no layer dies before all have one weight left. Of equal weights
    the first counts as the smaller one. Weights that are zero, the masked ones, have the score 0
    and no part in the sums.

    Args:
        weights (Mapping[str, Tensor]): Weights by name.
        evidence (Evidence, optional): As of :func:`magnitude`. Defaults to None.

    Returns:
        dict[str, Tensor]: Scores in [0, 1] of the weights' shapes, float64.
    """
    return {name: _layer_share(size) for name, size in magnitude(weights, evidence).items()}


def _layer_share(size: Tensor) -> Tensor:
    # on the CPU: on CUDA, torch refuses cumsum if only deterministic algorithms are allowed
    squares, order = size.detach().double().cpu().flatten().square().sort(stable=True)
    no_smaller = squares.flip(0).cumsum(0).flip(0)
    shares = torch.where(squares > 0, squares / no_smaller, squares)
    return torch.empty_like(shares).scatter_(0, order, shares).view(size.shape).to(size.device)


def snip(weights: Weights, evidence: Evidence) -> dict[str, Tensor]:
    """Score by |w * g|, the connection sensitivity (SNIP, Lee et al., ICLR 2019).

    g is the gradient of the mean loss over all batches. So the score is the published one for a
    single large batch, for any number of batches and ranks (except for the statistics of BN). The
    sum of |w * g| over small batches would grow with the noise of their gradients. The published
    division by the sum of all scores does not change the order, and is left out.

    Args:
        weights (Mapping[str, Tensor]): Weights by name.
        evidence (Evidence): Where the gradients come from.

    Returns:
        dict[str, Tensor]: Non-negative scores of the weights' shapes.
    """
    return {name: score.abs() for name, score in movement(weights, evidence).items()}


def movement(weights: Weights, evidence: Evidence) -> dict[str, Tensor]:
    """Score by -w * g, how fast descent moves a weight away from zero (Sanh et al. 2020).

    A step of -g changes |w| by -sign(w) * g, so weights that become larger score above zero. The
    published score is a sum over the steps of a training. Here g is the mean gradient over the
    batches, at the present weights.

    Args:
        weights (Mapping[str, Tensor]): Weights by name.
        evidence (Evidence): Where the gradients come from.

    Returns:
        dict[str, Tensor]: Scores of either sign, of the weights' shapes.
    """
    gradients = evidence.gradients(weights)
    return {name: -weight.detach() * gradients[name] for name, weight in weights.items()}


def grasp(
    weights: Weights,
    evidence: Evidence,
    temperature: float = 1.0,
    logits: str | None = None,
) -> dict[str, Tensor]:
    """Score by w * Hg, what a weight adds to the gradient flow (GraSP, Wang et al., ICLR 2020).

    Removing a weight w_q is a step of -w_q along its axis, and changes the gradient flow |g|^2 by
    about -2 w_q (Hg)_q. Weights whose removal raises the flow most are dropped first: those with
    the largest -w * Hg, as in the published code. So the score is w * Hg.

    g and H are those of the scored weights, without exact zeros: masked weights are not part of the
    flow of the network that continues to train.

    The authors divide the logits by a temperature of 200. A division of the loss would scale all
    scores by the same factor, so the layers that compute the logits must be named.

    Args:
        weights (Mapping[str, Tensor]): Weights by name.
        evidence (Evidence): Where the derivatives come from.
        temperature (float): Divisor of the logits; published is 200. Defaults to 1.
        logits (str, optional): Shell pattern of the layers whose outputs are the logits, like
            ``'decode_head.conv_seg'``. Defaults to None: the loss as it is.

    Returns:
        dict[str, Tensor]: Scores of either sign, of the weights' shapes.

    Raises:
        ValueError: If the temperature is not positive, or the layers are not named or not found.
    """
    with _tempered(evidence.model, temperature, logits):
        gradients = evidence.gradients(weights)
        flow = {name: g * (weights[name].detach() != 0) for name, g in gradients.items()}
        products = evidence.hessian_product(weights, flow)
    return {name: weight.detach() * products[name] for name, weight in weights.items()}


@contextmanager
def _tempered(model: nn.Module, temperature: float, logits: str | None) -> Iterator[None]:
    """Divide the outputs of some layers."""
    check_grasp(model, temperature, logits)
    layers = [m for name, m in model.named_modules() if logits and fnmatch(name, logits)]

    def divide(module: nn.Module, inputs: Any, output: Tensor) -> Tensor:
        return output / temperature

    with ExitStack() as stack:
        for layer in layers:
            stack.callback(layer.register_forward_hook(divide).remove)
        yield


def check_grasp(model: nn.Module | None, temperature: object = 1.0, logits: object = None) -> None:
    """Refuse options of :func:`grasp` that are out of range, or name no layer of the model."""
    temperature = number('temperature', temperature, above=0)
    if logits is not None and not (isinstance(logits, str) and logits):
        raise ValueError(f'logits must be a shell pattern of layer names, got {logits!r}')
    if temperature != 1 and logits is None:
        raise ValueError(
            f'a temperature of {temperature:g} divides the logits: name the layers that give them '
            "in logits, like 'decode_head.conv_seg'"
        )
    if model is None or logits is None:
        return
    if not any(fnmatch(name, logits) for name, _ in model.named_modules()):
        raise ValueError(f"the pattern '{logits}' in logits matches no layer")


def check_random(model: nn.Module | None, seed: object = 0) -> None:
    """Refuse a seed that is not an integer."""
    integer('seed', seed, 0)


# by score: what looks at its options, before there is a model (None) and before the first step
CHECKS: dict[str, Callable[..., None]] = dict(random=check_random, grasp=check_grasp)


def synflow(weights: Weights, evidence: Evidence) -> dict[str, Tensor]:
    """Score by |w| * dR/d|w| / R, the share of the flow through a weight (Tanaka et al. 2020).

    R is the sum of the outputs of the network of magnitudes for a picture of ones, with norms and
    biases as in :meth:`Evidence.flow`. The scores of a layer that all paths cross have the sum 1.
    One round at a high ratio may empty a layer; the authors use 100 rounds (:func:`iterate`).

    Args:
        weights (Mapping[str, Tensor]): Weights by name.
        evidence (Evidence): With an ``input_shape``; its batches are not used.

    Returns:
        dict[str, Tensor]: Scores of the weights' shapes, float64; negative only after layers
        with negative outputs.
    """
    slopes = evidence.flow(weights)
    return {name: weight.detach().abs() * slopes[name] for name, weight in weights.items()}


for _score in (random, magnitude, lamp, snip, grasp, synflow, movement):
    SCORES.register_module(module=_score)

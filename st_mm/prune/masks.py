"""The masks: which weights live, and what the others were worth."""

import re
from collections.abc import Iterable, Mapping, MutableMapping, Sequence
from fnmatch import fnmatch
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

# the layers of mm's heads that give the scores, coordinates or heatmaps of the task
CLASSIFIER = re.compile(
    r"""(^|\.)\w*head(\.\d+|s\.\w+)?\.  # in a head, or in one of several
    (
        conv_seg | fc_seg | \w+_cls_seg  # mmseg
        | fc | fc2 | fc_cls | layers\.\d+\.fc | norm_product | \w*cls_head  # mmpretrain
        | (layers\.)?(head | head_dist | dist_head)(\.linear)?
        | final_layer | multi_final_layers\.\d+ | cls_[xy] | mlp_head_[xy]  # mmpose
    )$""",
    re.VERBOSE,
)

INFINITY_BITS = 0x7FF << 52  # of a float64


def matches(name: str, patterns: Iterable[str]) -> bool:
    """Whether a weight's name fits one of the shell patterns."""
    return any(fnmatch(name, pattern) for pattern in patterns)


def prunable_weights(model: nn.Module, skip: Iterable[str] = ()) -> dict[str, Tensor]:
    """Collect the weights that pruning may mask.

    Args:
        model (nn.Module): Any model.
        skip (Iterable[str]): Shell patterns of weight names to leave alone. Defaults to none.

    Returns:
        dict[str, Tensor]: Every conv and linear weight by its name, but for those of the
        task classifier (the last layer of a head, by the names of mm) and ``skip``.

    Raises:
        ValueError: If nothing is left, or a pattern of ``skip`` matches nothing.
    """
    if isinstance(skip, str):
        raise ValueError(f'skip must be a list of patterns, got the string {skip!r}')
    weights: dict[str, Tensor] = {
        f'{name}.weight': module.weight
        for name, module in model.named_modules()
        if isinstance(module, (nn.modules.conv._ConvNd, nn.Linear))
    }
    for pattern in skip:
        if not any(fnmatch(name, pattern) for name in weights):
            raise ValueError(f"the pattern '{pattern}' in skip matches no conv or linear weight")
    classifiers = {
        re.sub(r'\blayers\.\d+', 'layers', name): name  # of a stack, the last one
        for name in weights
        if CLASSIFIER.search(name.removesuffix('.weight'))
    }
    kept = {
        name: weight
        for name, weight in weights.items()
        if name not in classifiers.values() and not matches(name, skip)
    }
    if not any(weight.numel() for weight in kept.values()):
        raise ValueError(
            f'{type(model).__name__} has no prunable weights: no convolution or linear layer '
            'besides the task classifier and what skip names'
        )
    return kept


def lowest(scores: Mapping[str, Tensor], ratio: float) -> dict[str, Tensor]:
    """Build the masks that drop the lowest scores of the whole network.

    With n scores and k = int(ratio * n), everything up to the k-th smallest score goes, ties
    included (the published threshold).

    Args:
        scores (Mapping[str, Tensor]): Scores by weight name.
        ratio (float): Share to drop, in [0, 1].

    Returns:
        dict[str, Tensor]: Bool masks of the scores' shapes, True for what stays.
    """
    flat = torch.cat([score.flatten() for score in scores.values()])
    k = int(ratio * flat.numel())
    if k == 0:
        return {name: torch.ones_like(score, dtype=torch.bool) for name, score in scores.items()}
    threshold = flat.kthvalue(k).values
    return {name: score > threshold for name, score in scores.items()}


def pack(mask: Tensor) -> Tensor:
    """Pack a mask into one bit per weight: a uint8 tensor of ceil(n / 8)."""
    return torch.from_numpy(np.packbits(mask.cpu().bool().flatten().numpy()))


def unpack(bits: Tensor, shape: Sequence[int]) -> Tensor:
    """Undo :func:`pack` for a mask of the given shape."""
    count = int(np.prod(shape))
    flat = np.unpackbits(bits.cpu().numpy(), count=count).astype(bool)
    return torch.from_numpy(flat).reshape(tuple(shape))


class Masks:
    """Masks of a model in training, and the latent weights behind them.

    A masked weight is an exact zero in the model and in each copy of it; the value it had when it
    was masked is kept beside it, one per copy. :meth:`apply` has to follow every optimizer step.

    Args:
        weights (Mapping[str, Tensor]): Prunable weights of the live model, changed in place.
        copies (Sequence[Mapping[str, Tensor]]): The same weights in copies of the model (EMA).

    Attributes:
        keep (dict[str, Tensor]): Masks of the weights' shapes and dtypes: 1 stays, 0 is masked.
            Weights that are not in it are free.
        latent (list[dict[str, Tensor]]): Values of masked weights, 0 elsewhere; the live model's
            first, then those of each copy.
    """

    def __init__(
        self, weights: Mapping[str, Tensor], copies: Sequence[Mapping[str, Tensor]] = ()
    ) -> None:
        self.sets = [dict(weights), *(dict(copy) for copy in copies)]
        self.keep: dict[str, Tensor] = {}
        self.latent: list[dict[str, Tensor]] = [{} for _ in self.sets]

    @property
    def weights(self) -> dict[str, Tensor]:
        """Prunable weights of the live model."""
        return self.sets[0]

    @torch.no_grad()
    def apply(self) -> None:
        """Put the masked weights of the live model back to zero, in one fused product.

        A weight that has become infinite or nan stays so: such a training is lost anyway, and one
        product per step is all that this may cost.
        """
        if self.keep:
            weights = [self.weights[name].data for name in self.keep]
            torch._foreach_mul_(weights, list(self.keep.values()))

    @torch.no_grad()
    def update(self, masks: Mapping[str, Tensor]) -> None:
        """Replace the masks; newly masked weights keep their value, newly freed ones get it back.

        Args:
            masks (Mapping[str, Tensor]): Bool masks by weight name, True for what stays.
        """
        for name, stays in masks.items():
            weight = self.weights[name]
            before = self.keep.get(name)
            masked = None if before is None else before == 0
            for weights, latent in zip(self.sets, self.latent, strict=True):
                value = weights[name].data
                if masked is not None:
                    value.copy_(torch.where(masked, latent[name], value))
                latent[name] = torch.where(stays, torch.zeros_like(value), value)
                value.copy_(torch.where(stays, value, torch.zeros_like(value)))
            self.keep[name] = stays.to(weight.dtype)

    @torch.no_grad()
    def free(self, names: Iterable[str] | None = None, mode: str = 'latent') -> int:
        """Take masks off (iterative reactivation, paper Section 3.3).

        Args:
            names (Iterable[str], optional): Weights to free. Defaults to all.
            mode (str): ``'latent'`` gives the masked weights the value they had (published),
                ``'zero'`` leaves them at zero. Defaults to ``'latent'``.

        Returns:
            int: Number of weights that were masked.

        Raises:
            ValueError: If there is no such mode.
        """
        if mode not in ('latent', 'zero'):
            raise ValueError(f"mode must be 'latent' or 'zero', got '{mode}'")
        freed = 0
        for name in list(self.keep) if names is None else [n for n in names if n in self.keep]:
            masked = self.keep.pop(name) == 0
            freed += int(masked.sum())
            for weights, latent in zip(self.sets, self.latent, strict=True):
                values = latent.pop(name)
                if mode == 'latent':
                    value = weights[name].data
                    value.copy_(torch.where(masked, values, value))
        return freed

    def rank(self, scores: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Put masked weights below all others, those of the smallest latent value lowest.

        Weights tie where they tied before only, so that :func:`lowest` drops no more of them.

        Args:
            scores (Mapping[str, Tensor]): Non-negative scores by weight name.

        Returns:
            dict[str, Tensor]: Scores in which masked weights are negative (float64).
        """
        ranked = dict(scores)
        for name, keep in self.keep.items():
            # floats above zero sort as their bits do, so this is exact, unlike arithmetic on them
            bits = self.latent[0][name].abs().double().view(torch.int64)
            below = -(INFINITY_BITS - bits).view(torch.float64)
            ranked[name] = torch.where(keep == 0, below, scores[name])
        return ranked

    def density(self) -> float:
        """Share of the prunable weights that are not masked."""
        total = sum(weight.numel() for weight in self.weights.values())
        masked = sum(int((keep == 0).sum()) for keep in self.keep.values())
        return 1 - masked / max(total, 1)

    def aligned(self) -> list[MutableMapping[str, Tensor]]:
        """The tensors that have to be cut together with the weights."""
        return [self.keep, *self.latent]

    def state(self) -> dict[str, dict[str, Any]]:
        """Masks as plain types: shape and packed bits by weight name."""
        return {
            name: dict(shape=list(keep.shape), bits=pack(keep)) for name, keep in self.keep.items()
        }

    def latent_state(self) -> list[dict[str, Tensor]]:
        """Values of the masked weights alone, 1-d by weight name, per copy of the model."""
        return [
            {name: values[self.keep[name] == 0].cpu() for name, values in latent.items()}
            for latent in self.latent
        ]

    @torch.no_grad()
    def load(
        self, state: Mapping[str, Mapping[str, Any]], latent: Sequence[Mapping[str, Tensor]] | None
    ) -> None:
        """Take masks over, from :meth:`state` and :meth:`latent_state`.

        Args:
            state (Mapping[str, dict]): Shape and bits by weight name.
            latent (Sequence[Mapping[str, Tensor]], optional): Values of the masked weights; None
                for a ticket whose masked weights have no past: zeros.

        Raises:
            ValueError: If the masks are not those of this model.
        """
        for name, entry in state.items():
            if name not in self.weights or list(self.weights[name].shape) != list(entry['shape']):
                raise ValueError(
                    f"the ticket record has a mask of shape {entry['shape']} for '{name}', which "
                    'is no prunable weight of that shape in this model'
                )
        for name, entry in state.items():
            weight = self.weights[name]
            keep = unpack(entry['bits'], entry['shape']).to(weight.device)
            self.keep[name] = keep.to(weight.dtype)
            for index, (weights, values) in enumerate(zip(self.sets, self.latent, strict=True)):
                values[name] = torch.zeros_like(weight)
                if latent is not None:
                    past = latent[min(index, len(latent) - 1)][name]
                    values[name][~keep] = past.to(weight)
                weights[name].data.mul_(self.keep[name])

"""Weights that pruning may mask: of convolutions and linear layers, not of the classifier."""

from collections.abc import Collection, Iterable
from dataclasses import dataclass
from fnmatch import fnmatch
from math import prod

from torch import Tensor, nn

from st_mm.trainable import trains

from .classifier import classifiers
from .layers import weights_of


def matches(name: str, patterns: Iterable[str]) -> bool:
    """Check whether a weight's name fits one of the shell patterns."""
    return any(fnmatch(name, pattern) for pattern in patterns)


@dataclass(frozen=True)
class Survey:
    """The weights of a model's convolutions, linear layers and attentions, each in one place.

    A weight that several layers share is one weight, under the first of its names.

    Attributes:
        prunable (dict[str, Tensor]): What pruning may mask.
        frozen (dict[str, Tensor]): What it may mask once it trains.
        classifier (dict[str, Tensor]): The task's classifier, which stays dense.
        skipped (dict[str, Tensor]): What the user names.
        unreached (dict[str, Tensor]): Parameters whose zeros do not reach the kernel.
    """

    prunable: dict[str, Tensor]
    frozen: dict[str, Tensor]
    classifier: dict[str, Tensor]
    skipped: dict[str, Tensor]
    unreached: dict[str, Tensor]

    @property
    def known(self) -> dict[str, Tensor]:
        """What pruning may mask, now or once it trains, in the order of the model."""
        return self.prunable | self.frozen

    def share(self, part: dict[str, Tensor]) -> float:
        """Share of a part among the weights of all layers."""
        parts = (self.prunable, self.frozen, self.classifier, self.skipped, self.unreached)
        return _size(part) / max(sum(map(_size, parts)), 1)


def _size(weights: dict[str, Tensor]) -> int:
    return sum(prod(weight.shape) for weight in weights.values())


def survey(
    model: nn.Module, skip: Iterable[str] = (), moved: Collection[int] | None = None
) -> Survey:
    """Sort the weights of a model by what pruning may do to them.

    Args:
        model (nn.Module): Any model.
        skip (Iterable[str]): Shell patterns of weight names to leave out. Defaults to none.
        moved (Collection[int], optional): What the optimizers move, see
            :func:`st_mm.trainable.optimized`. Defaults to None: not known.

    Raises:
        ValueError: If a pattern of ``skip`` matches nothing.
    """
    if isinstance(skip, str):
        raise ValueError(f'skip must be a list of patterns, got the string {skip!r}')
    names: dict[Tensor, list[str]] = {}
    unreached: set[Tensor] = set()
    for module_name, module in model.named_modules():
        for own in weights_of(module):
            name = f'{module_name}.{own.name}' if module_name else own.name
            names.setdefault(own.tensor, []).append(name)
            if not own.reaches:
                unreached.add(own.tensor)
    for pattern in skip:
        if not any(fnmatch(name, pattern) for each in names.values() for name in each):
            raise ValueError(f"the pattern '{pattern}' in skip matches no conv or linear weight")
    predicting = classifiers(model, {name: w for w, each in names.items() for name in each})
    found = Survey({}, {}, {}, {}, {})
    for weight, each in names.items():
        if not predicting.isdisjoint(each):
            part = found.classifier
        elif any(matches(name, skip) for name in each):
            part = found.skipped
        elif weight in unreached:
            part = found.unreached
        else:
            part = found.prunable if trains(weight, moved) else found.frozen
        part[each[0]] = weight
    return found


def prunable_weights(
    model: nn.Module,
    skip: Iterable[str] = (),
    moved: Collection[int] | None = None,
    frozen: bool = False,
) -> dict[str, Tensor]:
    """Collect the weights that pruning may mask.

    Args:
        model (nn.Module): Any model.
        skip (Iterable[str]): Shell patterns of weight names to leave out. Defaults to none.
        moved (Collection[int], optional): What the optimizers move, see
            :func:`st_mm.trainable.optimized`. Defaults to None: not known.
        frozen (bool): Whether to include what does not train now. Defaults to False.

    Returns:
        dict[str, Tensor]: The weights of convolutions, linear layers and attentions by name, each
        once, but for those of the task classifier, ``skip``, and those that mask in vain (see
        :mod:`st_mm.prune.layers`).

    Raises:
        ValueError: If nothing is left, or a pattern of ``skip`` matches nothing.
    """
    found = survey(model, skip, moved)
    weights = found.known if frozen else found.prunable
    check_any(model, found, weights)
    return weights


def check_any(model: nn.Module, found: Survey, weights: dict[str, Tensor]) -> None:
    """Make sure that there is something to prune.

    Raises:
        ValueError: If nothing of a survey is left.
    """
    if not any(prod(weight.shape) for weight in weights.values()):
        reasons = [
            f'{part} ({100 * found.share(getattr(found, part)):.1f} %)'
            for part in ('frozen', 'classifier', 'skipped', 'unreached')
            if getattr(found, part)
        ]
        raise ValueError(
            f'{type(model).__name__} has no prunable weights: no convolution or linear layer '
            'besides the task classifier, what is frozen, what skip names, and layers that make '
            f'their kernels of other tensors ({", ".join(reasons) or "there are none at all"})'
        )

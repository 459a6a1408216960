"""The masks: which weights are kept, and the values of the others."""

from collections.abc import Iterable, Iterator, Mapping, MutableMapping, Sequence
from contextlib import contextmanager
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

PackedMasks = Mapping[str, Mapping[str, Any]]  # shape and bits by weight name


def pack(mask: Tensor) -> Tensor:
    """Pack a mask into one bit per weight: a uint8 tensor of ceil(n / 8)."""
    return torch.from_numpy(np.packbits(mask.cpu().bool().flatten().numpy()))


def unpack(bits: Tensor, shape: Sequence[int]) -> Tensor:
    """Undo :func:`pack` for a mask of the given shape."""
    count = int(np.prod(shape))
    flat = np.unpackbits(bits.cpu().numpy(), count=count).astype(bool)
    return torch.from_numpy(flat).reshape(tuple(shape))


def _packed(masks: Mapping[str, Tensor]) -> dict[str, dict[str, Any]]:
    return {name: dict(shape=list(mask.shape), bits=pack(mask)) for name, mask in masks.items()}


class Change(NamedTuple):
    """How the masks of a round differ from those of the round before.

    Attributes:
        flips (int): Number of weights that are masked in one round and not in the other.
        iou (float): Share kept in both rounds among those kept in either; 1 if none is kept.
        closed (tuple[str, ...]): Names of the weights of which something was kept in the round
            before, and nothing is in this one. Defaults to none.
    """

    flips: int
    iou: float
    closed: tuple[str, ...] = ()


class Masks:
    """Masks of a model in training, and its latent weights.

    A masked weight is an exact zero in the model and in each copy of it. Its value from before the
    mask is its latent weight; each copy has its own. Call :meth:`apply` after every optimizer step.

    Args:
        weights (Mapping[str, Tensor]): Prunable weights of the live model, changed in place.
        copies (Sequence[Mapping[str, Tensor]]): The same weights in copies of the model (EMA).

    Attributes:
        keep (dict[str, Tensor]): Masks of the weights' shapes and dtypes: 1 stays, 0 is masked.
            Weights that are not in it are free.
        before (dict[str, Tensor]): Bool masks of the last :meth:`update`, whatever has been freed
            since; weights that are not in it were kept.
        latent (list[dict[str, Tensor]]): Values of masked weights, 0 elsewhere; the live model's
            first, then those of each copy. Where masked weights learn, the live model's are those
            of whole tensors (:class:`~st_mm.prune.StraightThrough`).
        thresholds (dict[str, float]): What kept weights lose in size, where masks are soft; their
            latent values are saved too. Starts empty.
        resting (frozenset[str]): Weights that take no part now, since they do not train: masks
            that they have hold, and nothing else happens to them. Starts empty.
    """

    def __init__(
        self, weights: Mapping[str, Tensor], copies: Sequence[Mapping[str, Tensor]] = ()
    ) -> None:
        self.sets = [dict(weights), *(dict(copy) for copy in copies)]
        self.keep: dict[str, Tensor] = {}
        self.before: dict[str, Tensor] = {}
        self.latent: list[dict[str, Tensor]] = [{} for _ in self.sets]
        self.thresholds: dict[str, float] = {}
        self.resting: frozenset[str] = frozenset()

    @property
    def known(self) -> dict[str, Tensor]:
        """Weights of the live model that can be masked, now or once they train."""
        return self.sets[0]

    @property
    def weights(self) -> dict[str, Tensor]:
        """Return the prunable weights of the live model: those that take part now."""
        return {name: w for name, w in self.known.items() if name not in self.resting}

    @property
    def counted(self) -> dict[str, Tensor]:
        """Weights that densities count: what takes part now, and what has masks that hold."""
        return {n: w for n, w in self.known.items() if n not in self.resting or n in self.keep}

    def cover(
        self, weights: Mapping[str, Tensor], copies: Sequence[Mapping[str, Tensor]] = ()
    ) -> None:
        """Take in further weights, free as yet; arguments as of the class."""
        while len(self.sets) <= len(copies):
            self.sets.append({})
            self.latent.append({})
        for ours, theirs in zip(self.sets, (weights, *copies), strict=True):
            ours.update(theirs)

    @torch.no_grad()
    def apply(self) -> None:
        """Set the masked weights of the live model to zero, in one fused product.

        A weight that is infinite or nan stays so: such a training is lost anyway, and this must
        not cost more than one product per step.
        """
        if self.keep:
            weights = [self.known[name].data for name in self.keep]
            torch._foreach_mul_(weights, list(self.keep.values()))

    @torch.no_grad()
    def update(self, masks: Mapping[str, Tensor]) -> Change:
        """Replace the masks; the values of masked weights are kept, and come back when freed.

        Args:
            masks (Mapping[str, Tensor]): Bool masks by weight name, True for what stays.

        Returns:
            Change: The difference from the masks of the last update, over the given weights; the
            first time, from masks that keep everything.
        """
        change = self._change(masks)
        for name, stays in masks.items():
            keep = self.keep.get(name)
            masked = None if keep is None else keep == 0
            for weights, latent in zip(self.sets, self.latent, strict=True):
                value = weights[name].data
                if masked is not None:
                    value.copy_(torch.where(masked, latent[name], value))
                latent[name] = torch.where(stays, torch.zeros_like(value), value)
                value.copy_(torch.where(stays, value, torch.zeros_like(value)))
            self.keep[name] = self._like_weight(name, stays)
            self.before[name] = stays
            self.thresholds.pop(name, None)
        return change

    def _like_weight(self, name: str, mask: Tensor) -> Tensor:
        # in the weight's memory format too: otherwise `apply` is not a fused product
        return torch.empty_like(self.known[name]).copy_(mask)

    def _change(self, masks: Mapping[str, Tensor]) -> Change:
        both = either = 0
        closed = []
        for name, stays in masks.items():
            before = self.before.get(name, torch.ones_like(stays))
            both += int((stays & before).sum())
            either += int((stays | before).sum())
            if before.any() and not stays.any():
                closed.append(name)
        return Change(either - both, both / either if either else 1.0, tuple(closed))

    @torch.no_grad()
    def free(
        self,
        names: Iterable[str] | None = None,
        mode: str = 'latent',
        where: Mapping[str, Tensor] | None = None,
    ) -> int:
        """Take masks off (iterative reactivation, paper Section 3.2), but for resting weights.

        Args:
            names (Iterable[str], optional): Weights to free. Defaults to all.
            mode (str): ``'latent'`` gives the masked weights the value they had (published),
                ``'zero'`` leaves them at zero. Defaults to ``'latent'``.
            where (Mapping[str, Tensor], optional): Bool tensors by weight name: only what is True
                is freed, the rest of the tensor stays masked. Defaults to None: frees everything.

        Returns:
            int: Number of weights that were masked and are free now.

        Raises:
            ValueError: If there is no such mode, or ``where`` has not the shape of the weight.
        """
        if mode not in ('latent', 'zero'):
            raise ValueError(f"mode must be 'latent' or 'zero', got '{mode}'")
        free = self.keep.keys() - self.resting
        chosen = [name for name in (self.keep if names is None else names) if name in free]
        if where is not None:
            chosen = [name for name in chosen if name in where]
            for name in chosen:
                if where[name].shape != self.keep[name].shape:
                    raise ValueError(
                        f"where has shape {tuple(where[name].shape)} for '{name}', the weight has "
                        f'{tuple(self.keep[name].shape)}'
                    )
        freed = 0
        for name in chosen:
            going = self.keep[name] == 0
            if where is not None:
                going &= where[name]
            freed += int(going.sum())
            for weights, latent in zip(self.sets, self.latent, strict=True):
                if mode == 'latent':
                    value = weights[name].data
                    value.copy_(torch.where(going, latent[name], value))
                latent[name] = latent[name].masked_fill(going, 0)
            self.keep[name] = self.keep[name].masked_fill(going, 1)
            if where is None:
                for tensors in (self.keep, *self.latent):
                    del tensors[name]
                self.thresholds.pop(name, None)
        return freed

    @contextmanager
    def uncovered(self, index: int) -> Iterator[None]:
        """Let a copy of the model run with its latent weights, unmasked, while this lasts.

        Args:
            index (int): 1 for the first of the copies, and so on.
        """
        weights = {name: self.sets[index][name].data for name in self.keep}
        running = {name: weight.clone() for name, weight in weights.items()}
        for name, weight in weights.items():
            weight.copy_(self.latent[index][name].where(self.keep[name] == 0, weight))
        try:
            yield
        finally:
            for name, weight in weights.items():
                weight.copy_(running[name])

    def masked(self) -> dict[str, tuple[Tensor, Tensor]]:
        """Return what is masked (bool) and the live model's latent values, for :func:`choose`."""
        return {
            name: (keep == 0, self.latent[0][name])
            for name, keep in self.keep.items()
            if name not in self.resting
        }

    def density(self) -> float:
        """Compute the share of the counted weights that are not masked."""
        total = sum(weight.numel() for weight in self.counted.values())
        masked = sum(int((keep == 0).sum()) for keep in self.keep.values())
        return 1 - masked / max(total, 1)

    def densities(self) -> dict[str, float]:
        """Compute the unmasked share of each counted weight; 1 for one without elements."""
        shares = dict.fromkeys(self.counted, 1.0)
        for name, keep in self.keep.items():
            shares[name] -= int((keep == 0).sum()) / max(keep.numel(), 1)
        return shares

    def aligned(self) -> list[MutableMapping[str, Tensor]]:
        """List the tensors that must be cut together with the weights."""
        return [self.keep, self.before, *self.latent]

    def state(self) -> dict[str, dict[str, Any]]:
        """Return the masks as plain types: shape and packed bits by weight name."""
        return _packed(self.keep)

    def before_state(self) -> dict[str, dict[str, Any]]:
        """Return the masks of the last update, in the form of :meth:`state`."""
        return _packed(self.before)

    def latent_state(self) -> list[dict[str, Tensor]]:
        """Return the values of the masked weights, 1-d by weight name, per copy of the model.

        Under a soft mask the live model's are those of all weights of the tensor.
        """
        saved = [
            {name: values[self.keep[name] == 0].cpu() for name, values in latent.items()}
            for latent in self.latent
        ]
        for name in self.thresholds:
            saved[0][name] = self.latent[0][name].detach().flatten().cpu().clone()
        return saved

    @torch.no_grad()
    def load(
        self,
        state: PackedMasks,
        latent: Sequence[Mapping[str, Tensor]] | None,
        before: PackedMasks | None = None,
    ) -> None:
        """Take masks from :meth:`state`, :meth:`latent_state` and :meth:`before_state`.

        Args:
            state (Mapping[str, dict]): Shape and bits by weight name.
            latent (Sequence[Mapping[str, Tensor]], optional): Values of the masked weights, or of
                all of a tensor for the live model. None sets them to zero, for a ticket that has
                none.
            before (Mapping[str, dict], optional): Masks of the last update. Defaults to None: the
                masks of ``state``.

        Raises:
            ValueError: If the masks are not those of this model.
        """
        before = state if before is None else before
        for name, entry in (*state.items(), *before.items()):
            if name not in self.known or list(self.known[name].shape) != list(entry['shape']):
                raise ValueError(
                    f"the ticket record has a mask of shape {entry['shape']} for '{name}', which "
                    'is not a prunable weight of that shape in this model'
                )
        for name, entry in before.items():
            self.before[name] = self._unpacked(name, entry)
        for name, entry in state.items():
            weight = self.known[name]
            keep = self._unpacked(name, entry)
            self.keep[name] = self._like_weight(name, keep)
            for index, (weights, values) in enumerate(zip(self.sets, self.latent, strict=True)):
                values[name] = torch.zeros_like(weight)
                if latent is not None:
                    past = latent[min(index, len(latent) - 1)][name].to(weight)
                    if len(past) < weight.numel():
                        values[name][~keep] = past
                    else:
                        whole = past.view(weight.shape)
                        values[name].copy_(whole if index == 0 else whole.masked_fill(keep, 0))
                weights[name].data.mul_(self.keep[name])

    def _unpacked(self, name: str, entry: Mapping[str, Any]) -> Tensor:
        return unpack(entry['bits'], entry['shape']).to(self.known[name].device)

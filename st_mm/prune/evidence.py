"""Evidence: data for a criterion besides the weights, without side effects."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from mmengine.dist import get_rank
from torch import Tensor, nn

from st_mm.calibration.random_state import seed_everything
from st_mm.private import checkpoints_for_grad

from .flow import flow_slopes
from .stand_ins import Weights, as_it_was, leaves_for, over_ranks, stand_in


@dataclass(frozen=True)
class Evidence:
    """A model with batches and their loss.

    Every method evaluates the model at the given ``weights``: the live ones, or masked copies of
    them. Parameters, gradients, buffers, modes and random generators do not change, and no hook of
    a tensor is called, because the model runs on copies of its tensors.

    The loss is that of training: the model is in train mode, so BN uses the statistics of the batch
    and dropout is active. Each rank uses its own batch, also with SyncBN, which has no second
    derivative. Random numbers come from the seed and are the same in every pass. Results are means
    over the batches of all ranks, so they are the same on each rank. Every rank must have the same
    number of batches.

    Args:
        model (nn.Module): The live model, not wrapped.
        batches (Callable): Without arguments, gives an iterable of the same batches at each call.
        loss (Callable): ``loss(model, batch)`` gives the scalar loss of a batch, its mean over
            the samples.
        input_shape (Sequence[int] | Callable, optional): (channels, height, width) of one picture,
            for :meth:`flow`; or a function that returns it. Defaults to None.
        seed (int): Seed of dropout, and of batches that draw from the global generators.
            Defaults to 0.
    """

    model: nn.Module
    batches: Callable[[], Iterable[Any]]
    loss: Callable[[nn.Module, Any], Tensor]
    input_shape: Sequence[int] | Callable[[], Sequence[int]] | None = None
    seed: int = 0

    def mean(
        self,
        weights: Weights,
        of: Callable[[Tensor, list[Tensor]], Sequence[Tensor | None]],
    ) -> dict[str, Tensor]:
        """Average a function of the loss of a batch over all batches and ranks.

        Args:
            weights (Mapping[str, Tensor]): Weights by their names in the model.
            of (Callable): ``of(loss, leaves)`` gives one tensor per weight, or None for zeros;
                ``leaves`` are the weights by which the loss can be differentiated.

        Returns:
            dict[str, Tensor]: Means of the weights' shapes and dtypes.

        Raises:
            ValueError: If there are no batches, no loss depends on any of the weights, or a mean
                is not finite.
        """
        leaves, given = leaves_for(
            self.model, {name: weight.detach() for name, weight in weights.items()}
        )
        totals = {name: torch.zeros_like(weight) for name, weight in weights.items()}
        count = reached = 0
        with as_it_was(self.model), torch.enable_grad(), checkpoints_for_grad():
            self.model.train()
            stand_in(self.model, given)
            seed_everything(self.seed + get_rank())
            for batch in self.batches():
                loss = self.loss(self.model, batch)
                count += 1
                if not loss.requires_grad:
                    continue
                reached += 1
                parts = of(loss, list(leaves.values()))
                for total, part in zip(totals.values(), parts, strict=True):
                    if part is not None:
                        total += part.detach()
        if not reached:
            raise ValueError(
                f'the loss of {type(self.model).__name__} depends on none of the weights to be '
                'scored: pass a loss with its graph, of a model that uses them'
                if count
                else 'there are no batches to score weights by: draw at least one'
            )
        return over_ranks({name: total / count for name, total in totals.items()})

    def gradients(self, weights: Weights) -> dict[str, Tensor]:
        """Compute the gradient g of the mean loss; zero for a weight that no loss depends on.

        Args:
            weights (Mapping[str, Tensor]): Weights by their names in the model.

        Returns:
            dict[str, Tensor]: Gradients of the weights' shapes and dtypes.

        Raises:
            ValueError: As :meth:`mean` does.
        """
        return self.mean(weights, partial(torch.autograd.grad, allow_unused=True))

    def hessian_product(self, weights: Weights, direction: Weights) -> dict[str, Tensor]:
        """Compute the Hessian H of the mean loss, times a vector.

        Args:
            weights (Mapping[str, Tensor]): Weights by their names in the model.
            direction (Mapping[str, Tensor]): The vector, in the order and shapes of the weights.

        Returns:
            dict[str, Tensor]: Products of the weights' shapes and dtypes.

        Raises:
            ValueError: As :meth:`mean` does.
        """

        def product(loss: Tensor, leaves: list[Tensor]) -> Sequence[Tensor | None]:
            slopes = torch.autograd.grad(loss, leaves, create_graph=True, allow_unused=True)
            pairs = zip(slopes, direction.values(), strict=True)
            along = sum(((s * d).sum() for s, d in pairs if s is not None), loss.new_zeros(()))
            if not along.requires_grad:  # the loss is linear
                return [None] * len(leaves)
            return torch.autograd.grad(along, leaves, allow_unused=True)

        return self.mean(weights, product)

    def flow(self, weights: Weights) -> dict[str, Tensor]:
        """Compute the slope of the log flow, see :func:`~st_mm.prune.flow.flow_slopes`."""
        shape = self.input_shape() if callable(self.input_shape) else self.input_shape
        return flow_slopes(self.model, weights, shape)

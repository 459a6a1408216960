"""The cost card of a network: parameters and MACs in three states, per layer and in total."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

from torch import nn

from st_mm.measure import count_macs, count_params
from st_mm.measure.accelerator import Engine, layer_times
from st_mm.ticket import Ticket

from .numbers import scaled
from .report import Cost, population
from .table import Table

FLATTERS = (
    'MACs x density is the approximation of the published code. On a real ticket 24.5 % of the '
    'MACs remain at 10 % of the weights: pruning takes more of the layers that cost less.'
)


@dataclass(frozen=True)
class LayerCost:
    """A layer, or a product without a weight (attention) by the module that computes it.

    Attributes:
        name (str): Name of the module.
        dense (int): MACs in the network of the config; 0 where that has no such layer.
        structural (int): MACs as the tensors are shaped.
        nonzero (int): MACs with weights that are not zero.
    """

    name: str
    dense: int
    structural: int
    nonzero: int


@dataclass(frozen=True)
class Accelerated:
    """A network on a sparse accelerator, see :mod:`st_mm.measure.accelerator`.

    Attributes:
        seconds (float): Estimated time of one picture.
        use (float): Share of the multipliers that work, over that time.
    """

    seconds: float
    use: float


@dataclass(frozen=True)
class CostCard:
    """What a network costs for one picture.

    Attributes:
        model (str): Type of the model.
        input_shape (tuple[int, ...]): (channels, height, width) of the picture.
        dense (Cost): As its config builds it.
        structural (Cost): What the search has left of it.
        nonzero (Cost): What search and pruning have left of it.
        density (float): Share of the prunable weights that is not zero.
        layers (tuple[LayerCost, ...]): Every layer, in the order of the network.
        accelerator (dict[str, Accelerated]): Estimates for the network of the config (``dense``)
            and for that of the checkpoint (``nonzero``).
    """

    model: str
    input_shape: tuple[int, ...]
    dense: Cost
    structural: Cost
    nonzero: Cost
    density: float
    layers: tuple[LayerCost, ...]
    accelerator: dict[str, Accelerated]

    @property
    def approximate_macs(self) -> int:
        """MACs * (1 - p) with the density for 1 - p."""
        return round(self.structural.macs * self.density)

    def to_dict(self) -> dict[str, Any]:
        """The card in plain types, for JSON."""
        return {**asdict(self), 'approximate_macs': self.approximate_macs}

    def table(self) -> Table:
        """List the three states, and the published approximation."""
        size = 'x'.join(map(str, self.input_shape))
        rows = [
            (state, *_cells(cost, self.dense))
            for state, cost in (
                ('dense: as the config builds it', self.dense),
                ('structural: after the search', self.structural),
                ('nonzero: after search and pruning', self.nonzero),
            )
        ]
        notes: tuple[str, ...] = ()
        if self.density < 1:
            share = _share(self.approximate_macs, self.dense.macs)
            approximate = scaled(self.approximate_macs)
            rows.append((f'MACs x {self.density:.4f} (1 - p)', '', '', approximate, share))
            notes = (FLATTERS,)
        header = (f'{self.model} at {size}', 'params', 'of dense', 'MACs', 'of dense')
        return Table(header, tuple(rows), notes=notes)

    def accelerator_table(self) -> Table:
        """List the estimates for a sparse accelerator, with what they take for granted."""
        rows = tuple(
            (state, f'{1e3 * each.seconds:.3f} ms', f'{each.use:.1%}')
            for state, each in self.accelerator.items()
        )
        engine = Engine()
        note = (
            f'Estimate: {engine.multipliers} multipliers at {engine.clock / 1e6:g} MHz, '
            f'{engine.bandwidth / 1e9:g} GB/s, int8; nonzero weights lie still, inputs stream; '
            'zeros in the inputs are not skipped, norms and activations are free. The paper does '
            'not give the size of its engine: compare ratios.'
        )
        return Table(('sparse accelerator', 'time', 'multipliers in use'), rows, notes=(note,))

    def layers_table(self) -> Table:
        """List the layers."""
        rows = tuple(
            (
                layer.name,
                scaled(layer.dense),
                scaled(layer.structural),
                scaled(layer.nonzero),
                _share(layer.nonzero, layer.structural),
            )
            for layer in self.layers
        )
        return Table(('layer', 'dense MACs', 'structural', 'nonzero', 'density'), rows)


def cost_card(
    supernet: nn.Module, model: nn.Module, ticket: Ticket | None, input_shape: Sequence[int]
) -> CostCard:
    """Count a network in its three states.

    Args:
        supernet (nn.Module): The model as its config builds it.
        model (nn.Module): The same with the shapes and weights of a checkpoint; the supernet
            itself where there is none.
        ticket (Ticket, optional): The record of the checkpoint; None for one without.
        input_shape (Sequence[int]): (channels, height, width) of the picture.

    Returns:
        CostCard: Totals and layers.

    Raises:
        ValueError: If the model cannot take such a picture.
    """
    before, now = count_macs(supernet, input_shape), count_macs(model, input_shape)
    params, nonzero = count_params(model)
    weights = population(model, ticket).values() if model is not supernet else ()
    total = sum(weight.numel() for weight in weights)
    kept = sum(int(weight.count_nonzero()) for weight in weights)
    names = dict.fromkeys((*before.layers, *now.layers))
    accelerator = {'dense': _accelerated(supernet, input_shape)}
    if model is not supernet:
        accelerator['nonzero'] = _accelerated(model, input_shape)
    return CostCard(
        model=type(model).__name__,
        input_shape=tuple(input_shape),
        dense=Cost(count_params(supernet)[0], before.dense),
        structural=Cost(params, now.dense),
        nonzero=Cost(nonzero if model is not supernet else params, now.nonzero),
        density=kept / total if total else 1.0,
        layers=tuple(
            LayerCost(
                name,
                before.layers[name].dense if name in before.layers else 0,
                now.layers[name].dense if name in now.layers else 0,
                now.layers[name].nonzero if name in now.layers else 0,
            )
            for name in names
        ),
        accelerator=accelerator,
    )


def _accelerated(model: nn.Module, input_shape: Sequence[int]) -> Accelerated:
    layers = layer_times(model, input_shape)
    seconds = sum(layer.seconds for layer in layers)
    busy = sum(layer.use * layer.compute for layer in layers)
    return Accelerated(seconds, busy / seconds if seconds else 0.0)


def _cells(cost: Cost, dense: Cost) -> tuple[str, str, str, str]:
    return (
        f'{cost.params:,}',
        _share(cost.params, dense.params),
        scaled(cost.macs),
        _share(cost.macs, dense.macs),
    )


def _share(part: int, whole: int) -> str:
    return f'{part / whole:.1%}' if whole else '-'

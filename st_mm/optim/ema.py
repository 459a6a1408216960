"""The published moving average of the weights, as an averaged model of mmengine."""

from typing import Any

import torch
from mmengine.model import ExponentialMovingAverage
from mmengine.registry import MODELS
from torch import Tensor, nn

from st_mm.arguments import flag, integer, number


@MODELS.register_module()
class RampedEMA(ExponentialMovingAverage):
    """Moving average with the published ramp: ``decay = min(1 - momentum, (1 + n) / (10 + n))``.

    n is 1 at the first update, which averages the weights after the first step with those before
    it (AtomNAS and HR-NAS, ``utils/optim.py`` and ``train.py``). mmengine's
    ``MomentumAnnealingEMA(gamma=9)`` has a count that is lower by 2, and its first update drops the
    weights from before the first step. The ramp is more than a warm-up: the published 1 - momentum
    is 0.9999 ** (batch / 4096), which 40,000 updates at batch 32 never reach.

    Built by ``EMAHook(ema_type='RampedEMA', momentum=1 - 0.9999 ** (batch / 4096),
    update_buffers=True)``; with ``update_buffers`` BN statistics are averaged too, as published.

    Args:
        model (nn.Module): The model to average.
        momentum (float): Share of the new weights once the ramp is over. Defaults to 0.0002.
        interval (int): Steps between two updates. Defaults to 1.
        device (torch.device | str, optional): Where the average is kept. Defaults to None: beside
            the model.
        update_buffers (bool): Whether buffers are averaged too. Defaults to False.

    Raises:
        ValueError: If an argument is out of its range.
    """

    def __init__(
        self,
        model: nn.Module,
        momentum: float = 0.0002,
        interval: int = 1,
        device: torch.device | str | None = None,
        update_buffers: bool = False,
    ) -> None:
        momentum = number('momentum', momentum, above=0, below=1)
        interval = integer('interval', interval, 1)
        update_buffers = flag('update_buffers', update_buffers)
        super().__init__(model, momentum, interval, _device(device), update_buffers)

    def update_parameters(self, model: nn.Module) -> None:
        """Add the model to the average."""
        self.steps += 1  # the count begins at 1; at 0 mmengine copies the model
        # once for all tensors, because reading the count waits for the GPU
        self._share = max(self.momentum, 9 / (10 + int(self.steps)))
        super().update_parameters(model)
        self.steps -= 1

    def avg_func(self, averaged_param: Tensor, source_param: Tensor, steps: Any) -> None:
        """Add one tensor to its average, in place.

        Args:
            averaged_param (Tensor): The average.
            source_param (Tensor): The new value.
            steps (Tensor): () n.
        """
        averaged_param.lerp_(source_param, self._share)


def _device(device: torch.device | str | None) -> torch.device | None:
    """Read the name of a device."""
    if device is None or isinstance(device, torch.device):
        return device
    try:
        return torch.device(device if isinstance(device, str) else '')
    except RuntimeError as error:
        raise ValueError(
            f"device must be a name such as 'cpu' or 'cuda:0', got {device!r}"
        ) from error

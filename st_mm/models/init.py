"""The MnasNet initialization of the published recipes, as an mm initializer."""

from math import sqrt

from mmengine.model import BaseInit, update_init_info
from mmengine.registry import WEIGHT_INITIALIZERS
from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm


@WEIGHT_INITIALIZERS.register_module('MnasNet')
class MnasNetInit(BaseInit):
    """Initialize a module as the MnasNet reference code does.

    Convolutions are normal with std sqrt(2 / fan_out). For a depthwise convolution, fan_out is the
    size of its kernel; a convolution is depthwise if it has as many groups as inputs, and more than
    one. Linear layers are uniform within 1 / sqrt(fan_out). The scales of norms are 1, biases 0. A
    convolution that replaces several parallel ones has the fan_out of one of them in its attribute
    ``init_fan_out``.
    """

    def __init__(self) -> None:
        super().__init__(bias=0)

    def __call__(self, module: nn.Module) -> None:
        """Initialize ``module`` and everything in it."""
        for layer in module.modules():
            if isinstance(layer, nn.Conv2d):
                _init_conv(layer)
            elif isinstance(layer, nn.Linear):
                bound = 1 / sqrt(layer.out_features)
                nn.init.uniform_(layer.weight, -bound, bound)
            elif isinstance(layer, (_BatchNorm, nn.LayerNorm)):
                if layer.weight is not None:
                    nn.init.ones_(layer.weight)
            else:
                continue
            if layer.bias is not None:
                nn.init.zeros_(layer.bias)
        if hasattr(module, '_params_init_info'):  # the log of mm's BaseModule.init_weights
            update_init_info(module, self._get_init_info())


def _init_conv(conv: nn.Conv2d) -> None:
    if not conv.weight.numel():
        return
    height, width = conv.kernel_size
    channels = 1 if conv.groups == conv.in_channels > 1 else conv.out_channels
    fan_out = getattr(conv, 'init_fan_out', channels) * height * width
    nn.init.normal_(conv.weight, 0, sqrt(2 / fan_out))

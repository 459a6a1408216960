"""The model of a config, and all the weights of a file in it."""

import copy
from collections.abc import Mapping
from typing import Any

from mmengine.config import Config
from mmengine.registry import MODELS, DefaultScope
from torch import nn

from st_mm.units.loading import check_fit


def build_model(config: Config) -> nn.Module:
    """Build the model of a config as a runner does, without fetching pretrained weights.

    Args:
        config (Config): A whole config of mmseg, mmpose, mmpretrain or another mm library.

    Returns:
        nn.Module: The model; its ``init_cfg`` has not been applied.

    Raises:
        ValueError: If the config has no model.
    """
    if 'model' not in config:
        raise ValueError('it has no model')
    model = copy.deepcopy(config.model)
    if 'data_preprocessor' in config:
        model.setdefault('data_preprocessor', config.data_preprocessor)
    for part in (model, model.get('backbone') or {}):
        for key in part.keys() & {'pretrained', 'init_cfg'}:
            part[key] = None
    with DefaultScope.overwrite_default_scope(config.get('default_scope')):
        built: nn.Module = MODELS.build(model)
    return built


def load_strictly(model: nn.Module, state_dict: Mapping[str, Any]) -> None:
    """Load weights whose names and shapes are exactly those of the model, units aside.

    Args:
        model (nn.Module): Takes the widths and the values, in place.
        state_dict (Mapping[str, Tensor]): What a checkpoint holds.

    Raises:
        RuntimeError: Naming the first tensor that is missing, left over, or of another shape.
    """
    weights = {name.removeprefix('module.'): tensor for name, tensor in state_dict.items()}
    check_fit(model, weights, '', required=True)
    model.load_state_dict(weights, strict=False)  # num_batches_tracked may be missing

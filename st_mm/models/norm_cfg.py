"""The ``norm_cfg`` of a block, a network or a neck."""

from collections.abc import Mapping
from typing import Any

from mmengine.registry import MODELS

from st_mm.arguments import settings


def norm_or(norm_cfg: Any, default: Mapping[str, Any]) -> dict[str, Any]:
    """Check the config of norm layers.

    Args:
        norm_cfg (dict, optional): ``type`` and arguments.
        default (Mapping): What holds if it is None.

    Returns:
        dict: The config of a norm that is registered.

    Raises:
        ValueError: If it is something else.
    """
    if settings('norm_cfg', norm_cfg) is None:
        return dict(default)
    kind = norm_cfg['type']
    if isinstance(kind, str) and MODELS.get(kind) is None:
        raise ValueError(f'norm_cfg must name a registered norm such as BN, got {norm_cfg!r}')
    return dict(norm_cfg)

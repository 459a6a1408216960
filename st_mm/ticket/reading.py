"""Reading a checkpoint file."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from st_mm.files import check_checkpoint
from st_mm.printable import reason
from st_mm.tensors import check_dense


def load_checkpoint(path: str | Path) -> dict[str, Any]:
    """Read a checkpoint file.

    Args:
        path (str | Path): An mm checkpoint, as trained or as published.

    Returns:
        dict: With at least ``meta`` and ``state_dict``.

    Raises:
        FileNotFoundError: If there is no such file.
        ValueError: If the file is truncated, or is not an mm checkpoint.
    """
    check_checkpoint(path)
    try:
        checkpoint = torch.load(path, map_location='cpu', weights_only=True)
    except Exception as error:
        raise ValueError(f'{path} is not a checkpoint that can be read: {reason(error)}') from error
    if not isinstance(checkpoint, dict) or not {'meta', 'state_dict'} <= checkpoint.keys():
        raise ValueError(
            f'{path} is not an mm checkpoint: it needs the entries meta and state_dict'
        )
    if not isinstance(checkpoint['meta'], dict):
        raise ValueError(f'{path} is not an mm checkpoint: its meta is not a dict')
    checkpoint['meta'].pop('config', None)  # mmengine would run it as Python (`Runner.resume`)
    check_dense(checkpoint['state_dict'], str(path))
    return checkpoint


def plain_state(checkpoint: Mapping[str, Any]) -> dict[str, Tensor]:
    """Return the weights of a checkpoint or a state dict, without the prefix of a wrapper."""
    state: Mapping[str, Tensor] = checkpoint.get('state_dict', checkpoint)
    return {name.removeprefix('module.'): tensor for name, tensor in state.items()}

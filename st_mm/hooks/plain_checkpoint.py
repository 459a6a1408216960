"""Checkpoints of plain types, which any ``torch.load`` reads, with or without st_mm.

mmengine pickles its :class:`HistoryBuffer`, numpy scalars and arrays, and methods of one-cycle
schedulers. torch >= 2.6 refuses them unless a program has allowed them, and mm's
``publish_model.py`` has not.
"""

from typing import Any

import numpy as np
from mmengine.logging import HistoryBuffer

HISTORY = 'log_history'


def make_plain(checkpoint: dict[str, Any]) -> None:
    """Replace entries that are not of plain types; the entries themselves are not changed.

    Methods in the state of schedulers are left out, since a scheduler has them anyway.

    Args:
        checkpoint (dict): The checkpoint before it is saved.
    """
    for entry in ('meta', 'message_hub', 'param_schedulers'):
        if entry in checkpoint:
            checkpoint[entry] = _plain(checkpoint[entry])


def restore(checkpoint: dict[str, Any]) -> None:
    """Give mmengine's message hub its buffers back, before it resumes from them."""
    scalars = checkpoint.get('message_hub', {}).get('log_scalars', {})
    for name, entry in scalars.items():
        if isinstance(entry, dict) and HISTORY in entry:
            scalars[name] = HistoryBuffer(**entry)


def _plain(value: Any) -> Any:
    if isinstance(value, dict):
        return type(value)(
            (_plain(key), _plain(entry)) for key, entry in value.items() if not callable(entry)
        )
    if isinstance(value, list | tuple) and not hasattr(value, '_fields'):
        return type(value)(_plain(entry) for entry in value)
    if isinstance(value, np.generic | np.ndarray):  # the dataset_meta of mmpose has arrays
        return value.tolist()
    if isinstance(value, HistoryBuffer):
        history, counts = value.data
        return dict(
            log_history=history.tolist(),
            count_history=counts.tolist(),
            max_length=value.max_length,
        )
    return value

"""``torch.load`` reads the checkpoints that mmengine writes."""

import torch

from .unpickling import checkpoint_globals


def allow_checkpoint_globals() -> None:
    """Let ``torch.load`` read the checkpoints that mmengine writes.

    Cause: since torch 2.6 ``torch.load`` refuses every class it does not know
    (``weights_only=True``), and ``mmengine/runner/checkpoint.py`` does not say otherwise: resume,
    ``load_from``, test and inference fail. :mod:`st_mm.compat.unpickling` says what is allowed.
    """
    if torch.__version__ >= '2.6':  # a TorchVersion: 2.13 is more than 2.6
        torch.serialization.add_safe_globals(checkpoint_globals())

"""Checkpoint files, as mmengine opens them: by name, whole, and without running anything."""

import functools
import logging
from typing import Any

from mmengine.logging import print_log
from mmengine.model import is_model_wrapper
from mmengine.runner import checkpoint as mmengine_checkpoint
from torch import nn

from st_mm.files import check_checkpoint
from st_mm.printable import reason
from st_mm.tensors import check_dense, check_values

from .patched import PATCHED


def check_checkpoint_files() -> None:
    """Let mmengine say which checkpoint it cannot read, and read none that is damaged.

    Cause: ``CheckpointLoader`` (``mmengine/runner/checkpoint.py``) passes on what torch says, which
    does not name the file, and torch does not look at the checksums that it writes. An entry
    ``config`` in the meta is run as Python when a training is resumed (``Runner.resume``, for the
    number of GPUs of mmcv's times), so it is left out.
    """
    loader = mmengine_checkpoint.CheckpointLoader
    load = loader.load_checkpoint.__func__
    if hasattr(load, PATCHED):
        return

    @functools.wraps(load)
    def checked(cls: Any, filename: Any, map_location: Any = None, logger: Any = 'current') -> Any:
        where = str(filename)
        check_checkpoint(where)
        try:
            checkpoint = load(cls, filename, map_location, logger)
        except OSError:
            raise  # names the file
        except Exception as error:
            raise ValueError(
                f'{where} is not a checkpoint that can be read: {reason(error)}'
            ) from error
        if isinstance(checkpoint, dict):
            meta = checkpoint.get('meta', {})
            if not isinstance(meta, dict):
                raise ValueError(f'{where} is not an mm checkpoint: its meta is not a dict')
            meta.pop('config', None)
            if 'state_dict' in checkpoint:
                check_dense(checkpoint['state_dict'], where)
        return checkpoint

    setattr(checked, PATCHED, True)
    loader.load_checkpoint = classmethod(checked)


def check_loaded_values() -> None:
    """Let mmengine refuse weights of another kind than the model's, and NaN and Inf.

    Cause: ``load_state_dict`` (``mmengine/runner/checkpoint.py``) copies what comes: integers into
    floats, NaN, half precision. The score that follows is another one, without a word.
    """
    load = mmengine_checkpoint.load_state_dict
    if hasattr(load, PATCHED):
        return

    @functools.wraps(load)
    def checked(module: nn.Module, state_dict: Any, *args: Any, **kwargs: Any) -> Any:
        bare: Any = module.module if is_model_wrapper(module) else module
        own = (*bare.named_parameters(), *bare.named_buffers())
        if lower := check_values(state_dict, own, 'the checkpoint'):
            print_log(
                f'{len(lower)} tensors of the checkpoint have a lower precision than the model, '
                f"'{lower[0]}' for one",
                'current',
                logging.WARNING,
            )
        return load(module, state_dict, *args, **kwargs)

    setattr(checked, PATCHED, True)
    mmengine_checkpoint.load_state_dict = checked

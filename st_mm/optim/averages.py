"""Averaged weights after a load: ``EMAHook`` follows the shapes that a ticket brings."""

import functools
from typing import Any

from mmengine.hooks import EMAHook

from st_mm.compat.patched import PATCHED
from st_mm.private import refresh_average


def let_averages_follow_loads() -> None:
    """Let ``EMAHook`` start from the weights that training starts from, whatever their shapes.

    Cause: with ``update_buffers`` an averaged model holds a ``state_dict`` made once
    (``mmengine/model/averaged_model.py``), whose tensors are not those of the module any more when
    a load has changed its shapes; and ``EMAHook.before_run`` copies the model before its weights
    are initialized. mmengine's averages copy it again at their first update; ours do not. A
    training with hooks of st_mm sees to both; one without them, such as plain fine-tuning of a
    ticket, would stop at its first iteration, or average weights that were never trained.
    ``import st_mm`` calls this; a second call changes nothing.
    """
    load = EMAHook.after_load_checkpoint
    if hasattr(load, PATCHED):
        return

    @functools.wraps(load)
    def followed(self: EMAHook, runner: Any, checkpoint: dict[str, Any]) -> None:
        load(self, runner, checkpoint)
        refresh_average(self.ema_model)

    start = EMAHook.before_train

    @functools.wraps(start)
    def started(self: EMAHook, runner: Any) -> None:
        ours, theirs = self.src_model.state_dict(), self.ema_model.module.state_dict()
        if not self.ema_model.steps:
            if any(ours[name].shape != tensor.shape for name, tensor in theirs.items()):
                self.before_run(runner)  # copies the model anew
            else:
                self.ema_model.module.load_state_dict(ours)
        start(self, runner)

    setattr(followed, PATCHED, True)
    EMAHook.after_load_checkpoint = followed
    EMAHook.before_train = started


let_averages_follow_loads()

"""InitialCheckpointHook: the weights that training starts from, to rewind to."""

from mmengine.hooks import Hook
from mmengine.registry import HOOKS
from mmengine.runner import Runner

from st_mm.private import resumed
from st_mm.work_dir import INITIAL

from .run_state import RunState, follow_shapes


@HOOKS.register_module()
class InitialCheckpointHook(Hook):
    """Save ``initial.pth`` before the first step (LT-Init, see :class:`~st_mm.rewind.TicketInit`).

    They are as the first iteration sees them: behind a prune at time 0, if there is one. A resumed
    training has the file already.
    """

    priority = 'VERY_LOW'  # behind the hooks that begin the ticket record

    def before_train(self, runner: Runner) -> None:
        """Save the weights as the first iteration will see them."""
        if resumed(runner) or runner.iter:
            return
        if not RunState.of(runner).started:  # else the hooks of the ticket have done so
            follow_shapes(runner)  # EMAHook, which decides what is saved, has copied others
        runner.save_checkpoint(
            runner.work_dir,
            INITIAL,
            save_optimizer=False,
            save_param_scheduler=False,
            meta=dict(epoch=0, iter=0),
            backend_args=dict(backend='atomic'),
        )

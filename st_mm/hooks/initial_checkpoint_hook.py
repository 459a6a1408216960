"""InitialCheckpointHook: saves the weights from which training starts, for rewinding."""

from mmengine.hooks import Hook
from mmengine.registry import HOOKS
from mmengine.runner import Runner

from st_mm.private import resumed
from st_mm.work_dir import INITIAL

from .run_state import RunState, follow_shapes


@HOOKS.register_module()
class InitialCheckpointHook(Hook):
    """Save ``initial.pth`` before the first step (LT-Init, see :class:`~st_mm.rewind.TicketInit`).

    The weights are those of the first iteration: after a prune at time 0, if there is one. A
    resumed training already has the file.
    """

    priority = 'VERY_LOW'  # after the hooks that begin the ticket record

    def before_train(self, runner: Runner) -> None:
        """Save the weights of the first iteration."""
        if resumed(runner) or runner.iter:
            return
        if not RunState.of(runner).started:  # else a hook of the ticket has done this
            follow_shapes(runner)  # EMAHook, whose weights are saved, has copied them too early
        runner.save_checkpoint(
            runner.work_dir,
            INITIAL,
            save_optimizer=False,
            save_param_scheduler=False,
            meta=dict(epoch=0, iter=0),
            backend_args=dict(backend='atomic'),
        )

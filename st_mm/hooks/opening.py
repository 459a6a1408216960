"""What a run does with its files before it begins: lock, tidy, check, write whole."""

import weakref
from collections.abc import Callable

from mmengine.dist import broadcast_object_list, is_main_process
from mmengine.hooks import CheckpointHook
from mmengine.runner import Runner

from st_mm.files import check_checkpoint
from st_mm.private import is_to_resume, is_training, load_from
from st_mm.work_dir import WorkDirLock, read_note, tidy_work_dir


def open_files(runner: Runner) -> None:
    """Refuse an unreadable checkpoint, and have checkpoints written whole or not at all.

    Args:
        runner (Runner): A run that is about to begin.

    Raises:
        BlockingIOError: If another process trains in the work dir.
        FileNotFoundError: If the checkpoint to load is missing.
        ValueError: If it is damaged, or ``last_checkpoint`` does not name one.
    """
    if is_training(runner):
        together(lambda: WorkDirLock.take(runner.work_dir))
        weakref.finalize(runner, WorkDirLock.release, runner.work_dir)
    if path := load_from(runner):
        check_checkpoint(path)
    elif is_to_resume(runner):
        together(lambda: tidy_work_dir(runner.work_dir))
        if latest := read_note(runner.work_dir):
            _check_address(runner, latest)
            check_checkpoint(latest)
        else:
            runner.logger.warning(
                f'there is no checkpoint in {runner.work_dir} to resume from: the training begins'
            )
    for hook in _checkpoint_hooks(runner):
        local = hook.out_dir is None or '://' not in str(hook.out_dir)
        if local and hook.backend_args is None and hook.file_client_args is None:
            hook.backend_args = dict(backend='atomic')


def _checkpoint_hooks(runner: Runner) -> list[CheckpointHook]:
    return [hook for hook in runner.hooks if isinstance(hook, CheckpointHook)]


def _check_address(runner: Runner, latest: str) -> None:
    """Refuse an address where this run does not write its checkpoints."""
    folders = [str(hook.out_dir) for hook in _checkpoint_hooks(runner) if hook.out_dir]
    if '://' in latest and not latest.startswith(tuple(folders)):
        raise ValueError(
            f'last_checkpoint in {runner.work_dir} names {latest}, which is not in the out_dir of '
            'this run: remove it, or give the checkpoint by load_from'
        )


def together(work: Callable[[], None]) -> None:
    """Let the main process do something, and every process know if it fails.

    Args:
        work (Callable): What only one process may do.

    Raises:
        OSError | ValueError: In every process, if it raises one in the main process.
    """
    failed: list[OSError | ValueError | None] = [None]
    if is_main_process():
        try:
            work()
        except (OSError, ValueError) as error:
            failed = [error]
    broadcast_object_list(failed)
    if failed[0] is not None:
        raise failed[0]

"""What the command lines that train and test have in common."""

import argparse
import os

from mmengine import Config, DictAction
from mmengine.runner import Runner

import st_mm  # noqa: F401 - the runtime fixes, before any mm library is imported
from st_mm.hub import config_or_path
from st_mm.work_dir import has_checkpoint


def parser(description: str) -> argparse.ArgumentParser:
    """Arguments that mm's own tools have, and that mim passes on."""
    arguments = argparse.ArgumentParser(description=description)
    arguments.add_argument(
        'config', help='a config of mmseg, mmpose or mmpretrain, or the name of one of ours'
    )
    arguments.add_argument('--work-dir', help='for logs and checkpoints (work_dirs/CONFIG)')
    arguments.add_argument(
        '--cfg-options', nargs='+', action=DictAction, help='changes of the config: key=value ...'
    )
    arguments.add_argument(
        '--launcher', choices=['none', 'pytorch', 'slurm', 'mpi'], default='none'
    )
    arguments.add_argument('--local_rank', '--local-rank', type=int, default=0)
    return arguments


def build_runner(args: argparse.Namespace, resume: str | None = None, **changes: object) -> Runner:
    """Build the runner of a config, as changed on the command line and by keyword.

    Args:
        args (argparse.Namespace): What :func:`parser` has parsed.
        resume (str, optional): A checkpoint to go on from; ``'auto'`` for the last one of the work
            dir, where there is one: else the run begins, with ``load_from`` if the config says so.
        **changes: Top-level fields of the config.
    """
    os.environ.setdefault('LOCAL_RANK', str(args.local_rank))
    config = Config.fromfile(config_or_path(args.config))
    config.launcher = args.launcher
    if args.cfg_options:
        config.merge_from_dict(args.cfg_options)
    name = os.path.splitext(os.path.basename(args.config))[0]
    config.work_dir = args.work_dir or config.get('work_dir') or os.path.join('work_dirs', name)
    config.update(changes)
    if resume and resume != 'auto':
        config.update(resume=True, load_from=resume)
    elif resume and has_checkpoint(config.work_dir):
        config.update(resume=True, load_from=None)
    return Runner.from_cfg(config)

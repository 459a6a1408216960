"""What the hooks log: figures in the training lines, and events beside them.

mm's own log tools take every line of ``scalars.json`` that is not of the training for a
validation. So events go to a file of their own there, and to every other backend as they are.
"""

import json
from pathlib import Path
from typing import Any

from mmengine.dist import is_main_process
from mmengine.runner import Runner

from st_mm.private import local_folder, vis_backends

EVENTS = 'events.json'  # beside scalars.json: a JSON object a line, as there


def log_scalars(runner: Runner, scalars: dict[str, Any]) -> None:
    """Show scalars, by tag, in every following line of the training log and its backends."""
    for tag, value in scalars.items():
        runner.message_hub.update_scalar(f'train/{tag}', value)


def log_event(runner: Runner, scalars: dict[str, Any], iteration: int) -> None:
    """Give every backend the figures of an event, by tag.

    Args:
        runner (Runner): The run.
        scalars (dict): Figures by tag.
        iteration (int): Iterations done.
    """
    if not is_main_process():
        return
    for backend in vis_backends(runner.visualizer):
        folder = local_folder(backend)
        if folder is None:
            backend.add_scalars(scalars, iteration)
        else:
            _append(folder / EVENTS, {**scalars, 'step': iteration})


def _append(path: Path, line: dict[str, Any]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with open(path, 'a', encoding='utf-8') as file:
        file.write(json.dumps(line) + '\n')

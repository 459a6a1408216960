"""The rooms of st_mm: which may know which. Arrows run one way, so there is no circle."""

import ast
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parents[1] / 'st_mm'

# from the ground up: a floor imports those below it, and no neighbour unless it says so
FLOORS = (
    ('version', 'requirements', 'arguments', 'private', 'printable', 'tensors'),
    ('compat', 'config_path', 'files'),
    ('units', 'measure', 'calibration', 'trainable', 'work_dir', 'hub'),
    ('models', 'optim'),
    ('search', 'prune'),
    ('ticket', 'rewind', 'transfer', 'distillation'),
    ('hooks', 'deploy'),
    ('analysis', 'command_line'),
)
# rooms of one floor that may know each other: from -> to
NEIGHBOURS = {
    ('calibration', 'measure'),
    ('calibration', 'trainable'),
    ('trainable', 'units'),
    ('units', 'measure'),
    ('work_dir', 'files'),
    ('compat', 'files'),
    ('tensors', 'printable'),
    ('rewind', 'ticket'),
    ('transfer', 'ticket'),
    ('rewind', 'transfer'),
}
FORMER = {'st_mm/models/stock.py', 'st_mm/models/units.py'}
# the training loop is known to the hooks and to what names the Runner's private members
RUNNER_FREE = ('units', 'measure', 'calibration', 'models', 'search', 'prune')

LEVEL = {room: level for level, rooms in enumerate(FLOORS) for room in rooms}


def files() -> list[Path]:
    return sorted(
        path
        for path in PACKAGE.rglob('*.py')
        if '.mim' not in path.parts and path.relative_to(PACKAGE.parent).as_posix() not in FORMER
    )


def room_of(path: Path) -> str:
    first = path.relative_to(PACKAGE).parts[0]
    return first.removesuffix('.py')


def imports(path: Path) -> set[str]:
    """Full names of the modules that a file imports, wherever in it."""
    package = ('st_mm', *path.relative_to(PACKAGE).parts[:-1])
    found = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            base = package[: len(package) - node.level + 1] if node.level else ()
            name = '.'.join([*base, *([node.module] if node.module else [])])
            found |= {name} | {f'{name}.{alias.name}' for alias in node.names}
    return found


def rooms_imported(path: Path) -> set[str]:
    parts = [name.split('.') for name in imports(path)]
    return {names[1] for names in parts if names[0] == 'st_mm' and len(names) > 1}


@pytest.mark.parametrize('path', files(), ids=lambda p: str(p.relative_to(PACKAGE)))
def test_arrows_run_one_way(path) -> None:
    room = room_of(path)
    if room == '__init__':
        return
    assert room in LEVEL, f'{room} has no floor: give it one in this test, and in CONTRIBUTING.md'
    for other in rooms_imported(path) & LEVEL.keys() - {room}:
        below = LEVEL[other] < LEVEL[room]
        assert below or (room, other) in NEIGHBOURS, f'{room} must not know {other}'


def test_there_is_no_circle_of_rooms() -> None:
    arrows = {
        (room_of(path), other)
        for path in files()
        for other in rooms_imported(path) & LEVEL.keys()
        if room_of(path) not in (other, '__init__')
    }
    assert arrows
    left = {room for arrow in arrows for room in arrow}
    while ends := {room for room in left if not any((room, other) in arrows for other in left)}:
        left -= ends
    assert not left, f'these know each other in a circle: {sorted(left)}'


def test_the_walls_see_what_they_should() -> None:
    """The test itself: the rooms that must know each other do."""
    seen = {room: set() for room in LEVEL}
    for path in files():
        seen.setdefault(room_of(path), set()).update(rooms_imported(path))
    assert {'units', 'measure'} <= seen['search']
    assert 'calibration' in seen['prune']
    assert {'search', 'prune', 'ticket', 'calibration'} <= seen['hooks']
    assert not {'analysis', 'tools'} & seen['hooks']
    assert 'prune' not in seen['search']
    assert 'search' not in seen['prune']


@pytest.mark.parametrize('room', RUNNER_FREE)
def test_no_runner_below_the_hooks(room) -> None:
    for path in files():
        if room_of(path) == room:
            used = {name for name in imports(path) if name.startswith('mmengine.runner')}
            assert used <= {'mmengine.runner', 'mmengine.runner.load_checkpoint'}, path
            assert 'mmengine.runner.Runner' not in imports(path), path
            assert not any(name.startswith('mmengine.hooks') for name in imports(path)), path


def test_nothing_private_of_the_runner_elsewhere() -> None:
    private = {'_load_from', '_resume', '_has_loaded', '_train_loop', '_maybe_compile'}
    for path in files():
        if room_of(path) == 'private':
            continue
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Attribute):
                assert node.attr not in private | {'avg_parameters'}, f'{path}:{node.lineno}'

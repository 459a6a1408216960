"""The kinds of toy sets know the brushes, and not each other."""

import ast
from pathlib import Path

import pytest

TOYS = Path(__file__).parents[3] / 'tools' / 'toy_data'
KINDS = ('streets', 'people', 'shapes')


def imported(file: Path) -> set[str]:
    """Rooms of the toy data that a file imports from."""
    rooms = set()
    for node in ast.walk(ast.parse(file.read_text())):
        names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
        if isinstance(node, ast.ImportFrom):
            below = file.parent.name if node.level else ''
            names = [f'toy_data.{below}'] if below else [node.module or '']
            names += [f'{names[0]}.{alias.name}' for alias in node.names]
        rooms |= {name.split('.')[1] for name in names if name.startswith('toy_data.')}
    return rooms


@pytest.mark.parametrize('room', [*KINDS, 'brushes'])
def test_what_a_room_imports(room: str) -> None:
    files = sorted((TOYS / room).glob('*.py'))
    found = set().union(*map(imported, files))
    assert not (found & set(KINDS)) - {room}
    assert ('brushes' in found) == (room != 'brushes')

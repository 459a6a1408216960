"""What only Unix has is imported where it is used; what `make test-*` names is there."""

import ast
import re
from pathlib import Path

ROOT = Path(__file__).parents[1]
UNIX_ALONE = {'fcntl', 'grp', 'pwd', 'pty', 'resource', 'termios', 'tty'}
ON_RAY = {'tools/run_matrix.py', 'tools/matrix/task.py'}  # for clusters, which run Linux


def imported_at_once(path: Path) -> set[str]:
    """Names of the modules that a file imports as soon as it is imported itself."""
    found = set()
    for node in ast.parse(path.read_text(encoding='utf-8')).body:
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            found.add(node.module)
    return found


def test_nothing_of_unix_at_import() -> None:
    found = {
        path.relative_to(ROOT).as_posix()
        for folder in ('st_mm', 'tools')
        for path in (ROOT / folder).rglob('*.py')
        if '.mim' not in path.parts and imported_at_once(path) & UNIX_ALONE
    }
    assert found == ON_RAY


def test_the_subset_of_make_is_there() -> None:
    lines = (ROOT / 'Makefile').read_text(encoding='utf-8').replace('\\\n', ' ')
    [subset] = re.findall(r'^SUBSET := (.*)$', lines, re.MULTILINE)
    names = subset.split()
    assert len(names) > 5
    assert [name for name in names if not (ROOT / name).exists()] == []

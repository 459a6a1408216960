"""What tests of the tools ask about processes that they have not started themselves."""

from collections.abc import Callable
from pathlib import Path

import pytest


@pytest.fixture
def gone() -> Callable[[int], bool]:
    """Whether a process has ended; one that only waits for its parent to notice has."""

    def ended(pid: int) -> bool:
        try:
            return Path(f'/proc/{pid}/stat').read_text().rpartition(')')[2].split()[0] == 'Z'
        except (FileNotFoundError, ProcessLookupError):  # before, or while it is read
            return True

    return ended

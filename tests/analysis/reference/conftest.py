"""A small comparison, counted once."""

from dataclasses import replace

import pytest

from st_mm.analysis.reference import TASKS, Counted, Task, compare_models

SMALL = ('ShuffleNetV1, 1.0x', 'ShuffleNetV2, 1.0x', 'MobileNetV2', 'SuperTickets, 50 %')


@pytest.fixture(scope='package')
def small() -> Task:
    imagenet = TASKS['imagenet']
    return replace(imagenet, rows=tuple(row for row in imagenet.rows if row.name in SMALL))


@pytest.fixture(scope='package')
def counted(small: Task) -> list[Counted]:
    return compare_models(small)

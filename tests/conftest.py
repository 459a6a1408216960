"""Markers and seeds for every test."""

import os
import random
from pathlib import Path

import numpy as np
import pytest
import torch

REPO = Path(__file__).parents[1]
SHARED = Path(os.environ.get('ST_MM_SHARED_DIR', REPO.parent / 'shared'))


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    skips = {}
    if not SHARED.is_dir():
        reason = f'needs the data in {SHARED} (or in $ST_MM_SHARED_DIR)'
        skips['data'] = pytest.mark.skip(reason=reason)
    if not torch.cuda.is_available():
        skips['gpu'] = pytest.mark.skip(reason='needs a CUDA device')
    for item in items:
        for marker, skip in skips.items():
            if marker in item.keywords:
                item.add_marker(skip)


@pytest.fixture(autouse=True)
def _seed() -> None:
    random.seed(0)
    np.random.seed(0)
    torch.manual_seed(0)

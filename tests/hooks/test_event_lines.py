"""Lines of the log that a newcomer understands, and that the reader of logs finds."""

import pytest

from st_mm.analysis.log import Event, read_line
from st_mm.hooks.event_lines import (
    prune_line,
    reactivate_line,
    reap_line,
    refit_line,
    search_line,
)


@pytest.mark.parametrize(
    ('line', 'said'),
    [
        (search_line('epoch 2', 0, 0, 1e5, 2448, 272_019_456), 'search at epoch 2: no dead units'),
        (
            search_line('epoch 4', 1, 12_345.0, 1e5, 2448, 272_019_456),
            'search at epoch 4: 1 dead unit found, but not removed: 12,345 MACs are fewer '
            'than min_macs_drop, 100,000',
        ),
        (
            search_line('epoch 12', 140, 46_809_088.0, 1e5, 2308, 225_210_368),
            'search at epoch 12: 140 dead units removed, 46,809,088 MACs; 2,308 units, '
            '225,210,368 MACs stay',
        ),
        (
            prune_line('iter 200', 0.1, 0.900002, 24_759, 0.9),
            'prune at iter 200 to a ratio of 0.1: density 0.9000, 24,759 masks changed (IoU 0.900)',
        ),
        (
            prune_line('iter 8', 0.8, 0.2, 1, 0.9, ['stem.weight']),
            'prune at iter 8 to a ratio of 0.8: density 0.2000, 1 mask changed (IoU 0.900); masked '
            'whole now: stem.weight',
        ),
        (
            refit_line('iter 8', 0.8, 0.2, 1, 0.9, list('abcde')),
            'masks fitted again at iter 8 to a ratio of 0.8: density 0.2000, 1 mask changed '
            '(IoU 0.900); masked whole now: a, b, c and 2 more',
        ),
        (
            reap_line('epoch 9', 2, 40, 0.875),
            'reap at epoch 9: 2 empty units of 40 removed, 0.8750 of the weights that stay are '
            'masked',
        ),
        (
            refit_line('epoch 26', 0.9, 0.1, 0, 1.0),
            'masks fitted again at epoch 26 to a ratio of 0.9: density 0.1000, no mask changed '
            '(IoU 1.000)',
        ),
        (
            reactivate_line('epoch 12', 108_459, 0.993646),
            'reactivate at epoch 12: 108,459 weights set free, density 0.9936',
        ),
    ],
    ids=lambda value: value.partition(':')[0].replace(' ', '-') if ':' in value else '',
)
def test_a_line(line: str, said: str) -> None:
    assert line == said
    assert read_line(f'2026/11/25 08:31:28 - mmengine - INFO - {line}') == Event(line)

"""Latencies that were measured before, as tables."""

import json
from pathlib import Path

import pytest

from st_mm.analysis.latency import latency_tables, read_latency

TIMES = dict(threads=1, speedup=1.0, cpu_median=3.04, cpu_p95=4.0, wall_median=5.0, wall_p95=6.0)
FIGURES = dict(
    conditions=dict(size=[8, 16], threads=1),
    base=['ticket', 'engine'],
    macs={name: dict(structural=2e9, nonzero=5e8) for name in ('supernet', 'ticket')},
    rows=[
        dict(network='supernet', runtime='eager', ratio=9.5, **TIMES),
        dict(network='ticket', runtime='engine', ratio=1.0, **TIMES),
    ],
    compaction={'ticket': dict(units=4, dead=4, frame=0, weights_before=9, weights_after=7)},
    not_measured=['openvino: not installed'],
)


def test_tables(tmp_path: Path) -> None:
    path = tmp_path / 'latency.json'
    path.write_text(json.dumps(FIGURES))
    ratios, compaction, times = latency_tables(read_latency(path))
    assert ratios.header == ('', 'GMACs', 'nonzero', 'eager', 'engine')
    assert ratios.rows[0] == ('supernet', '2.00', '0.50', '9.50', '-')
    assert ratios.title == 'Process time over that of ticket in engine, 8x16'
    assert 'every hidden unit is dead' in compaction.notes[1]
    assert times.rows[1] == ('ticket', 'engine', '1', '3.0', '4.0', '5.0', '6.0')
    assert times.notes[-1] == 'openvino: not installed'


def test_what_more_threads_bring() -> None:
    two = {**FIGURES['rows'][1], 'threads': 2, 'speedup': 1.5}
    _, threads, *_ = latency_tables({**FIGURES, 'rows': [*FIGURES['rows'], two]})
    assert threads.header == ('', 'runtime', '1 threads', '2 threads')
    assert threads.rows == (
        ('supernet', 'eager', '1.00', '-'),
        ('ticket', 'engine', '1.00', '1.50'),
    )


def test_runtimes_in_the_order_and_words_of_the_tool() -> None:
    words = dict(engine='ours', ort='ONNX', eager='PyTorch')
    ratios, _, times = latency_tables(FIGURES, words)
    assert ratios.header[3:] == ('engine', 'eager')
    assert {'engine: ours', 'eager: PyTorch'} <= set(times.notes)


@pytest.mark.parametrize(
    'figures',
    [
        'text',
        [],
        {},
        dict(FIGURES, rows=[dict(network='ticket')]),
        dict(FIGURES, conditions={}),
        dict(FIGURES, macs={}),
        dict(FIGURES, base=[1, 2]),
        dict(FIGURES, not_measured=[3]),
        dict(FIGURES, compaction={'ticket': 3}),
    ],
    ids=str,
)
def test_another_file_is_refused(figures: object, tmp_path: Path) -> None:
    path = tmp_path / 'latency.json'
    path.write_text(json.dumps(figures))
    with pytest.raises(ValueError, match=r'latency\.json does not hold the figures of latency'):
        read_latency(path)


def test_a_file_that_is_no_json(tmp_path: Path) -> None:
    path = tmp_path / 'latency.json'
    path.write_bytes(b'\xff\xfe{')
    with pytest.raises(ValueError, match='does not hold the figures'):
        read_latency(path)

"""Curves from logs as mmengine writes them."""

import json
from pathlib import Path

import pytest
import torch

from st_mm.analysis.curves import Event, Record, build_curves, read_curves
from st_mm.ticket import Ticket

N = 10  # iterations per epoch of the logs


def write(work_dir: Path, timestamp: str, lines: list[dict]) -> Path:
    path = work_dir / timestamp / 'vis_data' / 'scalars.json'
    path.parent.mkdir(parents=True)
    path.write_text(''.join(json.dumps(line) + '\n' for line in lines))
    return path


def test_time_runs_in_epochs(curves):
    assert curves.unit == 'epoch'
    assert curves.loss.x == (0.4, 0.8, 1.4, 1.8, 2.4, 2.8, 3.4, 3.8)
    assert curves.metric == 'mIoU'
    assert (curves.score.x, curves.score.y) == ((1, 2, 3, 4), (10, 20, 30, 40))


def test_events_and_what_they_change(curves):
    assert curves.events == (
        Event('prune', 2, density=0.8),
        Event('search', 3),
        Event('reactivate', 3, density=1.0),
        Event('prune', 4, density=0.6),
    )
    # not what the training lines repeat after the weights were set free
    assert (curves.density.x, curves.density.y) == ((0.4, 2, 3, 4), (1.0, 0.8, 1.0, 0.6))
    assert dict(zip(curves.units.x, curves.units.y, strict=True))[3] == 60


def test_a_resumed_run_replaces_what_it_repeats(tmp_path, log):
    write(tmp_path, '20260101_000000', log(1, 4, 2.0))
    write(tmp_path, '20260102_000000', log(4, 6, 1.0, density=0.8, units=60))
    joined = read_curves(tmp_path)

    assert joined.name == tmp_path.name
    assert joined.loss.x == tuple(e + inner for e in range(6) for inner in (0.4, 0.8))
    assert joined.loss.y == (2.0,) * 6 + (1.0,) * 6
    assert joined.score.x == (1, 2, 3, 4, 5, 6)
    assert [(event.kind, event.x) for event in joined.events] == [
        ('prune', 2), ('search', 3), ('reactivate', 3), ('prune', 4), ('prune', 6),
    ]  # fmt: skip


def test_the_newest_checkpoint_names_the_events(tmp_path, log):
    write(tmp_path, '20260101_000000', log(1, 4, 2.0))
    events = [
        dict(kind='search', unit='epoch', t=1, removed=0, units=90),
        dict(kind='prune', unit='epoch', t=3, ratio=0.5, density=0.5),
    ]
    meta = dict(epoch=3, iter=3 * N, ticket=Ticket(events=events).to_meta())
    torch.save(dict(meta=meta, state_dict={}), tmp_path / 'epoch_3.pth')

    assert read_curves(tmp_path).events == (
        Event('search', 1, taken=False),
        Event('prune', 3, density=0.5),
        Event('prune', 4, density=0.6),  # logged after the checkpoint
    )


def test_time_in_iterations():
    lines = [
        {'loss': 1.0, 'iter': 50, 'step': 50},
        {'prune/ratio': 0.1, 'prune/density': 0.9, 'step': 60},
        {'loss': 0.5, 'iter': 100, 'step': 100},
        {'accuracy/top1': 70.0, 'step': 100},
    ]
    curves = build_curves('run', [lines])

    assert (curves.unit, curves.metric) == ('iteration', 'accuracy/top1')
    assert (curves.loss.x, curves.score.x) == ((50, 100), (100,))
    assert curves.events == (Event('prune', 60, density=0.9),)


def test_validations_stepped_by_iteration_are_put_on_the_epochs(log):
    lines = [
        {**line, 'step': N * line['step']} if 'mIoU' in line else line for line in log(1, 4, 2)
    ]

    assert build_curves('run', [lines]).score.x == (1, 2, 3, 4)


def test_the_iterations_of_a_record_come_first():
    lines = [dict(loss=1.0, epoch=1, iter=4, step=4)]

    assert build_curves('run', [lines], Record(None, 2, 2 * N)).loss.x == (0.4,)


def test_a_line_cut_off_by_a_kill_is_left_out(tmp_path, log):
    path = write(tmp_path, '20260101_000000', log(1, 2, 2.0))
    path.write_text(path.read_text() + '{"loss": 1.')

    assert len(read_curves(path).loss.x) == 4


@pytest.mark.parametrize('content', ['hello\nworld\n', '[1]\n', ''])
def test_other_files_are_refused(tmp_path, content):
    path = tmp_path / 'scalars.json'
    path.write_text(content)
    with pytest.raises(ValueError, match=r'not a scalars file|no training loss'):
        read_curves(path)


def test_a_folder_without_logs_is_refused(tmp_path):
    with pytest.raises(FileNotFoundError, match=r'scalars\.json'):
        read_curves(tmp_path)


def test_events_have_a_file_beside_the_scalars(tmp_path, log):
    lines = log(1, 4, 2.0)
    events = [line for line in lines if 'loss' not in line and any('/' in name for name in line)]
    events = [line for line in events if not any(name.startswith('mIoU') for name in line)]
    together = read_curves(write(tmp_path, '20260101_000000', lines))
    scalars = write(tmp_path, '20260102_000000', [line for line in lines if line not in events])
    assert not read_curves(scalars).events
    text = ''.join(json.dumps(line) + '\n' for line in events)
    scalars.with_name('events.json').write_text(text)
    assert read_curves(scalars).events == together.events

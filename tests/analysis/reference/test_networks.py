"""Published figures have a source; those of the paper are the paper's."""

import pytest

from st_mm.analysis.paper import RESULTS
from st_mm.analysis.reference import SOURCES, TASKS, find_config

EVERY_ROW = [(task, row) for task in TASKS.values() for row in task.rows]
MAIN_METRIC = dict(imagenet='top-1', cityscapes='mIoU', ade20k='mIoU', coco='AP')
DATASETS = dict(imagenet='ImageNet', cityscapes='Cityscapes', ade20k='ADE20K', coco='COCO')


@pytest.mark.parametrize(('task', 'row'), EVERY_ROW, ids=[row.name for _, row in EVERY_ROW])
def test_rows(task, row):
    for figures in row.published:
        assert figures.source in SOURCES
        assert figures.score is None or 0 < figures.score < 100
    assert [other.name for other in task.rows].count(row.name) == 1 or row.config is None
    if row.config is None:
        assert row.published
        assert all(figures.source.startswith('Table ') for figures in row.published)
    else:
        assert find_config(row.config).is_file()


@pytest.mark.parametrize('name', TASKS)
def test_every_line_of_the_papers_comparison_has_its_row(name):
    """Tables 3-6 are there as a whole, each score with its size."""
    shown = {
        (said.params, said.macs, said.score) for row in TASKS[name].rows for said in row.published
    }
    lines = [r for r in RESULTS if r.dataset == DATASETS[name] and 3 <= r.table <= 6]
    assert lines
    for line in lines:
        assert (line.params, line.macs, line.scores[MAIN_METRIC[name]]) in shown, line


def test_ratios_are_those_that_the_paper_states():
    [ticket] = [r for r in TASKS['coco'].rows if r.name == 'SuperTickets, 80 %']
    assert [(said.score, said.source) for said in ticket.published] == [(61.02, 'Table 1')]
    for name in ('ade20k', 'coco'):
        [unnamed] = [row for row in TASKS[name].rows if row.name == 'SuperTickets']
        assert 'does not say at which ratio' in unnamed.note
    [twice] = [r for r in TASKS['cityscapes'].rows if r.name == 'S+P (Mag.) w/ RT, 90 %']
    assert [said.score for said in twice.published] == [51.03, 60.76]

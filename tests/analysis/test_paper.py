"""The paper's tables are copied right, and agree with each other where the paper does."""

import os
import re
from itertools import pairwise
from pathlib import Path

import pytest

from st_mm.analysis.paper import RESULTS, RETRAINED, TICKET, contradictions, find_results

ROOT = Path(__file__).parents[2]
SHARED = Path(os.environ.get('ST_MM_SHARED_DIR', ROOT.parent / 'shared'))
CELL = re.compile(r'(?<![\w.])(\d+(?:\.\d+)?)(?![\w%])')
SIZE = re.compile(r'(\d+(?:\.\d+)?)([MG])\b')
UNITS = {'M': 1e6, 'G': 1e9}
LINES_PER_TABLE = {1: 14, 2: 9, 3: 8, 4: 8, 5: 5, 6: 5, 7: 16, 8: 6, 9: 10, 10: 5}


@pytest.fixture(scope='module')
def sections() -> dict[int, str]:
    """What the page of figures beside the project says, by table."""
    text = (SHARED / 'PAPER.md').read_text(encoding='utf-8')
    parts = re.split(r'^## Tables? (\d+)(?:-(\d+))?: ', text, flags=re.MULTILINE)[1:]
    found = {}
    for first, last, body in zip(parts[::3], parts[1::3], parts[2::3], strict=True):
        body = body.partition('\n## ')[0]
        found |= dict.fromkeys(range(int(first), int(last or first) + 1), body)
    return found


def test_every_table_has_its_lines() -> None:
    counts = {n: sum(result.table == n for result in RESULTS) for n in LINES_PER_TABLE}
    assert counts == LINES_PER_TABLE
    assert len(RESULTS) == sum(counts.values())


@pytest.mark.data
def test_figures_are_those_of_the_page(sections) -> None:
    for result in RESULTS:
        rows = [row.replace('*', '') for row in re.split(r'\n| · ', sections[result.table])]
        wanted = list(result.scores.values())
        found = [row for row in rows if contains([float(n) for n in CELL.findall(row)], wanted)]
        assert found, result
        sizes = {float(n) * UNITS[unit] for row in found for n, unit in SIZE.findall(row)}
        if result.table == 7:  # it has the sizes in a row of their own
            sizes = {float(n) * UNITS[unit] for row in rows for n, unit in SIZE.findall(row)}
        for size in (result.params, result.macs):
            assert size is None or any(size == pytest.approx(each) for each in sizes), result


def contains(row: list[float], wanted: list[float]) -> bool:
    """Whether the numbers stand in a row one after the other."""
    return any(row[i : i + len(wanted)] == wanted for i in range(len(row)))


def test_units() -> None:
    for result in RESULTS:
        percents = [score for name, score in result.scores.items() if name not in ('fps', 'ms')]
        assert all(0 < score <= 100 for score in percents), result
        assert result.ratio is None or 0 < result.ratio < 1, result
        assert result.params is None or 1e5 <= result.params < 1e7, result
        assert result.macs is None or 1e8 <= result.macs < 1e11, result


def test_gains_are_those_of_the_text() -> None:
    """PP adds 8.05 mIoU and 1.76 AP, IR-S 2.72 and 0.88, retraining 0.56 and 0.46."""
    steps = ('2-in-1', '2-in-1 + PP', TICKET, RETRAINED)
    gains = {
        ('Cityscapes', 'mIoU', 0.9): (8.05, 2.72, 0.56),
        ('COCO', 'AP', 0.8): (1.76, 0.88, 0.46),
    }
    for (dataset, metric, ratio), expected in gains.items():
        scores = [find_results(dataset, step, ratio, table=1)[0].scores[metric] for step in steps]
        found = [after - before for before, after in pairwise(scores)]
        assert found == pytest.approx(expected, abs=1e-9)


def test_where_the_paper_contradicts_itself() -> None:
    found = {
        (first.dataset, first.method, first.table, second.table)
        for first, second in contradictions()
    }
    assert found == {
        ('Cityscapes', 'S+P (Mag.) w/ RT', 1, 2),  # mIoU 51.03 and 60.76
        ('Cityscapes', TICKET, 1, 9),  # mAcc and aAcc in Table 9 are those of the retrained ticket
        ('Cityscapes', TICKET, 7, 9),
    }


def test_lookup() -> None:
    both = find_results('Cityscapes', 'S+P (Mag.) w/ RT', 0.9)
    assert [(result.table, result.scores['mIoU']) for result in both] == [(1, 51.03), (2, 60.76)]
    [transferred] = find_results('Cityscapes', TICKET, 0.9, table=2, origin='ADE20K')
    assert transferred.scores['mIoU'] == 62.91
    with pytest.raises(KeyError, match=r'no SuperTickets on COCO at a ratio of 0\.9'):
        find_results('COCO', TICKET, 0.9)

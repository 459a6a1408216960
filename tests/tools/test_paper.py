"""The page of the paper's tables and figures is what the files of results say."""

import json
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
TOOL = ROOT / 'tools' / 'paper.py'
sys.path.insert(0, str(TOOL.parent))  # where Python finds the modules of a tool

import paper  # noqa: E402
from paper_sections import SECTIONS, Section  # noqa: E402

RATIOS = (0.5, 0.9)


def test_the_page_is_up_to_date() -> None:
    done = subprocess.run([sys.executable, TOOL, '--check'], capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr


def test_no_table_or_figure_is_missing() -> None:
    names = ' '.join(section.name for section in SECTIONS)
    for word, last, first in (('Table', 10, 1), ('Figure', 12, 2)):
        found = set()
        for one, joint, two in re.findall(rf'{word}s? (\d+)(?: (and|to) (\d+))?', names):
            found |= set(range(int(one), int(two) + 1)) if joint == 'to' else {int(one)}
            found |= {int(two)} if two else set()
        assert found == set(range(first, last + 1)), word


def test_what_commands_name_is_there() -> None:
    for section in SECTIONS:
        for command in (*section.published, *section.small):
            for name in re.findall(r'(?:configs|tools)/\S+\.py', command):
                assert (ROOT / name).is_file(), f'{section.name}: {name}'


@pytest.fixture
def results(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Two rows of a matrix, measured at two ratios."""
    cost = dict(params=1000, macs=2000)
    weights = dict(total=100, kept=10, density=0.1)
    totals = dict(weights=weights, structural=cost, nonzero=cost)
    rows = [
        dict(label=label, ratio=ratio, seed=0, metrics=dict(mIoU=score), totals=totals)
        for ratio in RATIOS
        for label, score in (('one', 12.345), ('two', 23.456))
    ]
    found = dict(matrix='configs/x.py', metric='mIoU', rows=rows, trainings={})
    folder = tmp_path / 'results' / 'data' / 'matrix'
    folder.mkdir(parents=True)
    (folder / 'results.json').write_text(json.dumps(found))
    (folder / 'reading.md').write_text('Two is better.\n')
    monkeypatch.setattr(paper, 'ROOT', tmp_path)
    monkeypatch.setattr(paper, 'RESULTS_FOLDER', tmp_path / 'results')
    places = ('data/matrix', 'other/matrix')
    section = Section('Table 1', 'What it shows.', results=places, tables=(1,))
    monkeypatch.setattr(paper, 'SECTIONS', (section,))
    return folder


def test_what_has_been_run_comes_in(results: Path) -> None:
    page = paper.page()
    assert 'Two is better.' in page
    assert page.count('12.35') == page.count('23.46') == len(RATIOS)
    assert '| Cityscapes | SuperTickets w/ RT | 0.9 | 67.17 |' in page
    # the paper's own costs, and what another of its tables says of the same row
    assert '| Cityscapes | S+P (Mag.) w/ RT | 0.9 | 51.03 | 59.61 | 90.88 |' in page
    assert 'S+P (Mag.) w/ RT on Cityscapes: Table 2 has mIoU 60.76' in page
    assert 'not run' not in page
    assert 'Not run here: other.' in page
    assert 'Published recipe: none yet.' in page
    shutil.rmtree(results)
    assert 'Here: not run.' in paper.page()


def test_a_training_that_two_matrices_share_counts_once(results: Path) -> None:
    found = json.loads((results / 'results.json').read_text())
    run = dict(machine=dict(gpus=['one']), commit='0123456789', changed=False)
    runs = dict(search=dict(run=run | dict(seconds=dict(train=3600.0, test=1800.0))))
    for name, seconds in (('matrix', 900.0), ('sweep', 1800.0)):
        own = {name: dict(run=run | dict(seconds=dict(train=seconds)))}
        folder = results.parent / name
        folder.mkdir(exist_ok=True)
        (folder / 'results.json').write_text(json.dumps(found | dict(trainings=runs | own)))
    lines = paper.page().splitlines()
    assert '| data/matrix | 2 | 0 | 15.0 to 90.0 | 1.8 |' in lines
    assert '| data/sweep | 2 | 1 | 30.0 to 90.0 | 0.5 |' in lines
    assert '| all | 3 |  |  | 2.2 |' in lines


def test_results_without_a_reading_are_an_error(results: Path) -> None:
    (results / 'reading.md').unlink()
    with pytest.raises(FileNotFoundError, match=r'reading\.md'):
        paper.page()


def test_the_page_beyond_the_paper_has_its_results() -> None:
    page = (ROOT / 'docs' / 'beyond.md').read_text()
    files = [
        file
        for matrix in ('beyond', 'plus')
        for name in ('table.md', 'reading.md')
        for file in ROOT.glob(f'results/*/{matrix}/{name}')
    ]
    assert len(files) >= 4
    for file in files:
        assert file.read_text().strip() in page, file

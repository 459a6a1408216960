"""Reference networks as a table and as a plot."""

from io import StringIO

from rich.console import Console

from st_mm.analysis.reference import (
    Counted,
    Figures,
    Reference,
    plot_reference,
    reference_table,
)
from st_mm.analysis.report import Cost


def test_table_has_a_line_for_each_source(small, counted):
    console = Console(file=StringIO(), width=120)
    console.print(reference_table(small, counted).terminal())
    lines = [line.split() for line in console.file.getvalue().splitlines()]
    paper = 'MobileNetV2 3.505 M 3.4 M 300.8 M 300 M 72.00 71.86 Table 3'
    authors = '3.47 M 300 M 71.80 TF-slim'
    assert lines.index(authors.split()) == lines.index(paper.split()) + 1


def test_notes_and_what_is_not_built(small):
    row = Counted(Reference('Elsewhere', 'mm::a.py', note='of old'), None, missing='no library')
    text = reference_table(small, [row]).markdown()
    assert '| Elsewhere | not built | - | not built | - | - | - |  |' in text
    assert text.endswith('- Elsewhere: not built: no library\n- Elsewhere: of old\n')


def test_plot(small, counted):
    twice = Figures(1e6, 2e6, 50.0, 'Table 1'), Figures(None, 3e6, 60.0, 'Table 2')
    others = [
        Counted(Reference('no score', 'x'), Cost(1, 1)),
        Counted(Reference('S+P', None, twice), None),
    ]
    figure = plot_reference(small, [*counted, *others])
    [axis] = figure.axes
    assert (axis.get_ylabel(), axis.get_xscale()) == ('top-1 accuracy [%]', 'log')
    drawn = {line.get_label(): line.get_xydata().tolist() for line in axis.lines}
    assert drawn['SuperTickets'] == [[125e6, 74.2]]
    assert drawn['MobileNetV2'] == [[300_774_272, 72.0]]
    assert drawn['S+P'] == [[2e6, 50.0], [3e6, 60.0]]
    assert len(drawn) == 5

"""A table says the same in a terminal, in Markdown and in HTML."""

from html.parser import HTMLParser
from io import StringIO

import pytest
from rich.console import Console

from st_mm.analysis.table import Table

TABLE = Table(
    header=('', 'mIoU', 'source'),
    rows=(('dense', '41.10', 'a|b'), ('pruned [0.9]', '26.30', '<none> & \\')),
    title='Streets',
    notes=('one & only',),
    text=frozenset({0, 2}),
)


class Cells(HTMLParser):
    """Collects the cells of every row, and the classes of the cells."""

    def __init__(self) -> None:
        super().__init__()
        self.rows: list[list[str]] = []
        self.classes: list[str | None] = []
        self.others: list[str] = []
        self._inside = False

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag == 'tr':
            self.rows.append([])
        self._inside = tag in ('td', 'th')
        if self._inside:
            self.rows[-1].append('')
            self.classes.append(dict(attrs).get('class'))

    def handle_endtag(self, tag: str) -> None:
        self._inside = False

    def handle_data(self, data: str) -> None:
        if self._inside:
            self.rows[-1][-1] += data
        elif data.strip():
            self.others.append(data)


def test_terminal() -> None:
    console = Console(file=StringIO(), width=80)
    console.print(TABLE.terminal())
    lines = console.file.getvalue().splitlines()
    assert lines[0].split() == ['Streets']
    # brackets are text here, not a style
    assert any(line.split() == ['pruned', '[0.9]', '26.30', '<none>', '&', '\\'] for line in lines)
    assert lines[-1] == '  one & only'


def test_markdown() -> None:
    assert TABLE.markdown() == (
        '## Streets\n\n'
        '|  | mIoU | source |\n'
        '| --- | ---: | --- |\n'
        '| dense | 41.10 | a\\|b |\n'
        '| pruned [0.9] | 26.30 | <none> & \\\\ |\n'
        '\n- one & only\n'
    )
    assert Table(('', 'p'), (('x', '1'),)).markdown() == '|  | p |\n| --- | ---: |\n| x | 1 |\n'


def test_html() -> None:
    found = Cells()
    found.feed(TABLE.html())
    assert found.rows == [list(TABLE.header), *map(list, TABLE.rows)]
    assert found.classes == [None, 'figure', None] * 3
    assert found.others == ['Streets', 'one & only']


def test_a_row_of_another_length_is_refused() -> None:
    with pytest.raises(ValueError, match='row 1 of the table has 1 cells under 2 columns'):
        Table(('', 'p'), (('x', '1'), ('y',)))

"""A table as a value, which can be shown in a terminal, in Markdown or in HTML."""

import re
from dataclasses import dataclass
from html import escape

import rich.table
from rich import box
from rich.console import Group, RenderableType
from rich.text import Text

MARKDOWN_SIGNS = re.compile(r'([\\|])')


@dataclass(frozen=True)
class Table:
    """Rows of text under a header, with a title and notes.

    Attributes:
        header (tuple[str, ...]): Names of the columns.
        rows (tuple[tuple[str, ...], ...]): The cells; each row is as long as the header.
        title (str): Text above the table; empty for no title. Defaults to ``''``.
        notes (tuple[str, ...]): Texts below the table, a paragraph each. Defaults to ``()``.
        text (frozenset[int]): Columns of words, aligned left. All others are figures, aligned
            right. Defaults to the first column.
    """

    header: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    title: str = ''
    notes: tuple[str, ...] = ()
    text: frozenset[int] = frozenset({0})

    def __post_init__(self) -> None:
        for number, row in enumerate(self.rows):
            if len(row) != len(self.header):
                raise ValueError(
                    f'row {number} of the table has {len(row)} cells under {len(self.header)} '
                    f'columns: {row}'
                )

    def terminal(self) -> RenderableType:
        """Show the table in a terminal.

        Returns:
            RenderableType: For rich's console; the notes come after the table.
        """
        table = rich.table.Table(
            title=Text(self.title) if self.title else None,
            title_style='bold',
            title_justify='left',
            box=box.SIMPLE_HEAD,
            header_style='bold',
            padding=(0, 0, 0, 1),
        )
        for column, name in enumerate(self.header):
            table.add_column(Text(name), justify='left' if column in self.text else 'right')
        for row in self.rows:
            table.add_row(*map(Text, row))
        return Group(table, *(Text(f'  {note}', style='dim') for note in self.notes))

    def markdown(self) -> str:
        """Write the table in Markdown.

        Returns:
            str: A heading of the second level if there is a title, the table, and the notes as a
            list; ends with a line break.
        """
        rule = ['---' if column in self.text else '---:' for column in range(len(self.header))]
        lines = [map(_in_markdown, self.header), rule, *(map(_in_markdown, r) for r in self.rows)]
        table = ''.join(f'| {" | ".join(cells)} |\n' for cells in lines)
        notes = ''.join(f'- {note}\n' for note in self.notes)
        title = f'## {self.title}\n\n' if self.title else ''
        return f'{title}{table}' + (f'\n{notes}' if notes else '')

    def html(self) -> str:
        """Write the table in HTML.

        Returns:
            str: A ``<table>``, its title as the caption, and the notes as a list after it; columns
            of figures have the class ``figure``. Ends with a line break.
        """
        caption = [f'<caption>{escape(self.title)}</caption>'] if self.title else []
        notes = [f'<li>{escape(note)}</li>' for note in self.notes]
        lines = [
            '<table>',
            *caption,
            f'<thead>{self._html_row("th", self.header)}</thead>',
            '<tbody>',
            *(self._html_row('td', row) for row in self.rows),
            '</tbody>',
            '</table>',
            *(['<ul>', *notes, '</ul>'] if notes else []),
        ]
        return '\n'.join(lines) + '\n'

    def _html_row(self, tag: str, cells: tuple[str, ...]) -> str:
        parts = []
        for column, cell in enumerate(cells):
            mark = '' if column in self.text else ' class="figure"'
            parts.append(f'<{tag}{mark}>{escape(cell)}</{tag}>')
        return f'<tr>{"".join(parts)}</tr>'


def _in_markdown(cell: str) -> str:
    """Escape the signs that would end a cell."""
    return MARKDOWN_SIGNS.sub(r'\\\1', cell)

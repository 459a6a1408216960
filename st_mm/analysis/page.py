"""The report of a training as one self-contained page: costs, curves, architecture, pictures."""

import base64
import io
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape

from matplotlib.figure import Figure

from .plots import DPI
from .table import Table

STYLE = """
:root { color-scheme: light dark; --paper: #fff; --ink: #1b1b1b; --faint: #666; --line: #ddd; }
@media (prefers-color-scheme: dark) {
  :root { --paper: #16181b; --ink: #e8e8e8; --faint: #a0a0a0; --line: #3a3d42; }
}
* { box-sizing: border-box; }
body { margin: 0 auto; max-width: 72rem; padding: 1.5rem; background: var(--paper);
  color: var(--ink); font: 16px/1.5 system-ui, sans-serif; }
h1 { font-size: 1.5rem; margin: 0 0 .25rem; overflow-wrap: anywhere; }
h2 { font-size: 1.15rem; margin: 2rem 0 .5rem; border-bottom: 1px solid var(--line); }
p.facts { color: var(--faint); margin: 0; overflow-wrap: anywhere; }
figure { margin: .75rem 0; }
/* figures are drawn on white: a white card keeps them readable in the dark */
img { max-width: 100%; height: auto; background: #fff; border-radius: 4px; }
figcaption, .note { color: var(--faint); font-size: .9rem; }
.wide { overflow-x: auto; }
table { border-collapse: collapse; font-variant-numeric: tabular-nums; font-size: .92rem; }
th, td { padding: .25rem .7rem; text-align: left; white-space: nowrap;
  border-bottom: 1px solid var(--line); }
caption { text-align: left; font-weight: 600; }
.figure { text-align: right; }
"""


@dataclass(frozen=True)
class Section:
    """A part of a page.

    Attributes:
        title (str): Its heading.
        content (Figure | Table): What it shows.
        caption (str): A sentence below it. Defaults to nothing.
    """

    title: str
    content: Figure | Table
    caption: str = ''


def page(title: str, facts: Sequence[str], sections: Sequence[Section]) -> str:
    """Write a page that needs no other file, no script and no network.

    Args:
        title (str): What the page is about; escaped, as all text is.
        facts (Sequence[str]): Lines below the title.
        sections (Sequence[Section]): The parts, in their order.

    Returns:
        str: HTML. Figures are inside it as PNG.
    """
    lines = ''.join(f'<p class="facts">{escape(fact)}</p>\n' for fact in facts)
    body = ''.join(map(_section, sections))
    return (
        '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f'<title>{escape(title)}</title>\n<style>{STYLE}</style>\n</head>\n<body>\n'
        f'<h1>{escape(title)}</h1>\n{lines}{body}</body>\n</html>\n'
    )


def _section(section: Section) -> str:
    caption = escape(section.caption)
    if isinstance(section.content, Table):
        note = f'<p class="note">{caption}</p>\n' if caption else ''
        inside = f'<div class="wide">{section.content.html()}</div>\n{note}'
    else:
        below = f'<figcaption>{caption}</figcaption>' if caption else ''
        image = f'<img alt="{escape(section.title)}" src="{_data_url(section.content)}">'
        inside = f'<figure>{image}{below}</figure>\n'
    return f'<h2>{escape(section.title)}</h2>\n{inside}'


def _data_url(figure: Figure) -> str:
    buffer = io.BytesIO()
    figure.savefig(buffer, format='png', dpi=DPI)
    return 'data:image/png;base64,' + base64.b64encode(buffer.getvalue()).decode()

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
* { box-sizing: border-box; }
body { margin: 0 auto; max-width: 80rem; padding: 1.5rem; background: var(--paper);
  color: var(--ink); font: 16px/1.5 system-ui, sans-serif; }
h1 { font-size: 1.5rem; margin: 0 0 .25rem; overflow-wrap: anywhere; }
h2 { font-size: 1.15rem; margin: 2rem 0 .5rem; border-bottom: 1px solid var(--line); }
summary h2 { display: inline-block; margin-bottom: .25rem; }
p.facts { color: var(--faint); margin: 0; overflow-wrap: anywhere; }
figure { margin: .75rem 0; }
/* not too small to read: what is wider than the window is scrolled */
figure > .wide > img { display: block; max-width: max(100%, var(--least)); height: auto;
  background: #fff; border-radius: 4px; }
figcaption, .note, .wide ul { color: var(--faint); font-size: .9rem; max-width: 60rem; }
.wide { overflow-x: auto; }
.wide + .wide { margin-top: 1rem; }
.wide ul { padding-left: 1.2rem; margin: .5rem 0; }
table { border-collapse: collapse; font-variant-numeric: tabular-nums; font-size: .92rem; }
th, td { padding: .25rem .7rem; text-align: left; border-bottom: 1px solid var(--line); }
th { vertical-align: bottom; }
caption { text-align: left; font-weight: 600; }
.figure { text-align: right; white-space: nowrap; }
@media (max-width: 48rem) {
  body { padding: 1rem; }
  table { font-size: .8rem; }
  th, td { padding: .2rem .35rem; }
  td:first-child { overflow-wrap: anywhere; min-width: 7.5rem; }
}
@media (prefers-color-scheme: dark) {
  :root { --paper: #16181b; --ink: #e8e8e8; --faint: #a0a0a0; --line: #3a3d42; }
  /* drawings are made on white; pictures stay as they are, on a white card */
  img.drawing { filter: invert(.91) hue-rotate(180deg); }
}
"""
INCH = 96  # pixels of a page
LEAST = 66  # of a page's pixels for an inch of a figure: its small print is still read


@dataclass(frozen=True)
class Section:
    """A part of a page.

    Attributes:
        title (str): Its heading.
        content (Figure | Table | Sequence[Table]): What it shows.
        caption (str): A sentence below it. Defaults to nothing.
        folded (bool): Whether it opens at a click. Defaults to False.
    """

    title: str
    content: Figure | Table | Sequence[Table]
    caption: str = ''
    folded: bool = False


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
    if isinstance(section.content, Figure):
        below = f'<figcaption>{caption}</figcaption>' if caption else ''
        image = _image(section.title, section.content)
        inside = f'<figure><div class="wide">{image}</div>{below}</figure>\n'
    else:
        tables = [section.content] if isinstance(section.content, Table) else section.content
        note = f'<p class="note">{caption}</p>\n' if caption else ''
        inside = ''.join(f'<div class="wide">{table.html()}</div>\n' for table in tables) + note
    heading = f'<h2>{escape(section.title)}</h2>'
    if section.folded:
        return f'<details>\n<summary>{heading}</summary>\n{inside}</details>\n'
    return f'{heading}\n{inside}'


def _image(title: str, figure: Figure) -> str:
    """Show a figure in its own size, sharp on fine screens; drawings follow the dark mode."""
    buffer = io.BytesIO()
    figure.savefig(buffer, format='png', dpi=DPI)
    data = base64.b64encode(buffer.getvalue()).decode()
    inches = figure.get_figwidth()
    kind = '' if any(axes.images for axes in figure.axes) else ' class="drawing"'
    return (
        f'<img{kind} alt="{escape(title)}" width="{round(INCH * inches)}" '
        f'style="--least: {round(LEAST * inches)}px" src="data:image/png;base64,{data}">'
    )

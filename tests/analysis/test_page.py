import re

from matplotlib.figure import Figure

from st_mm.analysis.page import Section, page
from st_mm.analysis.table import Table


def test_a_page_stands_alone() -> None:
    table = Table(('a', 'b'), (('x', '1'),))
    text = page('run', ['a fact'], [Section('T', table, 'note'), Section('F', Figure(), 'below')])
    assert text.startswith('<!doctype html>')
    assert not re.search(r'(src|href)="(?!data:image/png;base64,)', text)
    assert '<script' not in text
    assert text.count('<h2>') == 2
    for word in ('a fact', 'note', 'below', '<td class="figure">1</td>', 'alt="F"'):
        assert word in text


def test_what_comes_from_a_file_is_text() -> None:
    evil = '<script>alert(1)</script>'
    text = page(evil, [evil], [Section(evil, Table((evil,), ((evil,),)), evil)])
    assert evil not in text
    assert text.count('&lt;script&gt;') == 7

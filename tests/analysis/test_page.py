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


def test_a_figure_has_its_size_and_a_drawing_follows_the_dark() -> None:
    drawing, picture = Figure(figsize=(10, 2)), Figure(figsize=(5, 2))
    picture.subplots().imshow([[0, 1]])
    text = page('run', [], [Section('D', drawing), Section('P', picture)])
    first, second = re.findall(r'<img[^>]*?src=', text)
    assert 'class="drawing"' in first
    assert 'width="960"' in first
    assert 'class' not in second
    assert 'width="480"' in second


def test_tables_of_one_part_and_a_folded_part() -> None:
    table = Table(('a',), (('x',),))
    text = page('run', [], [Section('T', [table, table], 'note'), Section('L', table, folded=True)])
    assert text.count('<table>') == 3
    assert text.count('<summary><h2>L</h2></summary>') == text.count('<details>') == 1


def test_what_comes_from_a_file_is_text() -> None:
    evil = '<script>alert(1)</script>'
    text = page(evil, [evil], [Section(evil, Table((evil,), ((evil,),)), evil)])
    assert evil not in text
    assert text.count('&lt;script&gt;') == 7

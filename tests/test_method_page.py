"""docs/method.md names what is there, and docstrings name the right parts of the paper."""

import ast
import re
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path

import pytest

from st_mm.hooks import PruneHook, ReactivateHook, RecalibrateHook, SearchHook

ROOT = Path(__file__).parents[1]
PAGE = ROOT / 'docs' / 'method.md'
TEXT = PAGE.read_text(encoding='utf-8')
DOCUMENTED = ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef
NAMED = re.compile(r'\[`([\w.]+)`\]\(\.\./(st_mm/[\w/]+\.py)\)')

PART = re.compile(
    r"(?P<whose>paper(?:'s)?|SuperTickets,|[\w-]+,? (?:[A-Z]+ )?(?:19|20)\d\d,?)?\s*"
    r'(?P<part>(?:Sections?|Appendix|Appendices|Tables?|Figures?|Figs?\.|Algorithm) '
    r'(?:[\d.]*\d|[A-C])'
    r'(?:(?:, | and | to |-)(?:[\d.]*\d|[A-C])\b)*)'
)
# what each part of the paper is about: one of these word stems is in the sentence that names it
PLOTS = ('plot', 'panel', 'figure', 'curve')
ABOUT = {
    'Section 3.1': ('search', 'importance', 'penalty', 'cost', 'kernels', 'magnitude'),
    'Section 3.2': ('progress', 'reactivat', 'retrain', 'two-in-one'),
    'Section 3.3': ('transfer', 'fine-tun', 'classifier'),
    'Section 4.1': ('supernet', 'recipe', 'multiply-adds', 'MACs'),
    'Algorithm 1': ('recalibrat', 'order'),
    'Appendix B': ('rewind', 'RP', 'Init', 'random'),
    'Appendix C': ('rewind', 'RP', 'Init', 'random'),
    'Table 1': ('S+P', 'ablation', 'ladder', 'PP', 'IR'),
    'Table 2': ('transfer',),
    **{f'Table {n}': ('network', 'others', 'rows', 'compar') for n in range(3, 7)},
    'Table 7': ('RP', 'random', 'Init'),
    'Table 8': ('RP', 'random', 'Init'),
    'Table 9': ('rewind', 'Init'),
    'Table 10': ('speed', 'time', 'engine'),
    'Figure 2': ('random', 'gradient', 'S+P', *PLOTS),
    'Figure 3': ('random', 'gradient', 'S+P', *PLOTS),
    **{f'Figure {n}': ('compar', 'S+P', *PLOTS) for n in range(4, 7)},
    'Figure 7': ('ablation', *PLOTS),
    'Figure 8': ('transfer', *PLOTS),
    'Figure 9': ('supernet', 'units'),
    **{f'Figure {n}': ('predict',) for n in range(10, 13)},
}
# and these stems belong to one section alone
ONLY = {'reactivat': 'Section 3.2', 'retrain': 'Section 3.2', 'transfer': 'Section 3.3'}
SEPARATE = ('st_mm/analysis/paper.py', 'st_mm/analysis/reference/networks.py')  # data of tables


def docstrings(path: Path) -> Iterator[str]:
    for node in ast.walk(ast.parse(path.read_text(encoding='utf-8'))):
        if isinstance(node, DOCUMENTED) and (text := ast.get_docstring(node)):
            yield ' '.join(text.split())


def parts_named(text: str) -> Iterator[tuple[str, str | None, str]]:
    """Each part of a paper that a docstring names, whose it is, and the sentence around it."""
    for found in PART.finditer(text):
        start = max(text.rfind('. ', 0, found.start('part')) + 1, 0)
        end = text.find('. ', found.end())
        yield found['part'], found['whose'], text[start : end if end > 0 else None]


def single(parts: str) -> list[str]:
    """Split 'Figures 2-4 and 7' into Figure 2, Figure 3, Figure 4, Figure 7."""
    kind, _, rest = parts.partition(' ')
    kind = {'Appendices': 'Appendix', 'Figs.': 'Figure', 'Fig.': 'Figure'}.get(kind, kind)
    kind = kind if kind == 'Appendix' else kind.removesuffix('s')
    found = []
    for each in re.split(r', | and ', rest):
        first, _, last = re.sub(r' to ', '-', each).partition('-')
        if last:
            found += [str(number) for number in range(int(first), int(last) + 1)]
        else:
            found.append(first)
    return [f'{kind} {each}' for each in found]


PYTHON = sorted(p for p in (ROOT / 'st_mm').rglob('*.py') if '.mim' not in p.parts)
REFERENCES = [
    (path.relative_to(ROOT).as_posix(), *reference)
    for path in PYTHON
    for text in docstrings(path)
    for reference in parts_named(text)
]
OF_THE_PAPER = sorted(
    {
        (path, part, sentence)
        for path, parts, whose, sentence in REFERENCES
        if path not in SEPARATE and (whose or '').startswith(('paper', 'SuperTickets'))
        for part in single(parts)
    }
)


def defines(path: Path, name: str) -> bool:
    """Whether a file has a class, function or constant, or a class a member, of that name."""
    body = ast.parse(path.read_text(encoding='utf-8')).body
    *outer, last = name.split('.')
    for each in outer:
        [kind] = [n for n in body if isinstance(n, ast.ClassDef) and n.name == each]
        body = kind.body
    for node in body:
        if isinstance(node, ast.ClassDef | ast.FunctionDef) and node.name == last:
            return True
        targets = [node.target] if isinstance(node, ast.AnnAssign) else getattr(node, 'targets', [])
        if any(isinstance(target, ast.Name) and target.id == last for target in targets):
            return True
    return False


@pytest.mark.parametrize(('name', 'file'), sorted(set(NAMED.findall(TEXT))))
def test_what_the_page_names_is_there(name: str, file: str) -> None:
    assert defines(ROOT / file, name), f'{file} has no {name}'


def test_every_link_into_the_code_names_something() -> None:
    links = re.findall(r'\]\(\.\./([^)]+)\)', TEXT)
    assert len(NAMED.findall(TEXT)) == len(links) > 80
    for anchor in re.findall(r'\]\(#([\w-]+)\)', TEXT):
        headings = re.findall(r'^## (.+)$', TEXT, flags=re.MULTILINE)
        slugs = [re.sub(r'[^\w -]', '', heading.lower()).replace(' ', '-') for heading in headings]
        assert anchor in slugs
    for image in re.findall(r'\]\((images/[^)]+)\)', TEXT):
        assert (PAGE.parent / image).is_file()


def test_files_in_plain_text_are_there() -> None:
    for pattern in re.findall(r'`((?:configs|st_mm|tools|tests)/[^`]*)`', TEXT):
        assert list(ROOT.glob(pattern.rstrip('/'))), pattern


def test_order_of_events_is_that_of_the_hooks() -> None:
    hooks = {
        'SearchHook': [SearchHook.priority],
        'ReactivateHook': [ReactivateHook(on=on).priority for on in ('search', 'prune')],
        'PruneHook': [PruneHook.priority],
        'RecalibrateHook': [RecalibrateHook.priority],
    }
    rows = re.findall(r'^\| (\d+) \| \[?`?(?:mmengine\'s `)?(\w+)`', TEXT, flags=re.MULTILINE)
    found = defaultdict(list)
    for priority, name in rows:
        found[name].append(int(priority))
    assert {name: found[name] for name in hooks} == hooks
    assert (found['EMAHook'], found['CheckpointHook']) == ([50], [90])
    assert [int(priority) for priority, _ in rows] == sorted(int(priority) for priority, _ in rows)
    picture = (PAGE.parent / 'images' / 'epoch.svg').read_text(encoding='utf-8')
    drawn = re.findall(r'>(\d+) (\w+Hook)<', picture)
    assert {(int(p), name) for p, name in drawn} == {(int(p), name) for p, name in rows}


def test_every_reference_says_whose_paper_it_is() -> None:
    for path, part, whose, sentence in REFERENCES:
        assert whose or path in SEPARATE, f'{path}: whose {part}? {sentence!r}'


@pytest.mark.parametrize(('path', 'part', 'sentence'), OF_THE_PAPER)
def test_docstrings_name_the_right_part(path: str, part: str, sentence: str) -> None:
    assert part in ABOUT, f'{path}: the page does not say what {part} is about'
    texts = (sentence, sentence.lower())
    assert any(stem in text for stem in ABOUT[part] for text in texts), (
        f'{path}: {part}: {sentence}'
    )
    for stem, only in ONLY.items():
        if stem in sentence.lower() and part.startswith('Section'):
            assert only in sentence, f'{path}: {stem} is in {only}, not {part}: {sentence}'


def test_page_says_what_each_part_is_about() -> None:
    table = TEXT.partition('## References to the paper')[2]
    rows = re.findall(r'^\| ([A-Z]\w+ [^|]+?) \| [^|]+ \| [^|]+ \|$', table, flags=re.MULTILINE)
    assert sorted(part for row in rows for part in single(row)) == sorted(ABOUT)


def test_a_reference_is_found_and_read() -> None:
    text = 'Free weights (iterative reactivation, paper Section 3.3). Evci 2020 Section 3 too.'
    first, second = parts_named(text)
    assert first[:2] == ('Section 3.3', 'paper')
    assert 'reactivation' in first[2]
    assert second[:2] == ('Section 3', 'Evci 2020')
    [(part, whose, _)] = parts_named("a baseline in the paper's Figures 2 and 3.")
    assert (part, whose) == ('Figures 2 and 3', "paper's")
    assert single('Figs. 2-4 and 7') == ['Figure 2', 'Figure 3', 'Figure 4', 'Figure 7']
    assert single('Appendices B and C') == ['Appendix B', 'Appendix C']

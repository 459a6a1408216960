"""The index, the metafiles and the READMEs of configs/ say the same, and what the files say."""

import itertools
import re
from collections import Counter
from dataclasses import dataclass
from fnmatch import fnmatch
from functools import cache
from pathlib import Path

import pytest
import yaml
from mim.commands.search import convert2df
from mmengine import Config
from modelindex.load_model_index import load

import st_mm  # noqa: F401 - registers the models
from st_mm.measure import count_macs, count_params
from st_mm.models.building import build_model

ROOT = Path(__file__).parents[1]
CONFIGS = ROOT / 'configs'
FOLDERS = sorted(path for path in CONFIGS.iterdir() if path.is_dir() and path.name != '_base_')
READMES = sorted(CONFIGS.rglob('README.md'))
ABLATIONS = CONFIGS / 'ablations'  # the same names in a folder for each data set
# of trainings, not themselves one
MATRICES = {path.stem for path in ROOT.glob('configs/ablations/_base_/matrices/*.py')}
METRICS = ('mIoU', 'Top 1 Accuracy', 'Top 5 Accuracy', 'AP', 'PCK@0.1')
IN_THE_PAPER = ('Cityscapes', 'ADE20K', 'COCO', 'ImageNet-1k')
TASKS = ('Semantic Segmentation', 'Body 2D Keypoint', 'Image Classification')

LINK = re.compile(r'\[[^]]*\]\(([^)#\s]+)[^)]*\)')
SIZE = re.compile(r'MACs[^.|]*? at (\d+)x(\d+)')
FIGURE = re.compile(r'([\d,]+(?:\.(\d+))?) ?([kMG]?)')
UNITS = {'': 1, 'k': 10**3, 'M': 10**6, 'G': 10**9}


@dataclass(frozen=True)
class Row:
    """A row of a README's table that is about a config, its cells by the table's header."""

    readme: Path
    config: str
    cells: dict[str, str]
    section: str

    @property
    def path(self) -> Path:
        return self.readme.parent / self.config

    def cell(self, name: str) -> str:
        """The first cell under a heading that starts so."""
        cells = [cell for heading, cell in self.cells.items() if heading.startswith(name)]
        assert cells, f'{self.readme} has no column {name}'
        return cells[0]


def rows_of(readme: Path) -> list[Row]:
    """Rows whose first cell is a link to a config."""
    rows = []
    for section in re.split(r'^(?=#)', readme.read_text(encoding='utf-8'), flags=re.MULTILINE):
        heading: list[str] = []
        for line in section.splitlines():
            if not line.startswith('|'):
                heading = []
                continue
            cells = [cell.strip() for cell in line.strip('|').split('|')]
            if not heading:
                heading = cells
                continue
            link = LINK.match(cells[0])
            if link and link[1].endswith('.py'):
                assert len(cells) == len(heading), f'{readme}: {line}'
                rows.append(Row(readme, link[1], dict(zip(heading, cells, strict=True)), section))
    return rows


def trainings(folder: Path) -> set[Path]:
    """The configs of a folder that train something."""
    if folder == ABLATIONS:
        found = {path for path in folder.glob('*/*.py') if path.stem not in MATRICES}
        return {path for path in found if path.parent.name != '_base_'}
    return set(folder.glob('*.py'))


@cache
def read(metafile: Path) -> dict:
    return yaml.safe_load(metafile.read_text(encoding='utf-8'))


def models_of(folder: Path) -> list[dict]:
    return read(folder / 'metafile.yml')['Models']


def folder_id(folder: Path) -> str:
    return folder.name


ROWS = list(itertools.chain.from_iterable(map(rows_of, READMES)))
SUPERNETS = [row for row in ROWS if Path(row.config).name.startswith('hr-supernet')]
every_folder = pytest.mark.parametrize('folder', FOLDERS, ids=folder_id)


def test_index_lists_every_folder() -> None:
    [(key, metafiles)] = read(ROOT / 'model-index.yml').items()
    assert key == 'Import'
    assert metafiles == [f'configs/{folder.name}/metafile.yml' for folder in FOLDERS]


def test_mim_reads_the_index() -> None:
    index = load(str(ROOT / 'model-index.yml'))
    # it looks for a README beside the metafile; mm gives its path from the top
    assert [error for error in index.check(silent=True) if 'README' not in error] == []
    frame = convert2df(index)
    names = [model['Name'] for folder in FOLDERS for model in models_of(folder)]
    assert [name for name, times in Counter(names).items() if times > 1] == []
    assert set(frame.index) == set(names)
    assert set(frame['model']) == {'supertickets'}
    assert frame['paper'].str.contains('2207.03677').all()


@every_folder
def test_metafile_lists_the_configs(folder: Path) -> None:
    configs = [ROOT / model['Config'] for model in models_of(folder)]
    assert len(configs) == len(set(configs))
    assert set(configs) == trainings(folder)
    for model, config in zip(models_of(folder), configs, strict=True):
        depth = config.relative_to(CONFIGS).with_suffix('').parts
        name = '-'.join(depth) if folder == ABLATIONS else config.stem
        assert (model['Name'], model['In Collection']) == (name, 'SuperTickets')


@every_folder
def test_readme_lists_the_configs(folder: Path) -> None:
    readme = folder / 'README.md'
    if folder == ABLATIONS:
        check_patterns(readme)
        return
    listed = [row.path for row in ROWS if row.readme == readme]
    assert len(listed) == len(set(listed))
    assert set(listed) == trainings(folder)


def check_patterns(readme: Path) -> None:
    """The ablations are listed as `sp-{random,snip}.py` and the like, once for all folders."""
    text = readme.read_text(encoding='utf-8')
    patterns = [
        pattern
        for cell in re.findall(r'^\| `([^`]+\.py)` \|', text, flags=re.MULTILINE)
        for pattern in expand(cell)
    ]
    names = {path.name for path in trainings(ABLATIONS)}
    assert {name for name in names if any(fnmatch(name, p) for p in patterns)} == names
    assert all(any(fnmatch(name, pattern) for name in names) for pattern in patterns)


def expand(pattern: str) -> list[str]:
    """`a-{b,c}.py` -> a-b.py, a-c.py."""
    before, brace, rest = pattern.partition('{')
    if not brace:
        return [pattern]
    inside, _, after = rest.partition('}')
    return [before + choice + after for choice in inside.split(',')]


@every_folder
def test_results(folder: Path) -> None:
    for model in models_of(folder):
        for result in model.get('Results', []):
            assert result.keys() == {'Task', 'Dataset', 'Metrics'}, model['Name']
            assert result['Task'] in TASKS
            assert result['Metrics']
            for name, score in result['Metrics'].items():
                metric, _, mark = name.partition(' (')
                assert metric in METRICS, name
                assert mark in ('paper)', 'ours)'), f'{name}: say whose, "(paper)" or "(ours)"'
                assert mark == 'ours)' or result['Dataset'] in IN_THE_PAPER
                assert isinstance(score, float)
            if folder != ABLATIONS:
                check_scores(ROOT / model['Config'], result['Metrics'])


def check_scores(config: Path, metrics: dict[str, float]) -> None:
    """The README's row has the same scores, in columns that say whose they are."""
    [row] = [row for row in ROWS if row.path == config]
    for name, score in metrics.items():
        whose = name.rpartition('(')[2].rstrip(')')
        cells = [cell for heading, cell in row.cells.items() if whose in heading]
        assert score in [
            float(number) for cell in cells for number in re.findall(r'\d+\.?\d*', cell)
        ], f'{config.name}: {name} {score} is not in the README'


@pytest.mark.parametrize('readme', READMES, ids=lambda path: str(path.parent.relative_to(CONFIGS)))
def test_links_resolve(readme: Path) -> None:
    links = LINK.findall(readme.read_text(encoding='utf-8'))
    assert links
    for link in links:
        assert link.startswith('https://') or (readme.parent / link).exists(), link


def test_what_is_read_is_what_a_readme_says(tmp_path: Path) -> None:
    readme = tmp_path / 'README.md'
    text = (
        '# A\n\n| config | params | MACs |\n|---|---|---|\n| [x](a.py) | 1,234 | 5.60G |\n'
        '| [y](b.md) | | |\n\n## B\n\nMACs, as in A, are\nat 3x4.\n\n'
        '| config | MACs (dense) |\n|---|---|\n| [z](c.py) | 7 k |\n'
    )
    readme.write_text(text)
    first, second = rows_of(readme)
    assert (first.config, first.cell('params'), first.cell('MACs')) == ('a.py', '1,234', '5.60G')
    assert (second.config, second.cell('MACs'), input_size(second)) == ('c.py', '7 k', (3, 4))
    assert input_size(first) == (3, 4)
    with pytest.raises(AssertionError, match='has no column params'):
        second.cell('params')
    readme.write_text(text + '## C\n\nMACs are at 5x6.\n')
    assert input_size(second) == (3, 4)
    with pytest.raises(AssertionError, match='at which size'):
        input_size(first)


def test_expand() -> None:
    assert expand('sp-{a,b}-*.py') == ['sp-a-*.py', 'sp-b-*.py']
    assert expand('search.py') == ['search.py']


@pytest.mark.parametrize(
    ('text', 'low', 'high'),
    [('1,234', 1234, 1234), ('5.60G', 5_595_000_000, 5_605_000_000), ('7 k', 6_500, 7_500)],
)
def test_check_figure(text: str, low: int, high: int) -> None:
    check_figure(text, low)
    check_figure(text, high)
    for wrong in (low - 1 - low // 1000, high + 1 + high // 1000):
        with pytest.raises(AssertionError, match='stands for'):
            check_figure(text, wrong)
    with pytest.raises(AssertionError, match='no figure'):
        check_figure(f'about {text}', low)


def input_size(row: Row) -> tuple[int, int]:
    """The size that a section of a README says MACs are counted at; else what all of it says."""
    for text in (row.section, row.readme.read_text(encoding='utf-8')):
        sizes = {(int(h), int(w)) for h, w in SIZE.findall(' '.join(text.split()))}
        if len(sizes) == 1:
            return sizes.pop()
    raise AssertionError(f'{row.readme} does not say at which size: write "MACs are at HxW"')


def check_figure(text: str, exact: int) -> None:
    """A printed number is an exact one, rounded to the digits that are printed."""
    match = FIGURE.fullmatch(text)
    assert match, f'no figure: {text!r}'
    number, digits, unit = match.groups()
    step = UNITS[unit] / 10 ** len(digits or '')
    printed = float(number.replace(',', '')) * UNITS[unit]
    assert abs(printed - exact) <= 0.5001 * step, f'{text} stands for {exact:,}'


@pytest.mark.filterwarnings('ignore::UserWarning')  # mm's, at every model it builds
@pytest.mark.parametrize('row', SUPERNETS, ids=lambda row: Path(row.config).stem)
def test_size_of_the_supernets(row: Row) -> None:
    model = build_model(Config.fromfile(row.path))
    check_figure(row.cell('params'), count_params(model)[0])
    check_figure(row.cell('MACs'), count_macs(model, (3, *input_size(row))).dense)

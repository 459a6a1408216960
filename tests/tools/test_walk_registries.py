"""The walk through the registries: every backbone and head has a row, which says what is found."""

import importlib.util
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
TOOL = ROOT / 'tools' / 'analysis' / 'walk_registries.py'
PAGE = ROOT / 'docs' / 'prunable.md'
spec = importlib.util.spec_from_file_location('walk_registries', TOOL)
walk_registries = importlib.util.module_from_spec(spec)
spec.loader.exec_module(walk_registries)


@pytest.mark.parametrize(
    ('library', 'some'),
    [
        (
            'mmseg',
            {'PIDNet': 'backbone', 'FCNHead': 'head', 'SegmenterMaskTransformerHead': 'head'},
        ),
        ('mmpose', {'CPM': 'backbone', 'RTMCCHead': 'head'}),
        ('mmpretrain', {'MobileOne': 'backbone', 'LinearClsHead': 'head', 'MoCoV3Head': 'head'}),
    ],
)
def test_what_a_library_registers(library, some) -> None:
    found = walk_registries.registered(library)
    assert {name: found[name][0] for name in some} == some
    assert not any(name.endswith(('Loss', 'Neck')) for name in found)


def test_rows() -> None:
    rows = {row.name: row for row in walk_registries.walk('mmpretrain', ['LeNet5', 'NormProduct'])}
    row = rows['LeNet5']
    assert row.kind == 'backbone'
    assert row.config.startswith('lenet/')
    assert row.prunable == '99.6 %'  # all but biases: a bare backbone predicts nothing
    page = walk_registries.markdown(list(rows.values()))
    assert f'| mmpretrain | LeNet5 | {row.config} | 99.6 % |' in page


def test_a_class_that_no_config_builds_says_why(monkeypatch) -> None:
    monkeypatch.setattr(walk_registries, 'configs_of', lambda *_: {'LeNet5': [], 'ClsHead': []})
    rows = {row.name: row for row in walk_registries.walk('mmpretrain', ['LeNet5', 'ClsHead'])}
    assert rows['LeNet5'].config == 'no config'
    row = rows['ClsHead']
    assert (row.prunable, row.left_out) == ('not built', 'no config of the zoo names it')


def test_names_are_joined() -> None:
    names = ['heads.0.fc.weight', 'heads.1.fc.weight', 'conv_seg.weight']
    assert walk_registries.short(names) == '`heads.#.fc` x2, `conv_seg`'


def rows_of_the_page() -> dict[tuple[str, str, str], str]:
    """Lines of the tables by library, kind and class."""
    found, kind = {}, ''
    for line in PAGE.read_text().splitlines():
        if line.startswith('## '):
            kind = line[3:].lower().rstrip('s')
        cells = line.split(' | ')
        if line.startswith('| mm'):
            found[cells[0].lstrip('| '), kind, cells[1]] = line
    return found


def test_every_class_has_its_row_on_the_page() -> None:
    there = {
        (library, kind, name)
        for library in walk_registries.LIBRARIES
        for name, (kind, _) in walk_registries.registered(library).items()
    }
    page = rows_of_the_page()
    assert page.keys() == there
    for (_, kind, name), line in page.items():  # every head has a classifier, or says why not
        *_, prunable, classifier, left_out = line.removesuffix(' |').split(' | ')
        assert kind == 'backbone' or classifier or (prunable == 'not built' and left_out), name


@pytest.mark.slow
@pytest.mark.parametrize(
    ('library', 'names'),
    [
        ('mmpretrain', ['LeNet5', 'MobileNetV3', 'LinearClsHead', 'MultiLabelLinearClsHead']),
        ('mmseg', ['FastSCNN', 'LRASPPHead']),
        ('mmpose', ['ViPNAS_MobileNetV3', 'SimCCHead']),
    ],
)
def test_rows_of_the_page_are_what_is_found(library: str, names: list[str]) -> None:
    page = rows_of_the_page()
    found = list(walk_registries.walk(library, names))
    assert sorted(row.name for row in found) == sorted(names)
    for row in found:
        assert page[library, row.kind, row.name] in walk_registries.markdown([row])
        assert row.prunable != 'not built'

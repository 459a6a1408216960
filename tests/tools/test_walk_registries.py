"""The walk through the registries: every backbone and head has a row, which says what is found."""

import importlib.util
from pathlib import Path

import pytest

TOOL = Path(__file__).parents[2] / 'tools' / 'analysis' / 'walk_registries.py'
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
    assert rows['LeNet5'].config == 'defaults'
    row = rows['ClsHead']
    assert (row.prunable, row.left_out) == ('not built', 'no config of the zoo names it')


def test_names_are_joined() -> None:
    names = ['heads.0.fc.weight', 'heads.1.fc.weight', 'conv_seg.weight']
    assert walk_registries.short(names) == '`heads.#.fc` x2, `conv_seg`'

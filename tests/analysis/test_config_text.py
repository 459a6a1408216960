"""The config in a checkpoint is read, and never run."""

import math

import pytest
from mmengine.config import Config

from st_mm.analysis.config_text import check_types, read_config


def test_what_mmengine_writes_is_read() -> None:
    config = Config(
        dict(
            model=dict(type='A', sizes=(1, -2.5), names=['x', None], on=True, empty={}),
            bounds=[math.inf, -math.inf],
            by_number={1: 'a', 2: 'b'},
            note='it\'s "quoted" \\ and äöü',
        )
    )
    assert read_config(config.pretty_text).to_dict() == config.to_dict()


@pytest.mark.parametrize(
    'text',
    [
        'import os',
        'a = open("ran", "w")',
        'a = __import__("os").system("touch ran")',
        'a = [x for x in (1,)]',
        'a = b.c',
        'a.b = 1',
        'a = dict(**{"x": open("ran", "w")})',
        'a = dict([(1, 2)])',
        'a = f"{open(1)}"',
        'a = lambda: 1',
        'a = ...',
        'a = 1 +',
        'a = ' + '[' * 100 + ']' * 100,
        'a = ' + '-' * 100 + '1',
        'a\0 = 1',
        'filename = dict(_base_=1)\nfile = 1\ntext = 1\n_base_ = [1',
    ],
)
def test_what_does_more_is_refused(tmp_path, monkeypatch, text) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ValueError, match='--trust'):
        read_config(text)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    'name', ['os.system', 'builtins.exec', 'mmengine.dump', 'mmengine.fileio.dump', 'st_mm.x', '.']
)
def test_a_type_that_is_not_registered(name) -> None:
    """mmengine imports what a type with dots names, and calls it."""
    model = dict(type='ImageClassifier', backbone=dict(type=name, command='touch ran'))
    with pytest.raises(ValueError, match='not registered'):
        check_types(dict(default_scope='mmpretrain', model=model))


def test_scopes_and_full_names_of_registered_classes() -> None:
    full = 'mmengine.model.base_model.data_preprocessor.ImgDataPreprocessor'
    for name in ('ResNet', 'mmengine.ImgDataPreprocessor', full):
        check_types(dict(model=dict(type=name)))
    with pytest.raises(ValueError, match='default_scope'):
        check_types(dict(default_scope='os', model={}))

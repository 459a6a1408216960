import re

import numpy as np
import pytest

from st_mm.arguments import choice, counts, flag, integer, kernels, names, number, picture, settings

NAN, INF = float('nan'), float('inf')


@pytest.mark.parametrize('value', [2, np.int64(2), np.uint8(2)])
def test_an_integer_comes_back_plain(value) -> None:
    assert integer('n', value, 0) == 2
    assert type(integer('n', value, 0)) is int


@pytest.mark.parametrize('value', [True, np.True_, '2', 2.0, None, NAN, -1, [2]])
def test_what_is_not_an_integer(value) -> None:
    message = re.escape(f'n must be an integer of at least 0, got {value!r}')
    with pytest.raises(ValueError, match=f'^{message}$'):
        integer('n', value, 0)


def test_none_where_it_is_allowed() -> None:
    assert integer('end', None, 0, optional=True) is None
    with pytest.raises(ValueError, match=r"^end must be .* 0 or None, got 'x' for 'stem'$"):
        integer('end', 'x', 0, optional=True, where="'stem'")


@pytest.mark.parametrize(
    ('value', 'kind'), [(1, int), (0.5, float), (np.float32(0.5), float), (np.int32(1), int)]
)
def test_a_number_comes_back_plain(value, kind) -> None:
    assert number('x', value) == value
    assert type(number('x', value)) is kind


@pytest.mark.parametrize('value', [True, '0.5', None, NAN, INF, -INF, 1j])
def test_what_is_not_a_number(value) -> None:
    with pytest.raises(ValueError, match=r'^x must be a number, got '):
        number('x', value)


@pytest.mark.parametrize(
    ('bounds', 'fine', 'wrong', 'words'),
    [
        (dict(least=0), 0, -1e-9, 'of at least 0'),
        (dict(above=0), 1e-9, 0, 'above 0'),
        (dict(most=1), 1, 1.5, 'of at most 1'),
        (dict(below=1), 0.999, 1, 'below 1'),
        (dict(least=0, below=1), 0, 1, 'of at least 0 and below 1'),
    ],
)
def test_bounds(bounds, fine, wrong, words) -> None:
    assert number('x', fine, **bounds) == fine
    with pytest.raises(ValueError, match=f'^x must be a number {words}, got {wrong!r}$'):
        number('x', wrong, **bounds)


def test_flags() -> None:
    assert flag('on', True) is True
    assert flag('on', np.False_) is False
    for value in ('False', 'true', 0, 1, None):
        with pytest.raises(ValueError, match=r'^on must be True or False, got '):
            flag('on', value)


def test_choices() -> None:
    assert choice('mode', 'zero', ('latent', 'zero')) == 'zero'
    for value in ('Zero', 0, None, ['zero']):
        with pytest.raises(ValueError, match=r'^mode must be one of latent, zero, got '):
            choice('mode', value, ('latent', 'zero'))


def test_names_are_a_list_of_words() -> None:
    assert names('skip', ['a.*', 'b']) == ('a.*', 'b')
    assert names('skip', ()) == ()
    for value in ('a.*', 3, None, ['a', 3], [''], {'a': 1}):
        with pytest.raises(ValueError, match=r'^skip must be a list of names, got '):
            names('skip', value)


def test_pictures() -> None:
    assert picture('input_shape', [3, np.int64(8), 16]) == (3, 8, 16)
    for value in ((8, 16), (3, 0, 16), (3, 8.0, 16), (True, 8, 16), '3x8', None, 3):
        with pytest.raises(ValueError, match=r'^input_shape must be \(channels, height, width\)'):
            picture('input_shape', value)


def test_settings_of_a_part() -> None:
    assert settings('norm_cfg', None) is None
    assert settings('norm_cfg', dict(type='BN')) == dict(type='BN')
    assert settings('init_cfg', [dict(type='A')], several=True) == [dict(type='A')]
    for value in ('BN', 0, False, {}, [], dict(a=1), dict(type=''), [dict(type='BN')]):
        with pytest.raises(ValueError, match=r"^norm_cfg must be a dict with a 'type'"):
            settings('norm_cfg', value)


def test_bytes_are_not_a_list() -> None:
    for check in (names, picture, counts, kernels):
        with pytest.raises(ValueError, match=r'^x must be '):
            check('x', b'\x03\x05\x07')

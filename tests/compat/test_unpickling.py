"""What a file may say while it is read: what real checkpoints hold, and nothing that runs."""

import io
import os
import pickle
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from mmengine.logging import HistoryBuffer
from mmengine.optim.scheduler.param_scheduler import OneCycleParamScheduler

from st_mm.compat.unpickling import checkpoint_globals

pytestmark = pytest.mark.skipif(
    not torch.__version__ >= '2.6', reason='torch < 2.6 loads everything'
)
MULTIARRAY = np.float64(0).__reduce__()[0].__module__


def through_a_file(value: object) -> object:
    file = io.BytesIO()
    torch.save(value, file)
    file.seek(0)
    return torch.load(file)


class Reduced:
    """Pickles as a call of whatever it is given, with a state to build it up."""

    def __init__(self, function, *arguments, state=None):
        self.reduced = (function, arguments) if state is None else (function, arguments, state)

    def __reduce__(self):
        return self.reduced


RECONSTRUCT, _, _ = np.empty(0).__reduce__()
SCALAR, _ = np.float64(0).__reduce__()
NEW_ARRAY = (np.ndarray, (0,), b'b')
F8 = np.dtype('f8')


def built(shape, dtype, data, by_columns=False) -> Reduced:
    """An array that is built up from any parts."""
    return Reduced(RECONSTRUCT, *NEW_ARRAY, state=(1, shape, dtype, by_columns, data))


def dtype(code, *state) -> Reduced:
    return Reduced(np.dtype, code, False, True, state=(3, *state, -1, -1, 0))


VALUES = [
    np.float64(0.5),
    np.float32(0.5),
    np.int64(-3),
    np.bool_(True),
    np.complex128(1j),
    np.str_('täxt'),
    np.arange(3),
    np.zeros((0, 2), np.uint8),
    np.asfortranarray(np.arange(6.0).reshape(2, 3)),
    np.arange(3, dtype='>f4'),
    np.array(['a', 'bcd']),
    np.array([b'a', b'bcd']),
    np.array(7),
]


@pytest.mark.parametrize('value', VALUES, ids=repr)
def test_numbers_and_text_come_back(value) -> None:
    back = through_a_file(dict(value=value))['value']
    assert isinstance(back, type(value))
    assert back.dtype == value.dtype.newbyteorder('=')
    assert back.shape == value.shape
    assert np.array_equal(back, value)
    # as mmengine compares the meta of data sets, and as it is saved again
    assert pickle.dumps(back) == pickle.dumps(value.astype(back.dtype))
    assert type(pickle.loads(pickle.dumps(back))) is type(value)


@pytest.mark.parametrize('written_by', ['numpy.core', 'numpy._core'])
def test_numpy_of_any_version_loads(written_by, tmp_path) -> None:
    path = tmp_path / 'values.pth'
    # The legacy format is one stream of bytes without checksums, so names can be replaced in it.
    torch.save(VALUES, path, _use_new_zipfile_serialization=False)
    names = (MULTIARRAY.encode(), f'{written_by}.multiarray'.encode())
    path.write_bytes(path.read_bytes().replace(*names))
    assert all(np.array_equal(a, b) for a, b in zip(torch.load(path), VALUES, strict=True))


def test_a_history_comes_back() -> None:
    history = HistoryBuffer([1.0, 2.0, 6.0], [1, 1, 2], max_length=5)
    back = through_a_file(history)
    assert type(back) is HistoryBuffer
    assert back.mean(2) == history.mean(2)
    assert back.max_length == 5
    back.update(3.0)
    assert len(back.data[0]) == 4


def test_a_file_does_not_change_the_methods_of_histories() -> None:
    """``mean`` that is ``max`` from then on, for every buffer of the process."""
    history = HistoryBuffer([1.0, 3.0], [1, 1])
    before = dict(HistoryBuffer._statistics_methods)
    history._statistics_methods = dict(mean=HistoryBuffer.max, other='x')
    try:
        back = through_a_file(history)
        assert before == HistoryBuffer._statistics_methods
        assert back.statistics('mean') == 2
    finally:
        HistoryBuffer._statistics_methods = before


def test_methods_of_schedulers_come_back() -> None:
    method = OneCycleParamScheduler._annealing_cos
    back = through_a_file(Reduced(getattr, OneCycleParamScheduler, '_annealing_cos'))
    assert back is method


# Each of these is refused with a sentence; some of them crashed the process before.
HOSTILE = dict(
    system=Reduced(os.system, 'true'),
    eval=Reduced(eval, '1'),
    dunder=Reduced(getattr, HistoryBuffer, '__init__'),
    method=Reduced(getattr, HistoryBuffer, 'statistics'),
    numpy=Reduced(getattr, np.ndarray, 'tofile'),
    unknown=SimpleNamespace(plain='but unknown'),
    pointer=Reduced(np.ndarray, (1,), 'O', b'A' * 8),
    array=Reduced(np.ndarray, (1,), 'f8'),
    objects=Reduced(np.dtype, 'O'),
    record=Reduced(np.dtype, 'f8,i4'),
    void=Reduced(np.dtype, 'V8'),
    pairs=Reduced(np.dtype, [('a', 'O')]),
    times=Reduced(np.dtype, 'M8[s]'),
    fields=built((1,), dtype('f8', '<', None, ('a',), {'a': (F8, 0)}), b'A' * 8),
    subarray=built((1,), dtype('f8', '<', (F8, (4,)), None, None), b'A' * 8),
    order=built((1,), dtype('f8', '#', None, None, None), b'A' * 8),
    short=built((3,), F8, b'A' * 8),
    long=built((1,), F8, b'A' * 800),
    negative=built((-1,), F8, b''),
    huge=built((2**62, 4), F8, b''),
    many=built((1,) * 65, F8, b'A' * 8),
    list=built((1,), F8, [object]),
    pickled=built((1,), np.dtype('O'), [1]),
    text=built((1,), np.dtype('U1'), b'\xff\xff\xff\x7f'),
    subclass=Reduced(RECONSTRUCT, HistoryBuffer, (0,), b'b'),
    scalar=Reduced(SCALAR, F8, b'A'),
    scalar_of_objects=Reduced(SCALAR, np.dtype('O'), b'A' * 8),
    scalar_of_nothing=Reduced(SCALAR, F8),
    scheduler=Reduced(OneCycleParamScheduler, 'optimizer'),
    history=Reduced(HistoryBuffer, [1.0], [1], 5),
)


@pytest.mark.parametrize('name', HOSTILE)
def test_anything_else_is_refused(name, tmp_path) -> None:
    torch.save({'state_dict': {}, 'value': HOSTILE[name]}, tmp_path / 'evil.pth')
    with pytest.raises(pickle.UnpicklingError):
        torch.load(tmp_path / 'evil.pth')


def test_no_file_can_name_what_is_built_in_steps() -> None:
    """torch joins a module and a name by a dot: what has none is out of reach."""
    names = [name for _, name in checkpoint_globals()]
    assert [name for name in names if '.' not in name] == ['FileArray']
    assert np.ndarray not in [value for value, _ in checkpoint_globals()]


def test_nothing_is_allowed_that_no_checkpoint_holds(tmp_path: Path) -> None:
    path = tmp_path / 'checkpoint.pth'
    history = HistoryBuffer([1.0], [1])
    torch.save([*VALUES, history, OneCycleParamScheduler._annealing_cos], path)
    with torch.serialization.safe_globals([]):
        allowed = torch.serialization.get_safe_globals()
        torch.serialization.clear_safe_globals()
        held = set(torch.serialization.get_unsafe_globals_in_checkpoint(path))
        torch.serialization.add_safe_globals(allowed)
    names = {name for _, name in checkpoint_globals() if '.' in name}
    elsewhere = {
        name for name in names if name.startswith('numpy.') != MULTIARRAY.startswith('numpy.')
    }
    assert {name for name in names if 'multiarray' not in name or MULTIARRAY in name} == held, (
        elsewhere
    )

"""A pass beside training: whatever it changes in a model is put back, but for what it is for."""

import random
from collections import deque
from collections.abc import Callable, Iterable, Iterator, MutableMapping
from contextlib import contextmanager
from functools import partial
from logging import Logger
from types import BuiltinFunctionType, FunctionType, MethodType, ModuleType
from typing import Any

import numpy as np
import torch
from mmengine.utils import ManagerMixin
from torch import Tensor, nn
from torch.optim import Optimizer
from torch.utils.data import DataLoader, Dataset

from .random_state import frozen_random_state

# what a model may point to and a pass does not change
LEFT_ALONE = (
    *(type, ModuleType, FunctionType, MethodType, BuiltinFunctionType, Logger),
    *(Optimizer, DataLoader, Dataset, ManagerMixin),
)


@contextmanager
def no_trace(models: Iterable[nn.Module], but: Iterable[Tensor] = ()) -> Iterator[None]:
    """Give models back everything that they had before, and the random generators their states.

    That is the values, gradients and flags of parameters, of buffers and of every other tensor
    that a module holds, registered or not; and each attribute, mode, hook, counter, cache, queue
    and generator. What a module hides from its parent, in a list for instance, counts as well.

    Args:
        models (Iterable[nn.Module]): The models.
        but (Iterable[Tensor]): Tensors that keep the values which they get meanwhile. Defaults to
            none.
    """
    undo = list(_undo(models, but))
    try:
        with frozen_random_state():
            yield
    finally:
        for put_back in undo:
            put_back()


def _undo(models: Iterable[nn.Module], but: Iterable[Tensor]) -> Iterator[Callable[[], None]]:
    """What puts back each thing that can be reached from the models."""
    to_see: list[Any] = list(models)
    seen = {id(tensor): tensor for tensor in but}  # held, so that no id is given out twice
    while to_see:
        thing = to_see.pop()
        if id(thing) in seen:
            continue
        if isinstance(thing, Tensor):
            yield _tensor(thing)
            if thing.is_leaf and thing.grad is not None:
                to_see.append(thing.grad)
        elif isinstance(thing, MutableMapping):
            yield _mapping(thing)
            to_see += dict.values(thing) if isinstance(thing, dict) else thing.values()
        elif isinstance(thing, list | deque):
            yield _sequence(thing)
            to_see += thing
        elif isinstance(thing, set):
            yield _set(thing)
        elif isinstance(thing, tuple):
            to_see += thing
        elif isinstance(thing, partial):
            to_see += [thing.args, thing.keywords]
        elif isinstance(thing, np.ndarray):
            yield _array(thing)
        elif isinstance(thing, GENERATORS):
            yield _generator(thing)
        elif hasattr(thing, '__dict__') and not isinstance(thing, LEFT_ALONE):
            yield partial(_set_attributes, vars(thing), dict(vars(thing)))
            to_see += vars(thing).values()
        else:
            continue
        seen[id(thing)] = thing


def _tensor(tensor: Tensor) -> Callable[[], None]:
    if tensor.is_meta or tensor.layout != torch.strided or tensor.is_quantized:
        return lambda: None
    data, values = tensor.data, tensor.data.clone()
    grad, trains = (tensor.grad, tensor.requires_grad) if tensor.is_leaf else (None, None)

    def put_back() -> None:
        if tensor.data_ptr() != data.data_ptr() or tensor.shape != data.shape:
            tensor.data = data
        if not torch.equal(data, values):
            data.copy_(values)  # unseen by autograd, since data has a version of its own
        if trains is not None:
            tensor.requires_grad_(trains)
            tensor.grad = grad

    return put_back


def _mapping(mapping: MutableMapping[Any, Any]) -> Callable[[], None]:
    items = list(mapping.items())

    def put_back() -> None:
        now = list(mapping.items())
        if len(now) != len(items) or any(
            a != c or b is not d for (a, b), (c, d) in zip(now, items, strict=True)
        ):
            mapping.clear()
            mapping.update(items)

    return put_back


def _sequence(sequence: list[Any] | deque[Any]) -> Callable[[], None]:
    members = list(sequence)

    def put_back() -> None:
        if list(map(id, sequence)) != list(map(id, members)):
            sequence.clear()
            sequence.extend(members)

    return put_back


def _set(members: set[Any]) -> Callable[[], None]:
    before = set(members)

    def put_back() -> None:
        members.intersection_update(before)
        members.update(before)

    return put_back


def _array(array: np.ndarray[Any, Any]) -> Callable[[], None]:
    values = array.copy()
    return lambda: np.copyto(array, values) if array.flags.writeable else None


def _generator(generator: Any) -> Callable[[], None]:
    if isinstance(generator, random.Random):
        return partial(generator.setstate, generator.getstate())
    if isinstance(generator, np.random.Generator):
        bits = generator.bit_generator
        return partial(setattr, bits, 'state', bits.state)
    return partial(generator.set_state, generator.get_state())


GENERATORS = (random.Random, np.random.Generator, np.random.RandomState, torch.Generator)


def _set_attributes(attributes: dict[str, Any], before: dict[str, Any]) -> None:
    """Give an object the attributes that it had."""
    for name in attributes.keys() - before.keys():
        del attributes[name]
    for name, value in before.items():
        if name not in attributes or attributes[name] is not value:
            attributes[name] = value

"""How tall and wide a map is, as a rule over the size of the picture."""

from collections.abc import Iterable
from typing import NamedTuple


class Step(NamedTuple):
    """One step from a length to the next, along one axis.

    ``window``: ``(length + value) // stride + 1`` (a convolution or a pooling);
    ``window_up``: the same, rounded up (a pooling with ``ceil_mode``);
    ``times``: ``length * value``; ``fixed``: ``value``, whatever the length.
    """

    kind: str
    value: int
    stride: int = 1


Rule = tuple[Step, ...]  # from the picture's length to the map's, along one axis
Size = tuple[Rule, Rule]  # height, width
PICTURE: Size = ((), ())
POINT: Size = ((Step('fixed', 1),), (Step('fixed', 1),))


def fixed(height: int, width: int) -> Size:
    """The size of a map that does not depend on the picture."""
    return (Step('fixed', height),), (Step('fixed', width),)


def apply(rule: Iterable[Step], length: int) -> int:
    """The length of a map along one axis, for a picture's length.

    Raises:
        ValueError: If the picture is too small for the rule.
    """
    result = length
    for kind, value, stride in rule:
        if kind == 'fixed':
            result = value
        elif kind == 'times':
            result *= value
        elif kind == 'window':
            result = (result + value) // stride + 1
        else:
            result = -(-(result + value) // stride) + 1
        if result < 1:
            raise ValueError(f'a picture of {length} pixels along one side is too small')
    return result


def size_at(size: Size, height: int, width: int) -> tuple[int, int]:
    """Height and width of a map, for a picture's height and width."""
    return apply(size[0], height), apply(size[1], width)


def then(rule: Rule, step: Step) -> Rule:
    """A rule with one more step, in its shortest form, so that equal sizes have equal rules."""
    if step.kind == 'fixed':
        return (step,)
    if step.kind == 'times' and step.value == 1:
        return rule
    if step.kind in ('window', 'window_up') and step.stride == 1:
        if step.value == -1:
            return rule
        step = step._replace(kind='window')
        if rule and rule[-1].kind == 'window' and rule[-1].stride == 1:
            return then(rule[:-1], Step('window', rule[-1].value + 1 + step.value))
    if len(rule) == 1 and rule[0].kind == 'fixed':
        return (Step('fixed', apply((step,), rule[0].value)),)
    return (*rule, step)


def after_window(
    size: Size,
    kernel: tuple[int, int],
    stride: tuple[int, int],
    padding: tuple[int, int, int, int] | None,
    dilation: tuple[int, int] = (1, 1),
    ceil: bool = False,
) -> Size:
    """The size after a convolution or a pooling.

    Args:
        size (Size): The size before it.
        kernel (tuple[int, int]): Height and width of the window.
        stride (tuple[int, int]): Its step.
        padding (tuple[int, int, int, int], optional): Zeros at the top, left, bottom and right;
            None for as many as ``ceil(length / stride)`` outputs need.
        dilation (tuple[int, int]): Distance of its taps. Defaults to (1, 1).
        ceil (bool): Whether the length is rounded up. Defaults to False.
    """
    rules = []
    for axis in (0, 1):
        span = dilation[axis] * (kernel[axis] - 1) + 1
        value = -1 if padding is None else padding[axis] + padding[axis + 2] - span
        kind = 'window_up' if ceil else 'window'
        rules.append(then(size[axis], Step(kind, value, stride[axis])))
    return rules[0], rules[1]


def scaled(size: Size, factor: tuple[int, int]) -> Size:
    """The size times a whole factor."""
    height, width = (then(rule, Step('times', by)) for rule, by in zip(size, factor, strict=True))
    return height, width

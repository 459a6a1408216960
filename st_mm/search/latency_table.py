"""The times of blocks at some widths, as measured once on a device, and all widths between."""

import json
from bisect import bisect_left
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

from st_mm.arguments import is_integer, is_number

KIND = 'st_mm unit latencies 1'
TOOL = 'measure one with tools/benchmarks/unit_latency.py'

Widths = Mapping[str, Mapping[str, int]]


@dataclass(frozen=True)
class Curve:
    """Seconds of a block over the units of one of its kernels: straight lines between points.

    Attributes:
        widths (tuple[int, ...]): Units, rising.
        seconds (tuple[float, ...]): Seconds at these, which do not fall.
    """

    widths: tuple[int, ...]
    seconds: tuple[float, ...]

    def __call__(self, width: int) -> float:
        """Interpolate; below the first point it is as slow as there."""
        right = bisect_left(self.widths, width)
        if right == 0:
            return self.seconds[0]
        (low, high), (fast, slow) = self.widths[right - 1 :][:2], self.seconds[right - 1 :][:2]
        if width == high:
            return slow
        return min(fast + (slow - fast) * ((width - low) / (high - low)), slow)


@dataclass(frozen=True)
class LatencyTable:
    """What was measured of one network.

    Attributes:
        input_shape (tuple[int, ...]): (channels, height, width) of one picture.
        whole (float): Seconds of the network with all its units.
        curves (Mapping[str, Mapping[str, Curve]]): By the owner of units, and kernel.
        conditions (Mapping[str, Any]): Device, threads, versions.
        file (str): Where it comes from, for errors. Defaults to nothing.
    """

    input_shape: tuple[int, ...]
    whole: float
    curves: Mapping[str, Mapping[str, Curve]]
    conditions: Mapping[str, Any]
    file: str = ''

    @classmethod
    def read(cls, path: Any) -> 'LatencyTable':
        """Read a table.

        Args:
            path (str | Path): The JSON file.

        Raises:
            ValueError: If there is no such file, or it is something else.
        """
        if not isinstance(path, str | Path) or not Path(path).is_file():
            raise ValueError(f'there is no table of latencies {path!r}: {TOOL}')
        try:
            plain = json.loads(Path(path).read_text(encoding='utf-8'))
            if plain['kind'] != KIND:
                raise ValueError('another kind')
            curves = {
                name: {group: _curve(points) for group, points in groups.items()}
                for name, groups in plain['curves'].items()
            }
            shape, whole = plain['input_shape'], plain['whole']
            if not is_number(whole) or not all(is_integer(side, 1) for side in shape):
                raise ValueError('no numbers')
            return cls(tuple(shape), whole, curves, plain['conditions'], str(path))
        except (ValueError, TypeError, KeyError, AttributeError) as error:
            raise ValueError(f'{path} is not a table of latencies ({error!r}): {TOOL}') from error

    def text(self) -> str:
        """Write the table as JSON."""
        plain = dict(
            kind=KIND,
            conditions=dict(self.conditions),
            input_shape=list(self.input_shape),
            whole=self.whole,
            curves={
                name: {group: asdict(curve) for group, curve in groups.items()}
                for name, groups in self.curves.items()
            },
        )
        return json.dumps(plain, indent=2) + '\n'

    def check(self, widths: Widths, input_shape: Sequence[int]) -> None:
        """Refuse a table of another network or picture.

        Args:
            widths (Mapping[str, Mapping[str, int]]): Units by owner and kernel.
            input_shape (Sequence[int]): (channels, height, width) of one picture.

        Raises:
            ValueError: Naming the first difference.
        """
        if tuple(input_shape) != self.input_shape:
            raise ValueError(
                f'{self.file} has the latencies at {_size(self.input_shape)}, and input_shape is '
                f'{_size(input_shape)}: {TOOL}'
            )
        for name in sorted(widths.keys() | self.curves.keys()):
            ours, theirs = widths.get(name, {}), self.curves.get(name, {})
            most = {group: curve.widths[-1] for group, curve in theirs.items()}
            if ours.keys() != most.keys() or any(n > most[group] for group, n in ours.items()):
                raise ValueError(
                    f"{self.file} has the latencies of another network: '{name}' has units "
                    f'{dict(ours)}, and was measured up to {most}; {TOOL}'
                )

    def saved(self, name: str, group: str, before: int, after: int) -> float:
        """Compute the seconds that go where a kernel of a block goes from one width to another."""
        curve = self.curves[name][group]
        return curve(before) - curve(after)

    def total(self, widths: Widths) -> float:
        """Compute the seconds of the network at other widths (units by owner and kernel)."""
        gone = 0.0
        for name, groups in widths.items():
            for group, count in groups.items():
                gone += self.saved(name, group, self.curves[name][group].widths[-1], count)
        return self.whole - gone


def _curve(points: Mapping[str, Any]) -> Curve:
    curve = Curve(tuple(points['widths']), tuple(points['seconds']))
    rising = all(one < other for one, other in pairwise(curve.widths))
    slower = all(one <= other for one, other in pairwise(curve.seconds))
    if not (rising and slower and len(curve.widths) == len(curve.seconds) > 0):
        raise ValueError('widths that do not rise, or seconds that fall')
    if not all(map(is_number, curve.seconds)) or not all(is_integer(n, 0) for n in curve.widths):
        raise ValueError('something else than numbers')
    return curve


def _size(shape: Sequence[int]) -> str:
    return 'x'.join(map(str, shape))

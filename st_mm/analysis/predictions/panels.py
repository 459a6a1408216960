"""The parts of a figure of predictions, as values."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from numpy.typing import NDArray

Array = NDArray[Any]
Colour = tuple[int, int, int]  # RGB, 0 to 255


@dataclass(frozen=True)
class Picture:
    """A picture.

    Attributes:
        image (np.ndarray): (H, W, 3) uint8, RGB.
        caption (str): Text below it. Defaults to none.
    """

    image: Array
    caption: str = ''


@dataclass(frozen=True)
class Bars:
    """Shares of some classes.

    Attributes:
        names (tuple[str, ...]): The classes, the largest share first.
        shares (tuple[float, ...]): 0 to 1.
        right (int, optional): Place of the class that is the truth; None if it is not among them.
    """

    names: tuple[str, ...]
    shares: tuple[float, ...]
    right: int | None


Panel = Picture | Bars


@dataclass(frozen=True)
class Predictions:
    """Pictures in rows: what is given, then what each network says of it.

    Attributes:
        columns (tuple[str, ...]): Their titles.
        rows (Sequence[Sequence[Panel]]): A panel for each column.
        legend (Sequence[tuple[str, Colour]]): Names of colours that occur; may be empty.
    """

    columns: tuple[str, ...]
    rows: Sequence[Sequence[Panel]]
    legend: Sequence[tuple[str, Colour]] = ()

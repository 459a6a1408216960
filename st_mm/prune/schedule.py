"""Pruning schedules: the ratio as a pure function of progress (paper Section 3.2)."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Progressive:
    """Prune every ``interval``, each time ``step`` more, up to ``ratio``.

    Time runs in epochs or iterations, whichever the caller counts; t is the number done.

    Attributes:
        ratio (float): Share of the weights masked in the end, p in (0, 1).
        interval (int): Time between two prunes, t_p.
        step (float): Share added by each prune; 1 prunes to ``ratio`` at once (no PP).
            Defaults to 0.1.
        begin (int): Time from which intervals are counted. Defaults to 0.
        end (int, optional): Last time at which a prune may happen; None for the end of training.

    Raises:
        ValueError: If a field is out of its range.
    """

    ratio: float
    interval: int
    step: float = 0.1
    begin: int = 0
    end: int | None = None

    def __post_init__(self) -> None:
        if not 0 < self.ratio < 1:
            raise ValueError(f'ratio must be between 0 and 1, got {self.ratio}')
        if not isinstance(self.interval, int) or self.interval < 1:
            raise ValueError(f'interval must be an integer of at least 1, got {self.interval}')
        if not 0 < self.step <= 1:
            raise ValueError(f'step must be above 0 and at most 1, got {self.step}')
        if not isinstance(self.begin, int) or self.begin < 0:
            raise ValueError(f'begin must be an integer of at least 0, got {self.begin}')
        first = self.begin + self.interval
        if self.end is not None and (not isinstance(self.end, int) or self.end < first):
            raise ValueError(
                f'end must be an integer that leaves room for a prune at {first}, got {self.end}'
            )

    def due(self, t: int) -> bool:
        """Whether a prune happens when t is done."""
        passed = t - self.begin
        return passed > 0 and passed % self.interval == 0 and (self.end is None or t <= self.end)

    def ratio_at(self, t: int) -> float:
        """Ratio that holds when t is done: min(p, step * number of prunes so far)."""
        if self.end is not None:
            t = min(t, self.end)
        prunes = max(t - self.begin, 0) // self.interval
        # rounded, since 3 * 0.1 is a little more than 0.3
        return min(self.ratio, round(self.step * prunes, 12))

    def last(self, total: int) -> int | None:
        """Time of the last prune in a training of length ``total``; None if there is none."""
        horizon = total if self.end is None else min(total, self.end)
        last = horizon - (horizon - self.begin) % self.interval
        return last if last > self.begin else None

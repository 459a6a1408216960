"""How far a search has come on the way to its target, as its record says."""

from collections.abc import Mapping
from dataclasses import dataclass

from st_mm.hooks.event_lines import amount
from st_mm.hooks.way_to_target import START, TARGET, aim_of
from st_mm.search import REACHED, Budget
from st_mm.ticket import Ticket


@dataclass(frozen=True)
class Course:
    """The course of one resource, such as the MACs.

    Attributes:
        name (str): The resource.
        start (float): What the training began with.
        target (float): Where the search goes to.
        now (float, optional): What was left after the last search step; None before the first.
        when (str): That step, such as ``'epoch 30'``.
        steps (int): Search steps on the way to this target.
    """

    name: str
    start: float
    target: float
    now: float | None
    when: str
    steps: int

    @property
    def excess(self) -> float | None:
        """By which share of the target the network is above it."""
        return None if self.now is None else self.now / self.target - 1

    @property
    def reached(self) -> bool:
        """Whether the target counts as reached."""
        return self.excess is not None and self.excess <= REACHED

    def __str__(self) -> str:
        start = amount(self.name, self.start)
        begun = f'{start} at the start, target {self._number(self.target)}'
        if self.now is None or self.excess is None:
            return f'{begun}; no search step yet'
        end = 'reached' if self.reached else 'not reached'
        return (
            f'{begun}; {self._number(self.now)} at {self.when}, {100 * self.excess:+.1f} %: {end}'
        )

    def _number(self, value: float) -> str:
        """Write an amount of the resource, which has been named before."""
        words = amount(self.name, value)
        return words if self.name == 'latency' else words.partition(' ')[0]


def courses(ticket: Ticket) -> list[Course]:
    """Read the course of every resource of the last target.

    Args:
        ticket (Ticket): The record.

    Returns:
        list[Course]: None without a target, or where an older version has noted too little.
    """
    events = ticket.events
    places = [place for place, event in enumerate(events) if event['kind'] == TARGET]
    steps = [e for e in events[places[-1] if places else 0 :] if e['kind'] == 'search']
    noted = events[places[-1]] if places else next((e for e in steps if START + 'macs' in e), {})
    limits = aim_of(events) or _limits(ticket, noted)
    found = []
    for name, limit in limits.items():
        left = [event for event in steps if name in event]
        now, when = (left[-1][name], f'{left[-1]["unit"]} {left[-1]["t"]}') if left else (None, '')
        if limit > 0 and START + name in noted and (places or left):
            found.append(Course(name, noted[START + name], limit, now, when, len(left)))
    return found


def _limits(ticket: Ticket, noted: Mapping[str, float]) -> dict[str, float]:
    """Compute the target of a record that was written before it was noted in figures."""
    target = ticket.config.get('SearchHook', {}).get('target')
    start = {n.removeprefix(START): value for n, value in noted.items() if n.startswith(START)}
    try:
        return Budget(target, list(start)).limits(start)
    except ValueError:  # none, or not of what was noted
        return {}

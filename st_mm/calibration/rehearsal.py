"""A rehearsal: what an event will compute, tried before training, so that it does not fail late."""

from collections.abc import Iterator
from contextlib import contextmanager

from torch import nn


@contextmanager
def rehearsal(what: str, model: nn.Module, advice: str) -> Iterator[None]:
    """Refuse a training whose events cannot be computed.

    Args:
        what (str): What is tried, for the error.
        model (nn.Module): The model that it is computed from.
        advice (str): What to do if it fails.

    Raises:
        ValueError: Naming both, if anything is raised.
    """
    try:
        yield
    except Exception as error:  # a model may raise anything
        said = str(error) or type(error).__name__
        raise ValueError(
            f'{what} cannot be computed for {type(model).__name__} ({said}): {advice}'
        ) from error

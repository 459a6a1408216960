"""What a checkpoint is called in a figure."""

from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from st_mm.analysis.checkpoints import Opened


def label_of(opened: Opened) -> str:
    """Name a checkpoint by its config, up to the first underscore, and the share it has pruned.

    Args:
        opened (Opened): The checkpoint.

    Returns:
        str: Two lines, such as ``'pp-irs'`` and ``'90 % pruned'``; or one where nothing is masked.
    """
    name = opened.facts.config.partition('_')[0]
    keep = [opened.ticket.mask(each) for each in opened.ticket.masks] if opened.ticket else []
    total = sum(mask.numel() for mask in keep)
    masked = total - sum(int(mask.sum()) for mask in keep)
    return f'{name}\n{100 * masked / total:.3g} % pruned' if masked else name


def distinct(labels: Sequence[str], paths: Sequence[str | Path]) -> list[str]:
    """Add the names of the files to labels that occur more than once.

    Args:
        labels (Sequence[str]): A label of each checkpoint.
        paths (Sequence[str | Path]): The checkpoints.

    Returns:
        list[str]: The labels.

    Raises:
        ValueError: If some are the same nevertheless.
    """
    count = Counter(labels)
    named = [
        f'{label}\n{Path(path).stem}' if count[label] > 1 else label
        for label, path in zip(labels, paths, strict=True)
    ]
    if len(set(named)) < len(named):
        raise ValueError(
            'some checkpoints would have the same label: give every one its own (--labels)'
        )
    return named

"""What the head of a network tells apart."""

from collections.abc import Mapping
from typing import Any


def labels(meta: Mapping[str, Any]) -> list[str] | None:
    """Names of the classes, or else of the keypoints, of a data set.

    Args:
        meta (Mapping[str, Any]): Its ``metainfo``, or ``dataset_meta`` of a checkpoint.

    Returns:
        list[str], optional: The names in their order; None if it has none.
    """
    names = meta.get('classes') or meta.get('keypoint_name2id') or ()
    return [str(name) for name in names] or None


def differ(ours: Mapping[str, Any], theirs: Mapping[str, Any]) -> bool:
    """Whether two data sets are known to have other classes or keypoints."""
    pair = labels(ours), labels(theirs)
    return None not in pair and pair[0] != pair[1]

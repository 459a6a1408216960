"""What somebody needs to know around a network: how to prepare pictures, what outputs mean."""

from collections.abc import Mapping
from typing import Any

from st_mm.models.preprocessing import normalization


def describe(model: Any, meta: Mapping[str, Any], size: tuple[int, int]) -> dict[str, Any]:
    """Describe a network in plain values.

    Args:
        model (nn.Module): An mm model with its ``data_preprocessor``.
        meta (Mapping): The ``meta`` of its checkpoint; ``dataset_meta`` is read where it is there.
        size (tuple[int, int]): Height and width that it was trained for.

    Returns:
        dict: ``task``, ``mean`` and ``std`` by channel of the network, ``channel_order``, ``size``;
        ``classes``, ``palette``, ``keypoints`` and ``skeleton`` where the checkpoint knows them.
    """
    preprocessor = getattr(model, 'data_preprocessor', None)
    facts: dict[str, Any] = dict(task=find_task(model), size=list(size))
    facts.update(normalization(preprocessor))
    dataset = meta.get('dataset_meta') or {}
    for key in ('classes', 'palette'):
        if dataset.get(key):
            facts[key] = _plain(dataset[key])
    names = dataset.get('keypoint_id2name') or {}
    if names:
        facts['keypoints'] = [str(names[i]) for i in sorted(names)]
        facts['skeleton'] = _plain(dataset.get('skeleton_links') or [])
    return facts


def find_task(model: Any) -> str:
    """The task of an mm model: segmentation, pose, classification, or other."""
    library = type(model).__module__.partition('.')[0]
    tasks = dict(mmseg='segmentation', mmpose='pose', mmpretrain='classification')
    return tasks.get(library, 'other')


def _plain(value: Any) -> Any:
    """Tuples, arrays and tensors as lists of numbers and text."""
    if hasattr(value, 'tolist'):
        return value.tolist()
    if isinstance(value, (list, tuple)):
        return [_plain(item) for item in value]
    return value

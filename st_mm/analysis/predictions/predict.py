"""What tickets predict for pictures of a data set, one after the other."""

import copy
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import torch
from mmengine.config import Config, ConfigDict
from mmengine.dataset import pseudo_collate
from mmengine.registry import DATASETS, DefaultScope

from st_mm.analysis.checkpoints import open_checkpoint
from st_mm.files import check_checkpoint

from .classes import Classes
from .labels import distinct, label_of
from .panels import Colour, Panel, Predictions
from .poses import Poses
from .segmentation import Segmentation

SPLITS = ('test', 'val', 'train')
TASKS: dict[str, type['Task']] = dict(mmseg=Segmentation, mmpose=Poses, mmpretrain=Classes)


class Task(Protocol):
    """How the samples of a task are shown.

    Attributes:
        columns (tuple[str, ...]): Titles of what is given.
        legend (tuple[tuple[str, Colour], ...]): Names of the colours shown so far.
    """

    @property
    def columns(self) -> tuple[str, ...]: ...  # noqa: D102
    @property
    def legend(self) -> tuple[tuple[str, Colour], ...]: ...  # noqa: D102

    def __init__(self, meta: Any) -> None: ...

    def given(self, sample: Any) -> tuple[Panel, ...]:
        """Show what is known of a data sample."""

    def predicted(self, sample: Any) -> Panel:
        """Show what a network says of it."""


def predict(
    config: str | Path,
    checkpoints: Sequence[str | Path],
    labels: Sequence[str] = (),
    split: str = 'test',
    number: int = 4,
) -> Predictions:
    """Let networks predict some pictures, spread evenly over a split of the data set.

    The pictures go through the pipeline of the test, those of other splits too.

    Args:
        config (str | Path): Config of mmseg, mmpose (top-down) or mmpretrain.
        checkpoints (Sequence[str | Path]): Weights of its model, at least one.
        labels (Sequence[str]): What they are called. Defaults to :func:`~.labels.label_of`.
        split (str): Which dataloader names the data: ``'test'``, ``'val'`` or ``'train'``.
            Defaults to ``'test'``.
        number (int): Number of pictures; fewer if the split has fewer. Defaults to 4.

    Returns:
        Predictions: A row for each picture, and a column for each checkpoint after what is given.

    Raises:
        FileNotFoundError: If the config or a checkpoint is missing.
        ValueError: If a checkpoint is truncated or does not fit the model, the config is not one of
            these tasks with such a dataloader, the data are missing, or two labels are the same.
    """
    if not Path(config).is_file():
        raise FileNotFoundError(f'there is no config {config}')
    if labels and len(set(labels)) != len(checkpoints):
        raise ValueError(
            f'{len(checkpoints)} checkpoints need as many different labels, got '
            f'{", ".join(map(repr, labels))}'
        )
    for checkpoint in checkpoints:
        check_checkpoint(checkpoint)
    settings = Config.fromfile(config)
    scope = settings.get('default_scope')
    if scope not in TASKS or f'{split}_dataloader' not in settings:
        raise ValueError(
            f'{config} is not a config of {", ".join(TASKS)} with a {split}_dataloader'
        )
    with DefaultScope.overwrite_default_scope(scope):
        dataset = build_data(settings, split)
        if not len(dataset):
            raise ValueError(f'the {split} split of {config} is empty: check data_root')
        if getattr(dataset, 'data_mode', 'topdown') != 'topdown':
            raise ValueError(f'{config} is not top-down: poses are drawn of one person a crop')
        task = TASKS[scope](dataset.metainfo)
        places = np.linspace(0, len(dataset) - 1, min(number, len(dataset))).astype(int)
        samples = [dataset[int(place)] for place in places]
        rows = [list(task.given(sample['data_samples'])) for sample in samples]
        names: list[str] = []
        for checkpoint in checkpoints:
            opened = open_checkpoint(checkpoint, config)
            names.append(label_of(opened))
            model: Any = opened.model.eval()
            for row, sample in zip(rows, samples, strict=True):
                batch = pseudo_collate([copy.deepcopy(sample)])  # a model writes into its samples
                with torch.no_grad():
                    [found] = model.test_step(batch)
                row.append(task.predicted(found))
    columns = labels or distinct(names, checkpoints)
    return Predictions((*task.columns, *columns), rows, task.legend)


def build_data(settings: Config, split: str) -> Any:
    """Build the data set of a split, with the pipeline of the test.

    Args:
        settings (Config): A whole config.
        split (str): Which dataloader names the data.

    Returns:
        BaseDataset: The data set; wrappers around it are removed.

    Raises:
        ValueError: If its files are not there.
    """
    dataset = copy.deepcopy(_inner(settings[f'{split}_dataloader'].dataset))
    dataset.pipeline = _inner(settings.test_dataloader.dataset).pipeline
    try:
        return DATASETS.build(dataset)
    except (FileNotFoundError, AssertionError) as error:  # mmpose asserts that its file exists
        raise ValueError(f'the data of {split}_dataloader are not there: {error}') from error


def _inner(dataset: ConfigDict) -> ConfigDict:
    """The data set in RepeatDataset and its kind."""
    while 'dataset' in dataset:
        dataset = dataset.dataset
    return dataset

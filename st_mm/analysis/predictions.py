"""What a segmentation ticket predicts for pictures of its data set."""

import copy
from pathlib import Path
from typing import Any

import numpy as np
from mmengine.config import Config
from mmengine.registry import DATASETS, DefaultScope

from st_mm.files import check_checkpoint

from .plots import Prediction

SPLITS = ('test', 'val', 'train')


def predict(
    config: str | Path, checkpoint: str | Path, split: str = 'test', number: int = 4
) -> tuple[list[Prediction], dict[str, Any]]:
    """Segment some pictures, spread evenly over a split of the data set.

    Args:
        config (str | Path): Config of a segmentation model.
        checkpoint (str | Path): Its weights.
        split (str): Which dataloader names the data: ``'test'``, ``'val'`` or ``'train'``.
            Defaults to ``'test'``.
        number (int): Number of pictures; fewer if the split has fewer. Defaults to 4.

    Returns:
        tuple[list[Prediction], dict]: The pictures with labels, and the ``metainfo`` of the data
        set with ``classes`` and ``palette``.

    Raises:
        FileNotFoundError: If the config, the checkpoint or the data are missing.
        RuntimeError: If the weights do not fit the model.
        ValueError: If the checkpoint is truncated, the config is not an mmseg config with such a
            dataloader, or the split is empty.
    """
    from mmseg.apis import inference_model, init_model  # an optional library

    if not Path(config).is_file():
        raise FileNotFoundError(f'there is no config {config}')
    check_checkpoint(checkpoint)
    settings = Config.fromfile(config)
    if settings.get('default_scope') != 'mmseg' or f'{split}_dataloader' not in settings:
        raise ValueError(f'{config} is not an mmseg config with a {split}_dataloader')
    dataset = build_truth(settings[f'{split}_dataloader'].dataset)
    if not len(dataset):
        raise ValueError(f'the {split} split of {config} is empty: check data_root')
    model = init_model(settings, str(checkpoint), device='cpu')
    samples = []
    for index in np.linspace(0, len(dataset) - 1, min(number, len(dataset))).astype(int):
        truth = dataset[int(index)]
        result = inference_model(model, truth['img_path'])
        labels = result.pred_sem_seg.data[0].numpy()
        # images are loaded BGR
        image = np.ascontiguousarray(truth['img'][..., ::-1])
        samples.append(Prediction(image, truth['gt_seg_map'].astype(int), labels))
    return samples, dataset.metainfo


def build_truth(config: Any) -> Any:
    """Build a data set that gives pictures and labels as they are on the disk.

    Args:
        config (ConfigDict): Config of an mmseg data set; wrappers around it are removed.

    Returns:
        BaseSegDataset: The data set, with a pipeline that only loads.
    """
    while 'dataset' in config:
        config = config.dataset
    config = copy.deepcopy(config)
    config.pipeline = [dict(type='LoadImageFromFile'), dict(type='LoadAnnotations')]
    with DefaultScope.overwrite_default_scope('mmseg'):
        return DATASETS.build(config)

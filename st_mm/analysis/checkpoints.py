"""Opening a checkpoint: the supernet of its config, and the ticket with its weights."""

import copy
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mmengine.config import Config
from torch import nn

from st_mm.models.building import build_model, load_strictly
from st_mm.printable import printable
from st_mm.ticket import Ticket, load_checkpoint

from .config_text import ADVICE, check_types, foreign_imports, read_config

Shape = tuple[int, int, int]

TIMESTAMP = re.compile(r'_\d{8}_\d{6}$')
GIT_HASH = re.compile(r'([0-9a-f]{40}|unknown)$')  # mmengine appends it to its version
# transforms that set the size of a training picture -> argument, whether it is (height, width)
CROPS = dict(
    RandomCrop=('crop_size', True),
    CenterCrop=('crop_size', True),
    RandomResizedCrop=('scale', True),
    EfficientNetRandomCrop=('scale', True),
    TopdownAffine=('input_size', False),
)


@dataclass(frozen=True)
class Facts:
    """Where a checkpoint comes from.

    Attributes:
        path (str): The file.
        size (int): Size of the file in bytes.
        published (bool): Whether it has nothing but ``meta`` and ``state_dict``.
        config (str): Name of the config.
        dataset (str): Type, folder and classes of the training data.
        epoch (int, optional): Epochs done.
        iteration (int, optional): Iterations done.
        versions (dict[str, str]): Versions of the libraries at the time.
    """

    path: str
    size: int
    published: bool
    config: str
    dataset: str
    epoch: int | None
    iteration: int | None
    versions: dict[str, str]


@dataclass(frozen=True)
class Opened:
    """A checkpoint that has been read.

    Attributes:
        facts (Facts): Where it comes from.
        config (Config): The config it was trained with.
        ticket (Ticket, optional): Its record, if it has one.
        supernet (nn.Module): The model that the config builds, with every unit alive.
        model (nn.Module): The same model with the shapes and weights of the checkpoint.
    """

    facts: Facts
    config: Config
    ticket: Ticket | None
    supernet: nn.Module
    model: nn.Module
    meta: dict[str, Any]


def open_checkpoint(
    path: str | Path, config_file: str | Path | None = None, trust: bool = False
) -> Opened:
    """Read a checkpoint, build the model of its config and load the weights, strictly.

    The config in a checkpoint is Python. It is read and not run, unless it is trusted.

    Args:
        path (str | Path): An mm checkpoint, as trained or as published.
        config_file (str | Path, optional): A config to take instead of the one in the checkpoint;
            it is run. Defaults to None.
        trust (bool): Whether to run the config in the checkpoint. Defaults to False.

    Returns:
        Opened: The checkpoint and its models, on the CPU.

    Raises:
        FileNotFoundError: If there is no such file.
        ValueError: If it is not an mm checkpoint, its config does not build a model, or its
            weights do not fit that model.
    """
    checkpoint = load_checkpoint(path)
    meta = checkpoint['meta']
    config = _config_of(path, meta, config_file, trust)
    try:
        supernet = build_model(config)
    except Exception as error:  # a config may build anything
        left = foreign_imports(config) if config_file is None and not trust else []
        advice = (
            f'; it imports {left[0]!r}, and nothing is imported out of a checkpoint: {ADVICE}'
            if left
            else ''
        )
        raise ValueError(
            f'the config in {config_file or path} does not build a model: {error}{advice}'
        ) from error
    model = copy.deepcopy(supernet)
    try:
        load_strictly(model, checkpoint['state_dict'])
        ticket = Ticket.from_meta(meta)
    except (RuntimeError, TypeError, ValueError) as error:
        raise ValueError(f'{path}: {error}') from error
    published = checkpoint.keys() <= {'meta', 'state_dict'}
    facts = Facts(
        path=str(path),
        size=Path(path).stat().st_size,
        published=published,
        config=TIMESTAMP.sub('', printable(_text_of(meta, 'experiment_name'))) or 'unnamed',
        dataset=printable(_describe_data(config, meta.get('dataset_meta'))),
        epoch=_time_of(meta, 'epoch'),
        iteration=_time_of(meta, 'iter'),
        versions=dict(ticket.versions) if ticket else _versions(meta),
    )
    return Opened(facts, config, ticket, supernet, model, meta)


def _config_of(
    path: str | Path, meta: Mapping[str, Any], config_file: str | Path | None, trust: bool
) -> Config:
    """The config of a checkpoint: from a file, or the text in it, which is run where trusted."""
    text = meta.get('cfg')
    if config_file is None and not isinstance(text, str):
        raise ValueError(f'{path} carries no config (meta has no cfg), so no model can be built')
    try:
        if config_file is not None:
            return Config.fromfile(config_file)
        if trust:
            return Config.fromstring(text, file_format='.py')
        config = read_config(str(text))
        check_types(config)
    except OSError:
        raise
    except Exception as error:  # a config that is run may raise anything
        raise ValueError(
            f'the config {"" if config_file is None else f"{config_file} "}of {path} cannot be '
            f'read: {error}'
        ) from error
    return config


def find_input_shape(config: Config, ticket: Ticket | None) -> Shape:
    """Find the input at which MACs are counted by default.

    Args:
        config (Config): The config of the training.
        ticket (Ticket, optional): The record; its SearchHook's ``input_shape`` has priority.

    Returns:
        tuple[int, int, int]: Channels, height and width: the SearchHook's, or that of the
        training pictures by ``data_preprocessor.size`` or the last crop of the pipeline.

    Raises:
        ValueError: If there is none of these.
    """
    if ticket and 'SearchHook' in ticket.config:
        channels, height, width = ticket.config['SearchHook']['input_shape']
        return channels, height, width
    channels = (config.model.get('backbone') or {}).get('in_channels', 3)
    preprocessor = config.model.get('data_preprocessor') or config.get('data_preprocessor') or {}
    if size := preprocessor.get('size'):
        return channels, *_pair(size)
    sizes = []
    for transform in _transforms(config.get('train_dataloader') or {}):
        argument, upright = CROPS.get(transform['type'].rpartition('.')[2], ('', True))
        if argument in transform:
            sizes.append(_pair(transform[argument], upright))
    if not sizes:
        raise ValueError(
            'the checkpoint does not say at which input MACs are to be counted: give --input-shape'
        )
    return channels, *sizes[-1]


def _pair(size: Any, upright: bool = True) -> tuple[int, int]:
    """Read (height, width) from a size: one number, (height, width), or (width, height)."""
    if isinstance(size, int):
        return size, size
    first, second = size
    return (first, second) if upright else (second, first)


def _transforms(node: Any) -> Iterator[Mapping[str, Any]]:
    """Yield every dict with a type inside a dataloader's config, in order."""
    if isinstance(node, Mapping):
        if isinstance(node.get('type'), str):
            yield node
        node = list(node.values())
    if isinstance(node, (list, tuple)):
        for child in node:
            yield from _transforms(child)


def _time_of(meta: Mapping[str, Any], unit: str) -> int | None:
    """Epochs or iterations done, where the file says a number."""
    time = meta.get(unit)
    return time if type(time) is int else None


def _text_of(meta: Mapping[str, Any], name: str) -> str:
    """An entry where the file says text."""
    text = meta.get(name)
    return text if isinstance(text, str) else ''


def _describe_data(config: Config, meta: Any) -> str:
    """The data set in words: type, folder, what is predicted."""
    loader = config.get('train_dataloader') or config.get('test_dataloader')
    dataset = loader.get('dataset') if isinstance(loader, dict) else None
    while isinstance(dataset, dict) and 'dataset' in dataset:  # RepeatDataset and its kind
        dataset = dataset['dataset']
    dataset = dataset if isinstance(dataset, dict) else {}
    meta = meta if isinstance(meta, dict) else {}
    words = [str(dataset.get('type', 'unknown'))]
    if dataset.get('data_root'):
        words.append(str(dataset['data_root']))
    if isinstance(meta.get('classes'), list | tuple):
        words.append(f'{len(meta["classes"])} classes')
    elif meta.get('num_keypoints'):
        words.append(f'{meta["num_keypoints"]} keypoints')
    return ', '.join(words)


def _versions(meta: Mapping[str, Any]) -> dict[str, str]:
    version = printable(GIT_HASH.sub('', _text_of(meta, 'mmengine_version')))
    return dict(mmengine=version) if version else {}

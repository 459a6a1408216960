"""Scores of a network in several forms on the pictures of a config, by mm's own metrics."""

import copy
from collections.abc import Callable, Sequence

import numpy as np
import torch
from mmengine import Config
from mmengine.evaluator import Evaluator
from mmengine.runner import Runner
from torch import Tensor, nn
from torch.utils.data import DataLoader

from st_mm.analysis.table import Table

ERROR = 'largest error of outputs'
Run = Callable[[np.ndarray], Sequence[np.ndarray]]


def through(model: nn.Module, run: Run) -> nn.Module:
    """A model that lets a runtime compute all between its preprocessor and its head's outputs."""
    model = copy.deepcopy(model)

    def compute(pictures: Tensor, *_: object, **__: object) -> list[Tensor]:
        return [torch.from_numpy(output) for output in run(pictures.numpy())]

    def passed(features: list[Tensor], *_: object, **__: object) -> Tensor | list[Tensor]:
        return features[0] if len(features) == 1 else features

    model.extract_feat = compute
    head_of(model).forward = passed
    return model


def head_of(model: nn.Module) -> nn.Module:
    """The head whose outputs are those of the network."""
    return model.decode_head if hasattr(model, 'decode_head') else model.head


def kept_outputs(model: nn.Module) -> list[Tensor]:
    """A list to which a model's head adds its outputs from now on."""
    head, kept = head_of(model), []
    forward = head.forward

    def keep(*arguments: object, **named: object) -> Tensor | list[Tensor]:
        output = forward(*arguments, **named)
        kept.extend(output if isinstance(output, list | tuple) else [output])
        return output

    head.forward = keep
    return kept


def load_split(config: Config, split: str) -> DataLoader:
    """The pictures of a split: ``'train'``, ``'val'`` or ``'test'``.

    Raises:
        ValueError: If the config names none, or they are not there.
    """
    loader = config.get(f'{split}_dataloader')
    if loader is None:
        raise ValueError(f'the config has no {split}_dataloader')
    loader = loader.copy()
    loader.update(num_workers=0, persistent_workers=False)
    try:
        return Runner.build_dataloader(loader)
    except (FileNotFoundError, AssertionError) as error:  # mmpose asserts that its file exists
        raise ValueError(f'the data of {split}_dataloader are not there: {error}') from error


def score(config: Config, split: str, models: dict[str, nn.Module]) -> dict[str, dict[str, float]]:
    """Run the pictures of a split through every model, one named PyTorch; return their metrics."""
    pictures = load_split(config, split)
    metrics = config[f'{split}_evaluator']
    evaluators = {name: Evaluator(copy.deepcopy(metrics)) for name in models}
    outputs = {name: kept_outputs(model) for name, model in models.items()}
    errors = dict.fromkeys(models, 0.0)
    for evaluator in evaluators.values():
        evaluator.dataset_meta = pictures.dataset.metainfo
    for batch in pictures:
        for name, model in models.items():
            outputs[name].clear()
            data = copy.deepcopy(batch)  # a model writes its predictions into the samples
            with torch.no_grad():
                samples = model.test_step(data)
            evaluators[name].process(data_samples=samples, data_batch=data)
        want = outputs['PyTorch']
        for name, got in outputs.items():
            for ours, theirs in zip(got, want, strict=True):
                error = float((ours - theirs).abs().max() / theirs.abs().max().clamp(min=1e-12))
                errors[name] = max(errors[name], error)
    count = len(pictures.dataset)
    return {
        name: {**evaluator.evaluate(count), ERROR: errors[name]}
        for name, evaluator in evaluators.items()
    }


def score_table(
    scores: dict[str, dict[str, float]], title: str, notes: tuple[str, ...] = ()
) -> Table:
    """A row for each metric, a column for each form."""
    return Table(
        ('', *scores),
        tuple(
            (
                name,
                *(
                    f'{metrics[name]:{".1e" if name == ERROR else ".4f"}}'
                    for metrics in scores.values()
                ),
            )
            for name in next(iter(scores.values()))
        ),
        title=title,
        notes=(*notes, 'The error is the largest of any picture, relative to its largest output.'),
    )

"""Scores of a network in several forms on the pictures of a config, by mm's own metrics."""

import argparse
import copy

import torch
from mmengine import Config, DictAction
from mmengine.evaluator import Evaluator
from mmengine.registry import init_default_scope
from mmengine.runner import Runner
from network import Run
from torch import Tensor, nn
from torch.utils.data import DataLoader

from st_mm.analysis.checkpoints import open_checkpoint
from st_mm.analysis.table import Table
from st_mm.command_line import add_config
from st_mm.deploy.compact import Compaction, compact
from st_mm.deploy.graph import Graph
from st_mm.deploy.trace import trace
from st_mm.distillation import find_head, kept_output

ERROR = 'largest error of outputs'


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add what says how a ticket is scored."""
    add_config(parser)
    parser.add_argument('--split', choices=('val', 'test'), default='test', help='(%(default)s)')
    parser.add_argument(
        '--cfg-options', nargs='+', action=DictAction, metavar='KEY=VALUE',
        help="changes to the config, as in mm's own tools",
    )  # fmt: skip


def open_scored(options: argparse.Namespace) -> tuple[Config, nn.Module, Graph, Compaction]:
    """Open a ticket: its config as the options change it, its model, and its compacted graph."""
    opened = open_checkpoint(options.ticket, options.config, options.trust)
    if options.cfg_options:
        opened.config.merge_from_dict(options.cfg_options)
    init_default_scope(opened.config.get('default_scope', 'mmengine'))
    model = opened.model.eval()
    return opened.config, model, *compact(trace(model))


def through(model: nn.Module, run: Run) -> nn.Module:
    """A model that lets a runtime compute all between its preprocessor and its head's outputs."""
    model = copy.deepcopy(model)

    def compute(pictures: Tensor, *_: object, **__: object) -> list[Tensor]:
        return [torch.from_numpy(output) for output in run(pictures.numpy())]

    def passed(features: list[Tensor], *_: object, **__: object) -> Tensor | list[Tensor]:
        return features[0] if len(features) == 1 else features

    model.extract_feat = compute
    find_head(model).forward = passed
    return model


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
    errors = dict.fromkeys(models, 0.0)
    for evaluator in evaluators.values():
        evaluator.dataset_meta = pictures.dataset.metainfo
    for batch in pictures:
        outputs = {}
        for name, model in models.items():
            data = copy.deepcopy(batch)  # a model writes its predictions into the samples
            with torch.no_grad(), kept_output(model) as outputs[name]:
                samples = model.test_step(data)
            evaluators[name].process(data_samples=samples, data_batch=data)
        want = tensors(outputs['PyTorch'])
        for name, kept in outputs.items():
            for ours, theirs in zip(tensors(kept), want, strict=True):
                error = float((ours - theirs).abs().max() / theirs.abs().max().clamp(min=1e-12))
                errors[name] = max(errors[name], error)
    count = len(pictures.dataset)
    return {
        name: {**evaluator.evaluate(count), ERROR: errors[name]}
        for name, evaluator in evaluators.items()
    }


def tensors(kept: list) -> list[Tensor]:
    """The outputs of a head, call by call."""
    calls = (output if isinstance(output, list | tuple) else [output] for output in kept)
    return [tensor for outputs in calls for tensor in outputs]


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

"""Score a ticket on its own data as PyTorch, ONNX Runtime and the engine run it.

python tools/deploy/score.py work_dirs/NAME/epoch_430.pth --split val
"""

import argparse
import copy
import sys
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import onnxruntime
import torch
from mmengine import Config, DictAction
from mmengine.evaluator import Evaluator
from mmengine.registry import init_default_scope
from mmengine.runner import Runner
from rich.console import Console
from torch import Tensor, nn

import st_mm  # noqa: F401  # registers the models, applies the runtime fixes
from st_mm.analysis.checkpoints import open_checkpoint
from st_mm.analysis.table import Table
from st_mm.command_line import NOT_RUN, add_config, exit_code
from st_mm.deploy import load
from st_mm.deploy.compact import compact
from st_mm.deploy.engine.build import NoCompiler
from st_mm.deploy.engine.weights_file import to_bytes
from st_mm.deploy.graph import Graph
from st_mm.deploy.onnx import to_onnx
from st_mm.deploy.trace import trace
from st_mm.deploy.widen import for_dense_runtimes

ERROR = 'largest error of outputs'
Run = Callable[[np.ndarray], Sequence[np.ndarray]]


def parse(arguments: list[str] | None = None) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(
        description="Score a ticket by its config's data and metrics, run by PyTorch, by ONNX "
        'Runtime and by the sparse engine. Each gets the same pictures, and what comes before and '
        "after the network is mm's own.",
        epilog='example: python tools/deploy/score.py work_dirs/NAME/epoch_430.pth --split val. '
        f'{NOT_RUN} Exit codes: 0 done, 2 wrong arguments, a checkpoint that does not fit, a '
        'network that cannot be traced, or data that are not there.',
    )
    parser.add_argument('ticket', type=Path, metavar='TICKET', help='a checkpoint, a .pth file')
    add_config(parser)
    parser.add_argument('--split', choices=('val', 'test'), default='test', help='(%(default)s)')
    parser.add_argument(
        '--cfg-options', nargs='+', action=DictAction, metavar='KEY=VALUE',
        help="changes to the config, as in mm's own tools",
    )  # fmt: skip
    return parser.parse_args(arguments)


def forms(model: nn.Module, graph: Graph, say: Callable[[str], None]) -> dict[str, nn.Module]:
    """The ways to run a network, each as the model that it belongs to."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = torch.get_num_threads()
    session = onnxruntime.InferenceSession(
        to_onnx(for_dense_runtimes(graph)).SerializeToString(),
        options,
        providers=['CPUExecutionProvider'],
    )
    found = {
        'PyTorch': model,
        'ONNX Runtime': through(model, lambda x: session.run(None, {'pictures': x})),
    }
    try:
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / 'ticket.stw'
            path.write_bytes(to_bytes(graph))
            found['engine'] = through(model, load(path, torch.get_num_threads()))
    except NoCompiler as missing:
        say(f'{missing}. The engine is left out.')
    return found


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


def score(config: Config, split: str, models: dict[str, nn.Module]) -> dict[str, dict[str, float]]:
    """Run the pictures of a split through every model; return the metrics of each."""
    loader = config[f'{split}_dataloader'].copy()
    loader.update(num_workers=0, persistent_workers=False)
    try:
        pictures = Runner.build_dataloader(loader)
    except (FileNotFoundError, AssertionError) as error:  # mmpose asserts that its file exists
        raise ValueError(f'the data of {split}_dataloader are not there: {error}') from error
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


def run(options: argparse.Namespace, console: Console) -> None:
    """Score a ticket."""
    opened = open_checkpoint(options.ticket, options.config, options.trust)
    config = opened.config
    if options.cfg_options:
        config.merge_from_dict(options.cfg_options)
    if config.get(f'{options.split}_dataloader') is None:
        raise ValueError(f'the config of {options.ticket} has no {options.split}_dataloader')
    init_default_scope(config.get('default_scope', 'mmengine'))
    model = opened.model.eval()
    graph, found = compact(trace(model))
    scores = score(config, options.split, forms(model, graph, console.print))
    table = Table(
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
        title=f'{options.ticket.name}, {options.split} pictures',
        notes=(
            f'{found}.',
            'The error is the largest of any picture, relative to its largest output.',
        ),
    )
    console.print(table.terminal())


def main() -> int:
    """Run the command line; return the exit code."""
    options = parse()
    return exit_code(lambda: run(options, Console(soft_wrap=True)))


if __name__ == '__main__':
    sys.exit(main())

"""What a ticket of a stock network has to keep: two events, a resume, a test, an extraction.

Nothing raises; the file, the record and the kernels that run say one density; the file, the slim
file and the live model predict the same.
"""

import copy
import os
import sys
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from io import StringIO
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from mmengine.evaluator import BaseMetric
from mmengine.model import BaseModel
from mmengine.registry import METRICS
from mmengine.runner import Runner
from mmengine.structures import BaseDataElement
from rich.console import Console
from torch import Tensor
from torch.overrides import TorchFunctionMode
from torch.utils.data import DataLoader

from st_mm.analysis.report import population
from st_mm.hooks.run_state import RunState
from st_mm.ticket import Ticket, load_checkpoint

sys.path.insert(0, str(Path(__file__).parents[2] / 'tools'))  # where Python finds its modules

import ticket

HOOKS = ('prune', 'search', 'both')
Predict = Callable[[BaseModel, Any], Any]


def cases(names: Iterable[str], always: Collection[tuple[str, str]]) -> list[Any]:
    """Every network with every choice of hooks; most of them run in the long form alone."""
    long = pytest.mark.skipif(
        not os.environ.get('ST_MM_ALL_NETWORKS'), reason='long: `make networks` runs it'
    )
    return [
        pytest.param(name, what, marks=[] if (name, what) in always else [long])
        for name in names
        for what in HOOKS
    ]


def hooks_for(what: str, shape: Sequence[int], **prune: Any) -> list[dict[str, Any]]:
    """Two events each in two epochs, for a picture of a shape (channels, height, width)."""
    schedule = dict(type='Progressive', ratio=0.8, step=0.4, interval=1)
    pruning = dict(type='PruneHook', schedule=schedule, calibration_batches=1, **prune)
    searching = dict(
        type='SearchHook', interval=1, rho=0.1, warmup=0, threshold=0.97, min_macs_drop=0,
        input_shape=tuple(shape), calibration_batches=1,
    )  # fmt: skip
    return dict(prune=[pruning], search=[searching], both=[searching, pruning])[what]


class Stock:
    """A stock network, and a way to train it.

    Args:
        build (Callable): Builds the network, with other weights each time.
        samples (Sequence): What the network is trained on and tested with, four of them.
        collate (Callable): Makes a batch of samples.
        predict (Callable, optional): What stands for ``test_step`` where the network has none.
    """

    def __init__(
        self,
        build: Callable[[], BaseModel],
        samples: Sequence[Any],
        collate: Callable[[list[Any]], Any],
        predict: Predict | None = None,
    ) -> None:
        self.build, self.samples, self.collate = build, samples, collate
        self.predict: Predict = predict or (lambda model, batch: model.test_step(batch))
        self.has_tests = predict is None

    def loader(self) -> DataLoader:
        samples = copy.deepcopy(list(self.samples))
        return DataLoader(samples, batch_size=2, collate_fn=self.collate)

    def train(self, hooks: list[Any], folder: Path, epochs: int, resume: bool = False) -> Runner:
        torch.manual_seed(0)
        runner = Runner(
            self.build(),
            str(folder),
            train_dataloader=self.loader(),
            train_cfg=dict(by_epoch=True, max_epochs=epochs),
            optim_wrapper=dict(optimizer=dict(type='SGD', lr=0.01)),
            custom_hooks=hooks,
            resume=resume,
            log_level='ERROR',
            experiment_name=f'{folder.name}-{epochs}',
        )
        runner.train()
        return runner

    def test(self, hooks: list[Any], file: Path) -> list[Tensor]:
        """What is predicted from a file, by ``Runner.test`` with the hooks."""
        if not self.has_tests:
            return self.predictions(self.loaded(file))
        metric = METRICS.build(dict(type='Predictions'))
        Runner(
            self.build(),
            str(file.parent / 'test'),
            test_dataloader=self.loader(),
            test_cfg={},
            test_evaluator=[metric],
            custom_hooks=hooks,
            load_from=str(file),
            log_level='ERROR',
            experiment_name=f'test-{file.parent.name}-{file.stem}',
        ).test()
        return metric.found

    def loaded(self, file: Path) -> BaseModel:
        """As plain torch loads it."""
        model = self.build()
        model.load_state_dict(load_checkpoint(file)['state_dict'], strict=True)
        return model

    @torch.no_grad()
    def predictions(self, model: BaseModel) -> list[Tensor]:
        model.eval()
        return [flat(self.predict(model, batch)) for batch in self.loader()]


@METRICS.register_module()
class Predictions(BaseMetric):
    """Keeps all that is predicted."""

    default_prefix = 'st'

    def __init__(self) -> None:
        super().__init__()
        self.found: list[Tensor] = []

    def process(self, data_batch: Any, data_samples: Sequence[Any]) -> None:
        self.results.append(0)
        self.found.append(flat(data_samples))

    def compute_metrics(self, results: list[Any]) -> dict[str, float]:
        return dict(predictions=len(results))


def flat(value: Any) -> Tensor:
    """All numbers in what a network predicts, in a fixed order."""
    return torch.cat([torch.zeros(0).double(), *_numbers(value)])


def _numbers(value: Any) -> Iterator[Tensor]:
    if isinstance(value, (Tensor, np.ndarray)):
        yield torch.as_tensor(value).flatten().double()
    elif isinstance(value, BaseDataElement):
        yield from _numbers(value.to_dict())
    elif isinstance(value, Mapping):
        for key in sorted(value):
            yield from _numbers(value[key])
    elif isinstance(value, (list, tuple)):
        for each in value:
            yield from _numbers(each)


class Kernels(TorchFunctionMode):
    """Counts what is zero in the kernels that run, by the storage of the weight."""

    def __init__(self) -> None:
        super().__init__()
        self.zeros: dict[int, int] = {}

    def __torch_function__(self, func, types, args=(), kwargs=None):
        if getattr(func, '__name__', '').startswith(('conv', 'linear')):
            weight = args[1] if len(args) > 1 else (kwargs or {})['weight']
            self.zeros[weight.data_ptr()] = int((weight == 0).sum())
        return func(*args, **(kwargs or {}))


def go_through(stock: Stock, hooks: list[dict[str, Any]], folder: Path) -> Runner:
    """Train, resume, test, extract, and compare.

    Returns:
        Runner: The run that was resumed.
    """
    stock.train(hooks, folder, 2)
    runner = stock.train(hooks, folder, 3, resume=True)
    file, slim = folder / 'epoch_3.pth', folder / 'slim.pth'
    live = stock.predictions(runner.model)
    assert all(each.numel() and each.isfinite().all() for each in live)
    options = ticket.parse(['extract', str(file), str(slim)])
    options.run(options, Console(file=StringIO()))
    for source in (file, slim):
        torch.testing.assert_close(stock.test(hooks, source), live, rtol=1e-5, atol=1e-5)
    with Kernels() as kernels:
        loaded = stock.loaded(file)
        stock.predictions(loaded)
    _compare_densities(runner, loaded, kernels, file)
    return runner


def _compare_densities(runner: Runner, loaded: BaseModel, kernels: Kernels, file: Path) -> None:
    """In the file, as reported, and in the kernels that ran."""
    record = Ticket.from_meta(load_checkpoint(file)['meta'])
    assert record is not None
    record.check(loaded)
    if not record.masks:
        return
    reported = RunState.of(runner).masks.density()
    weights = population(loaded, record)
    total = sum(weight.numel() for weight in weights.values())
    in_file = sum(int(weight.count_nonzero()) for weight in weights.values()) / total
    assert in_file == pytest.approx(reported, abs=1e-9)
    assert reported == pytest.approx(0.2, abs=1e-2)
    ran = {
        n: kernels.zeros[w.data_ptr()] for n, w in weights.items() if w.data_ptr() in kernels.zeros
    }
    assert len(ran) > len(weights) / 2
    assert all(zeros == int((weights[name] == 0).sum()) for name, zeros in ran.items())

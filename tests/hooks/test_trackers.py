"""TensorBoard and MLflow get what docs/trackers.md says: read from the files that they write."""

import re
from collections.abc import Callable
from pathlib import Path

import pytest
from mmengine.runner import Runner

from st_mm.hooks.run_state import RunState

ROOT = Path(__file__).parents[2]
HOOKS = [
    dict(
        type='SearchHook',
        interval=1,
        threshold=0.999,
        rho=10,
        min_macs_drop=1,
        input_shape=(3, 32, 32),
        calibration_batches=1,
    ),
    dict(type='ProgressivePruneHook', interval=1, step=0.4, ratio=0.77, end=2),
    dict(type='ReactivateHook', on='search'),
]
KINDS = ('search', 'prune', 'reactivate', 'refit', 'density')

Points = dict[int, float]


@pytest.fixture
def train(noise_runner: Callable[..., Runner]) -> Callable[[dict], Runner]:
    """A training of four epochs of four steps, which a backend logs."""

    def run(backend: dict) -> Runner:
        visualizer = dict(type='Visualizer', vis_backends=[backend], name=str(id(backend)))
        runner = noise_runner(HOOKS, epochs=4, visualizer=visualizer)
        runner.train()
        return runner

    return run


def documented() -> tuple[set[str], set[str]]:
    """Names in the two tables of the page.

    ``NAME`` stands for that of a weight, ``COST`` for that of what a search saves.
    """
    page = (ROOT / 'docs' / 'trackers.md').read_text(encoding='utf-8')
    name = re.compile(r'^\| `([a-z]+/\w+)` \|', re.MULTILINE)
    always, _, more = page.partition('there are more:')
    return set(name.findall(always)), set(name.findall(more))


def check(scalars: dict[str, Points], runner: Runner) -> None:
    weights = dict(runner.model.named_parameters())
    ours = {name for name in scalars if name.partition('/')[0] in KINDS}
    layers = {name.removeprefix('density/') for name in ours if name.startswith('density/')}
    assert layers <= weights.keys()
    assert len(layers) > 20
    assert {name if name[8:] not in layers else 'density/NAME' for name in ours} == documented()[0]

    events = {(event['kind'], event['t']): event for event in RunState.of(runner).ticket.events}
    for (kind, epoch), event in events.items():
        for figure in event.keys() - {'kind', 'unit', 't'}:
            name = f'{kind}/{figure}'
            assert scalars[name][4 * epoch] == pytest.approx(event[figure], rel=1e-6), name
    assert scalars['search/units'][4] > scalars['search/units'][8]
    # a curve of the density goes on from the refit, though that is not a prune
    refit = events['refit', 3]['density']
    assert refit != events['prune', 2]['density']
    assert scalars['prune/density'][13] == pytest.approx(refit, rel=2e-7)
    for layer in layers:  # what is not zero at the end
        weight = weights[layer]
        share = int(weight.count_nonzero()) / max(weight.numel(), 1)
        assert scalars[f'density/{layer}'][16] == pytest.approx(share, rel=1e-6), layer


def of_tensorboard(folder: Path) -> dict[str, Points]:
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    reader = EventAccumulator(str(folder), size_guidance=dict(scalars=0))
    reader.Reload()
    return {
        tag: {point.step: point.value for point in reader.Scalars(tag)}
        for tag in reader.Tags()['scalars']
    }


def test_tensorboard(train: Callable[[dict], Runner], tmp_path: Path) -> None:
    board = tmp_path / 'board'
    runner = train(dict(type='TensorboardVisBackend', save_dir=str(board)))
    check(of_tensorboard(board), runner)


def test_what_is_asked_for(noise_runner: Callable[..., Runner], tmp_path: Path) -> None:
    search, prune, _ = HOOKS
    search = dict(search, warmup=0, cost='params', target=dict(macs='60%', params='90%'))
    board = tmp_path / 'board'
    backend = dict(type='TensorboardVisBackend', save_dir=str(board))
    visualizer = dict(type='Visualizer', vis_backends=[backend], name='asked')
    hooks = [search, prune, dict(type='ReapHook')]
    noise_runner(hooks, epochs=4, visualizer=visualizer).train()
    costs = r'search/params|target/(params|macs)'
    names = {
        f'{tag.partition("/")[0]}/COST' if re.fullmatch(costs, tag) else tag
        for tag in of_tensorboard(board)
    }
    always, more = documented()
    kinds = {name.partition('/')[0] for name in always | more} - {'density'}
    found = {name for name in names if name.partition('/')[0] in kinds}
    assert more <= found
    assert found - more <= always


def test_mlflow(train: Callable[[dict], Runner], tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setenv('MLFLOW_ALLOW_FILE_STORE', 'true')  # which MLflow 3 wants to be asked for
    mlflow = pytest.importorskip('mlflow', reason='mlflow is not installed: pip install mlflow')

    store = (tmp_path / 'store').as_uri()
    runner = train(dict(type='MLflowVisBackend', save_dir=str(tmp_path), tracking_uri=store))
    client = mlflow.tracking.MlflowClient(tracking_uri=store)
    [run] = client.search_runs(['0'])
    histories = {
        name: client.get_metric_history(run.info.run_id, name) for name in run.data.metrics
    }
    check(
        {name: {point.step: point.value for point in points} for name, points in histories.items()},
        runner,
    )

"""The table of unit latencies: a search of the same config takes it, and a foreign one does not."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
from mmengine.config import Config
from mmengine.registry import init_default_scope

from st_mm.models.building import build_model
from st_mm.search import LatencyTable, build_cost, find_owners, input_sizes

ROOT = Path(__file__).parents[2]
TOOL = ROOT / 'tools' / 'benchmarks' / 'unit_latency.py'
CONFIG = ROOT / 'configs' / 'toy' / 'hr-supernet-slim_32b-36e_toy-shapes-48x48.py'


def run(*words: object) -> subprocess.CompletedProcess:
    return subprocess.run(
        [sys.executable, str(TOOL), *map(str, words)],
        cwd=ROOT, capture_output=True, text=True, check=False,
    )  # fmt: skip


@pytest.mark.slow
@pytest.mark.parametrize(
    'runtime', ['eager', 'ort', pytest.param('engine', marks=pytest.mark.compiler)]
)
def test_a_search_takes_it(runtime: str, tmp_path: Path) -> None:
    path = tmp_path / 'latency.json'
    words = [CONFIG, '--size', '32x48', '--rounds', 2, '--widths', 2, '--json', path]
    words += ['--runtime', runtime]
    done = run(*words)
    assert done.returncode == 0, done.stderr
    assert 'ms for 32x48, of which' in done.stdout
    config = Config.fromfile(CONFIG)
    init_default_scope(config.default_scope)
    model = build_model(config)
    owners, sizes = find_owners(model), input_sizes(model, (3, 32, 48))
    cost = build_cost(dict(type='latency', table=str(path)), model, owners, sizes, (3, 32, 48))
    table = LatencyTable.read(path)
    assert cost.total() == table.whole > 0
    for name, owner in owners.items():
        for group, count in owner.unit_groups().items():
            assert table.curves[name][group].widths == (0, count // 2, count)
    plain = json.loads(path.read_text())['conditions']
    assert (plain['threads'], plain['rounds'], plain['config']) == (1, 2, CONFIG.name)
    assert plain['runtime'] == runtime
    again = run(*words)
    assert again.returncode == 2
    assert '--force' in again.stderr or 'exists' in again.stderr


def test_a_network_without_units(tmp_path: Path) -> None:
    config = tmp_path / 'plain.py'
    config.write_text(
        "model = dict(type='mmpretrain.ImageClassifier', backbone=dict(type='ResNet', depth=18),"
        "neck=dict(type='GlobalAveragePooling'),"
        "head=dict(type='LinearClsHead', num_classes=4, in_channels=512))\n"
        "default_scope = 'mmpretrain'\n"
    )
    done = run(config, '--size', '32x32', '--json', tmp_path / 'latency.json')
    assert done.returncode == 2
    assert 'ImageClassifier has no search units' in done.stderr
    assert not (tmp_path / 'latency.json').exists()

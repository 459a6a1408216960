"""The command line that compares reference networks."""

import importlib.util
import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from st_mm.analysis import reference
from st_mm.analysis.reference import TASKS

ROOT = Path(__file__).parents[2]
TOOL = ROOT / 'tools' / 'analysis' / 'compare_models.py'
pytestmark = pytest.mark.filterwarnings('ignore::UserWarning')  # mm's, at every model it builds

NETWORKS = dict(zip(('ShuffleNetV1, 1.0x', 'MobileNetV2'), (1_865_728, 3_504_872), strict=True))
TICKET = 'SuperTickets, 50 %'
SMALL = replace(
    TASKS['imagenet'],
    rows=tuple(row for row in TASKS['imagenet'].rows if row.name in (*NETWORKS, TICKET)),
)


@pytest.fixture
def call(monkeypatch, capsys) -> Callable[..., tuple[int, str, str]]:
    """Run the command line on the small networks; gives exit code, stdout and stderr."""
    monkeypatch.setattr(reference, 'TASKS', dict(TASKS, imagenet=SMALL))
    spec = importlib.util.spec_from_file_location('compare_models', TOOL)
    tool = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(tool)

    def call(*arguments: object) -> tuple[int, str, str]:
        monkeypatch.setattr('sys.argv', [str(TOOL), *map(str, arguments)])
        try:
            code = tool.main()
        except SystemExit as stop:
            code = stop.code
        return code, *capsys.readouterr()

    return call


def test_command_line(call, tmp_path):
    json_file, markdown, png = (tmp_path / name for name in ('a.json', 'a.md', 'a.png'))
    code, out, err = call(
        '--task', 'imagenet', '--json', json_file, '--markdown', markdown, '--plot', png
    )
    assert (code, err) == (0, '')
    assert 'ImageNet, 224x224' in out
    [(name, found)] = json.loads(json_file.read_text()).items()
    assert (name, found['input_shape'], found['metric']) == (
        'imagenet', [3, 224, 224], 'accuracy/top1'
    )  # fmt: skip
    assert [row['name'] for row in found['rows']] == [*NETWORKS, TICKET]
    assert [row['params'] for row in found['rows']] == [*NETWORKS.values(), None]
    assert found['rows'][-1]['published'] == [
        dict(params=2.7e6, macs=125e6, score=74.2, source='Table 3')
    ]
    assert png.read_bytes().startswith(b'\x89PNG')
    # what docs/reference_models.md shows of these networks
    lines = markdown.read_text().splitlines()
    documented = (ROOT / 'docs' / 'reference_models.md').read_text().splitlines()
    assert lines[0] == '## ImageNet, 224x224'
    assert set(lines) <= set(documented)


@pytest.mark.parametrize(
    ('arguments', 'code', 'message'),
    [
        (['--task', 'coco', 'imagenet', '--plot', 'a.png'], 2, '--plot draws one task'),
        (['--task', 'detection'], 2, 'invalid choice'),
        (['--task', 'imagenet', '--json', '/dev/null/a.json'], 1, 'error: '),
    ],
)
def test_wrong_arguments(call, arguments, code, message):
    got, _, err = call(*arguments)
    assert got == code
    assert message in err

"""The reference networks are built and counted, and published figures have a source."""

import importlib.util
import json
from collections.abc import Callable
from dataclasses import replace
from io import StringIO
from pathlib import Path

import pytest
from mmengine import Config
from rich.console import Console

from st_mm.analysis import reference
from st_mm.analysis.checkpoints import build_model
from st_mm.analysis.reference import (
    SOURCES,
    TASKS,
    Counted,
    Figures,
    Reference,
    compare_models,
    find_config,
    plot_reference,
    reference_markdown,
    reference_table,
)
from st_mm.analysis.report import Cost
from st_mm.measure import count_params

ROOT = Path(__file__).parents[2]
TOOL = ROOT / 'tools' / 'analysis' / 'compare_models.py'
pytestmark = pytest.mark.filterwarnings('ignore::UserWarning')  # mm's, at every model it builds

KNOWN = {  # parameters and multiply-adds, by their authors
    'ShuffleNetV1, 1.0x': (1_865_728, 138e6),
    'ShuffleNetV2, 1.0x': (2_278_604, 146e6),
    'MobileNetV2': (3_504_872, 300e6),
}
TICKET = 'SuperTickets, 50 %'
SMALL = replace(
    TASKS['imagenet'],
    rows=tuple(row for row in TASKS['imagenet'].rows if row.name in (*KNOWN, TICKET)),
)
EVERY_ROW = [(task, row) for task in TASKS.values() for row in task.rows]


@pytest.fixture(scope='module')
def counted() -> list[Counted]:
    return compare_models(SMALL)


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


def test_counts(counted):
    *networks, ticket = counted
    for row in networks:
        params, macs = KNOWN[row.reference.name]
        assert row.cost.params == params
        assert row.cost.macs == pytest.approx(macs, rel=0.01)
        assert row.reference.published.params == pytest.approx(params, rel=0.02)
        assert row.library.params == pytest.approx(params, rel=0.003)
        assert not row.missing
    assert networks[-1].library == Figures(3_500_000, 319_000_000, 71.86)
    assert ticket == Counted(ticket.reference, None)


@pytest.mark.parametrize(('task', 'row'), EVERY_ROW, ids=[row.name for _, row in EVERY_ROW])
def test_rows(task, row):
    figures = row.published
    assert (figures.source in SOURCES) == (figures != Figures())
    assert figures.score is None or 0 < figures.score < 100
    assert [other.name for other in task.rows].count(row.name) == 1
    if row.config is None:
        assert figures.source == 'SuperTickets'
    else:
        assert find_config(row.config).is_file()


def test_auxiliary_heads_are_left_out():
    [row] = [row for row in TASKS['ade20k'].rows if row.name == 'MobileNetV2 FCN']
    [counted] = compare_models(replace(TASKS['ade20k'], rows=(row,)))
    assert counted.cost == Cost(9_559_446, 39_391_920_128)
    config = Config.fromfile(find_config(row.config))
    assert count_params(build_model(config))[0] > counted.cost.params
    assert counted.library == Figures(score=19.71)


def test_score_of_the_metafile_in_percent():
    [row] = [row for row in TASKS['coco'].rows if row.name == 'MobileNetV2']
    [counted] = compare_models(replace(TASKS['coco'], rows=(row,)))
    assert counted.library == Figures(score=64.8)
    assert counted.score == 64.8


def test_what_cannot_be_built_is_listed():
    rows = (
        Reference('PSANet', 'mmseg::psanet/psanet_r50-d8_4xb2-40k_cityscapes-512x1024.py'),
        Reference('Elsewhere', 'mmnowhere::a/b.py', note='of old'),
    )
    task = replace(TASKS['cityscapes'], input_shape=(3, 128, 128), rows=rows)
    psanet, elsewhere = counted = compare_models(task)
    assert elsewhere.cost is None
    assert elsewhere.missing == 'mmnowhere is not installed: mim install mmnowhere'
    text = reference_markdown(task, counted)
    assert '| Elsewhere | not built | - | not built | - |' in text
    assert text.endswith(f'- Elsewhere: not built: {elsewhere.missing}\n- Elsewhere: of old\n')
    if psanet.cost is None:  # where mmcv has its operators, it can be
        assert 'mmcv-lite has no compiled operators' in psanet.missing


@pytest.mark.parametrize(
    ('change', 'error', 'message'),
    [
        (dict(config='mmseg::fcn/fcn_r0.py'), FileNotFoundError, 'mmseg has no config fcn/fcn_r0'),
        (dict(config='st_mm::none.py'), FileNotFoundError, 'st_mm has no config none'),
        (dict(options={'model.head.in_channels': 7}), ValueError, 'cannot take an input_shape'),
    ],
)
def test_errors_are_loud(change, error, message):
    row = replace(SMALL.rows[0], **change)
    with pytest.raises(error, match=message):
        compare_models(replace(SMALL, rows=(row,)))


def test_table(counted):
    console = Console(file=StringIO(), width=120)
    console.print(reference_table(SMALL, counted))
    lines = [line.split() for line in console.file.getvalue().splitlines()]
    line = 'MobileNetV2 3.50 M 3.47 M 300.77 M 300 M 71.80 71.86 TF-slim'
    assert line.split() in lines


def test_plot(counted):
    figure = plot_reference(SMALL, [*counted, Counted(Reference('no score', 'x'), Cost(1, 1))])
    [axis] = figure.axes
    assert (axis.get_ylabel(), axis.get_xscale()) == ('top-1 accuracy [%]', 'log')
    drawn = {line.get_label(): line.get_xydata().tolist() for line in axis.lines}
    assert drawn['SuperTickets'] == [[125e6, 74.2]]
    assert drawn['MobileNetV2'] == [[300_774_272, 71.8]]
    assert len(drawn) == 4


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
    assert [row['name'] for row in found['rows']] == [*KNOWN, TICKET]
    assert [row['params'] for row in found['rows']] == [params for params, _ in KNOWN.values()] + [
        None
    ]
    assert found['rows'][-1]['published'] == dict(
        params=2.7e6, macs=125e6, score=74.2, source='SuperTickets'
    )
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

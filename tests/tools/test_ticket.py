"""The command line of tools/ticket.py, on small checkpoints."""

import copy
import importlib.util
import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from mmengine.config import Config

from st_mm.analysis.checkpoints import build_model
from st_mm.hooks import ProgressivePruneHook
from st_mm.prune import Masks, lowest, magnitude, prunable_weights
from st_mm.search import find_owners, shrink
from st_mm.ticket import Ticket

TOOL = Path(__file__).parents[2] / 'tools' / 'ticket.py'
HEAD = dict(type='FCNHead', num_convs=0, concat_input=False, num_classes=3)
SUPERNET = dict(
    default_scope='mmseg',
    custom_imports=dict(imports=['st_mm'], allow_failed_imports=False),
    model=dict(
        type='EncoderDecoder',
        pretrained=None,
        data_preprocessor=dict(type='SegDataPreProcessor', size=(32, 64)),
        backbone=dict(
            type='HRSupernet',
            stem_channels=(4, 6),
            stage_channels=((6,), (4, 8)),
            stage_blocks=((1,), (1, 1)),
            expand_ratio=2,
            init_cfg=dict(type='MnasNet'),
        ),
        neck=dict(type='HRFusionNeck', in_channels=(4, 8), out_channels=6, expand_ratio=1),
        decode_head=dict(**HEAD, in_channels=6, channels=6),
    ),
    train_dataloader=dict(dataset=dict(type='BaseSegDataset', data_root='data/x/')),
)
STOCK = dict(
    default_scope='mmseg',
    model=dict(
        type='EncoderDecoder',
        pretrained='open-mmlab://resnet18_v1c',  # must not be fetched
        backbone=dict(type='ResNet', depth=18, num_stages=1, strides=(1,), dilations=(1,),
                      out_indices=(0,), base_channels=4, stem_channels=4),
        decode_head=dict(**HEAD, in_channels=4, channels=4),
    ),
)  # fmt: skip
pytestmark = pytest.mark.filterwarnings('ignore::UserWarning')  # mmseg's, at every model it builds

DEAD_BLOCK = 'backbone.stages.1.branches.0.0'


def run(*arguments: object) -> subprocess.CompletedProcess:
    """Run the command line in a process of its own: seconds of imports."""
    command = [sys.executable, TOOL, *arguments]
    return subprocess.run([str(part) for part in command], capture_output=True, text=True)


@pytest.fixture
def call(monkeypatch, capsys) -> Callable[..., tuple[int, str, str]]:
    """Run the command line in this process; gives exit code, stdout and stderr."""
    spec = importlib.util.spec_from_file_location('ticket_tool', TOOL)
    tool = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(tool)

    def call(*arguments: object) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, 'argv', [str(TOOL), *map(str, arguments)])
        try:
            code = tool.main()
        except SystemExit as stop:
            code = stop.code
        return code, *capsys.readouterr()

    return call


def save(path: Path, checkpoint: dict) -> Path:
    torch.save(checkpoint, path)
    return path


@pytest.fixture(scope='module')
def ticket() -> dict:
    """A searched and pruned checkpoint: a kernel and a block are dead, half the weights zero."""
    torch.manual_seed(0)
    config = Config(SUPERNET)
    model = build_model(config)
    record = Ticket.of_supernet(model)
    owners = find_owners(model)
    dead = {
        name: torch.zeros(sum(owner.unit_groups().values()), dtype=torch.bool)
        for name, owner in owners.items()
    }
    dead['neck.block'][:12] = True  # its k3
    dead[DEAD_BLOCK][:] = True
    shrink(model, dead)
    record.remove(dead)
    masks = Masks(prunable_weights(model))
    masks.update(lowest(magnitude(masks.weights), 0.5))
    record.masks = masks.state()
    hook = ProgressivePruneHook(ratio=0.5, interval=1, step=0.5)
    record.config = dict(ProgressivePruneHook=hook.config())
    record.events = [dict(kind='prune', unit='epoch', t=1, ratio=0.5, density=0.5)]
    meta = dict(
        cfg=config.pretty_text,
        epoch=2,
        iter=20,
        experiment_name='tiny_20260101_000000',
        ticket=record.to_meta(),
        dataset_meta=dict(classes=('a', 'b', 'c')),
    )
    return dict(meta=meta, state_dict=model.state_dict(), optimizer={}, message_hub={})


def test_show_a_ticket(ticket, tmp_path):
    path = save(tmp_path / 'epoch_2.pth', ticket)
    done = run('show', path, '--layers', '--json', tmp_path / 'ticket.json')

    assert done.returncode == 0, done.stderr
    assert done.stderr == ''
    out = '\n'.join(line.rstrip() for line in done.stdout.splitlines())
    for part in (
        'training checkpoint', 'tiny\n', 'BaseSegDataset, data/x/, 3 classes',
        '2 epochs, 20 iterations', 'prune every epoch: 50% more; by magnitude',
        '1 prune (the last at epoch 1, to 50%)', 'EncoderDecoder at 3x32x64',
        'density 0.5', 'published approximation', 'neck.block.depthwise.k3', '1 of them dead',
    ):  # fmt: skip
        assert part in out, part
    assert max(map(len, out.splitlines())) <= 100
    plain = json.loads((tmp_path / 'ticket.json').read_text())
    blocks = {block['name']: block for block in plain['blocks']}
    assert blocks['neck.block']['units']['k3'] == dict(alive=0, total=12)
    assert [name for name, block in blocks.items() if block['dead']] == [DEAD_BLOCK]
    assert plain['facts']['config'] == 'tiny'
    assert plain['totals']['weights']['density'] == pytest.approx(0.5, abs=1e-3)


def test_show_a_stock_model(tmp_path):
    config = Config(STOCK)
    state = build_model(config).state_dict()
    path = save(tmp_path / 'stock.pth', dict(meta=dict(cfg=config.pretty_text), state_dict=state))
    done = run('show', path, '--input-shape', '3x32x64')

    assert done.returncode == 0, done.stderr
    assert 'no record' in done.stdout
    assert 'density 1.0000' in done.stdout
    assert 'search units' not in done.stdout


def test_truncated_and_missing_files(ticket, tmp_path):
    path = tmp_path / 'x.pth'
    for make, message in ((_truncated, 'truncated'), (_missing, 'there is no checkpoint')):
        make(ticket, path)
        done = run('show', path)

        assert (done.returncode, done.stdout) == (2, '')
        assert done.stderr.startswith('error: ')
        assert message in done.stderr
        assert done.stderr.count('\n') == 1


def test_show_what_was_published_at_a_given_shape(ticket, tmp_path, call):
    published = dict(meta=ticket['meta'], state_dict=ticket['state_dict'])
    code, out, err = call('show', save(tmp_path / 'p.pth', published), '--shape', 64, 96)

    assert (code, err) == (0, '')
    assert 'published checkpoint' in out
    assert 'EncoderDecoder at 3x64x96' in out


def test_no_input_shape_to_be_found(tmp_path, call):
    config = Config(STOCK)
    state = build_model(config).state_dict()
    path = save(tmp_path / 'stock.pth', dict(meta=dict(cfg=config.pretty_text), state_dict=state))
    code, out, err = call('show', path)

    assert (code, out) == (2, '')
    assert '--input-shape' in err


def _truncated(ticket: dict, path: Path) -> None:
    save(path, ticket)
    path.write_bytes(path.read_bytes()[:-100])


def _missing(ticket: dict, path: Path) -> None:
    path.unlink(missing_ok=True)


def _no_checkpoint(ticket: dict, path: Path) -> None:
    path.write_text('hello\n')


def _no_mm_checkpoint(ticket: dict, path: Path) -> None:
    torch.save([1], path)


def _of_another_network(ticket: dict, path: Path) -> None:
    state = dict(ticket['state_dict'])
    state['decode_head.conv_seg.weight'] = torch.zeros(4, 6, 1, 1)
    save(path, {**ticket, 'state_dict': state})


def _edited(ticket: dict, path: Path) -> None:
    meta = copy.deepcopy(ticket['meta'])
    meta['ticket']['units']['neck.block']['k5'].pop()
    save(path, {**ticket, 'meta': meta})


def _without_config(ticket: dict, path: Path) -> None:
    save(path, dict(meta={}, state_dict=ticket['state_dict']))


@pytest.mark.parametrize(
    ('make', 'message'),
    [
        (_no_checkpoint, 'not a checkpoint'),
        (_no_mm_checkpoint, 'no mm checkpoint'),
        (_without_config, 'no config'),
        (_of_another_network, "tensor 'decode_head.conv_seg.weight'"),
        (_edited, "for 'neck.block'"),
    ],
)
def test_errors_are_one_line(ticket, tmp_path, call, make, message):
    path = tmp_path / 'x.pth'
    make(ticket, path)
    code, out, err = call('show', path)

    assert (code, out) == (2, '')
    assert message in err
    assert err.startswith('error: ')
    assert err.count('\n') == 1


@pytest.mark.parametrize('arguments', [[], ['show'], ['show', 'x.pth', '--input-shape', '3x4']])
def test_wrong_arguments(arguments, call):
    code, _, err = call(*arguments)

    assert code == 2
    assert 'usage:' in err


def test_help_has_examples(call):
    code, out, _ = call('show', '--help')

    assert code == 0
    assert 'ticket.py show work_dirs/' in out

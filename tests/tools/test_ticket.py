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
from mmengine.runner import Runner, set_random_seed
from mmseg.apis import init_model
from torch import nn

from st_mm.hooks import ProgressivePruneHook
from st_mm.models.building import build_model
from st_mm.prune import Masks, lowest, magnitude, prunable_weights
from st_mm.rewind import read_ticket, rewind
from st_mm.search import shrink
from st_mm.ticket import KEY, Ticket, load_checkpoint
from st_mm.units import find_owners

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

ALL = ['diff', 'extract', 'reinit']  # commands that want a ticket
DEAD_BLOCK = 'backbone.stages.1.branches.0.0'


def run(*arguments: object) -> subprocess.CompletedProcess:
    """Run the command line in a process of its own: seconds of imports."""
    command = [sys.executable, TOOL, *arguments]
    return subprocess.run([str(part) for part in command], capture_output=True, text=True)


@pytest.fixture
def call(monkeypatch, capsys) -> Callable[..., tuple[int, str, str]]:
    """Run the command line in this process; gives exit code, stdout and stderr."""
    monkeypatch.syspath_prepend(TOOL.parent)  # as python does for a script
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
    record.events = [
        dict(kind='target', unit='epoch', t=0, macs=500, start_macs=1000),
        dict(kind='prune', unit='epoch', t=1, ratio=0.5, density=0.5),
        dict(kind='search', unit='epoch', t=2, removed=0, macs=640),
    ]
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
        '1,000 MACs at the start, target 500; 640 at epoch 2, +28.0 %: not reached',
        'density 0.5', 'published approximation', 'neck.block.depthwise.k3', '1 of them dead',
    ):  # fmt: skip
        assert part in out, part
    assert max(map(len, out.splitlines())) <= 100
    plain = json.loads((tmp_path / 'ticket.json').read_text())
    blocks = {block['name']: block for block in plain['blocks']}
    assert blocks['neck.block']['units']['k3'] == dict(alive=0, total=12)
    assert [name for name, block in blocks.items() if block['dead']] == [DEAD_BLOCK]
    assert plain['facts']['config'] == 'tiny'
    [course] = plain['course']
    assert (course['name'], course['target'], course['now']) == ('macs', 500, 640)
    assert (course['excess'], course['reached']) == (pytest.approx(0.28), False)
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
        (_no_mm_checkpoint, 'not an mm checkpoint'),
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


@pytest.mark.parametrize(
    'arguments',
    [
        [],
        ['show'],
        ['show', 'x.pth', '--input-shape', '3x4'],
        ['diff', 'x.pth'],
        ['extract', 'x.pth'],
        ['reinit', 'x.pth', 'y.pth'],
        ['reinit', 'x.pth', 'y.pth', '--weights', 'random', '--seed', 'x'],
    ],
)
def test_wrong_arguments(arguments, call):
    code, _, err = call(*arguments)

    assert code == 2
    assert 'usage:' in err


@pytest.mark.parametrize('command', ['show', 'diff', 'extract', 'reinit'])
def test_help_has_examples(command, call):
    code, out, _ = call(command, '--help')

    assert code == 0
    assert f'python tools/ticket.py {command} ' in out
    assert 'Exit codes: 0 done' in out


@pytest.mark.slow
def test_diff(ticket_run, tmp_path):
    paths = [ticket_run / 'epoch_3.pth', ticket_run / 'epoch_6.pth']
    done = run('diff', *paths, '--layers', '--json', tmp_path / 'diff.json')

    assert done.returncode == 0, done.stderr
    assert done.stderr == ''
    plain = json.loads((tmp_path / 'diff.json').read_text())
    first, second = map(read_ticket, paths)
    for row in plain['blocks']:
        ours, theirs = (
            {(group, unit) for group, units in record.units[row['name']].items() for unit in units}
            for record in (first, second)
        )
        figures = (row['both'], row['first_only'], row['second_only'])
        assert figures == (len(ours & theirs), len(ours - theirs), 0), row['name']
    assert plain['units']['first_only'] > 0
    assert 0 < plain['weights']['iou'] < 1
    out = done.stdout
    for name in ('A  ', 'B  ', 'neck.block', 'neck.block.depthwise.k3', 'IoU'):
        assert name in out, name
    assert f'{plain["weights"]["flips"]:,}' in out
    assert f'{plain["units"]["iou"]:.4f}' in out


def test_diff_of_a_file_and_itself(ticket, tmp_path, call):
    path = save(tmp_path / 'x.pth', ticket)
    code, out, err = call('diff', path, path, '--json', tmp_path / 'diff.json')

    assert (code, err) == (0, '')
    assert 'neck.block.depthwise.k3' not in out  # without --layers
    plain = json.loads((tmp_path / 'diff.json').read_text())
    for row in (*plain['blocks'], *plain['layers'], plain['units'], plain['weights']):
        assert (row['flips'], row['iou']) == (0, 1.0), row['name']
    assert plain['densities'] == pytest.approx([0.5, 0.5], abs=1e-3)


def test_diff_of_different_supernets(ticket, ticket_run, tmp_path, call):
    path = save(tmp_path / 'x.pth', ticket)
    ours, theirs = ticket['meta'][KEY]['total'], read_ticket(ticket_run / 'epoch_6.pth').total
    first = next(name for name in ours if ours[name] != theirs.get(name))
    check_error(
        call('diff', path, ticket_run / 'epoch_6.pth'),
        f"different supernets: '{first}' has the units",
    )


def check_error(result: tuple[int, str, str], message: str) -> None:
    code, out, err = result
    assert (code, out) == (2, '')
    assert err.startswith('error: ')
    assert message in err
    assert err.count('\n') == 1


def _without_record(ticket: dict, path: Path) -> None:
    meta = {name: value for name, value in ticket['meta'].items() if name != KEY}
    save(path, {**ticket, 'meta': meta})


def _with_a_foreign_mask(ticket: dict, path: Path) -> None:
    meta = copy.deepcopy(ticket['meta'])
    masks = meta[KEY]['masks']
    masks['neck.block.x.weight'] = masks.pop('neck.block.expand.weight')
    save(path, {**ticket, 'meta': meta})


@pytest.mark.parametrize(
    ('make', 'message', 'commands'),
    [
        (_missing, 'there is no checkpoint', ALL),
        (_truncated, 'truncated', ALL),
        (_without_record, 'has no ticket record', ALL),
        (_edited, "for 'neck.block'", ['diff', 'reinit']),
        (_with_a_foreign_mask, "for 'neck.block.x.weight'", ['diff', 'reinit']),
    ],
)
def test_a_bad_source_leaves_nothing_behind(ticket, tmp_path, call, make, message, commands):
    good, bad = save(tmp_path / 'good.pth', ticket), tmp_path / 'x.pth'
    make(ticket, bad)
    target = tmp_path / 'out' / 'y.pth'
    arguments = dict(
        diff=[good, bad, '--json', target],
        extract=[bad, target],
        reinit=[bad, target, '--weights', 'random'],
    )
    for command in commands:
        check_error(call(command, *arguments[command]), message)
        assert not target.parent.exists()


def test_an_output_that_is_an_input_is_refused(ticket, tmp_path, call):
    """Even with --force."""
    source = save(tmp_path / 'x.pth', ticket)
    (tmp_path / 'link.pth').symlink_to(source)
    before = source.read_bytes()
    for target in (source, tmp_path / 'link.pth'):
        for arguments in (
            ['show', source, '--json', target, '--force'],
            ['diff', source, source, '--json', target, '--force'],
            ['reinit', source, target, '--weights', 'random', '--force'],
            ['extract', source, target, '--force'],
        ):
            code, _, err = call(*arguments)
            assert (code, source.read_bytes() == before) == (2, True), arguments
            assert 'is read here' in err


def test_extract_refuses_what_has_diverged(ticket, tmp_path, call):
    name = 'decode_head.conv_seg.bias'
    for value in (float('nan'), float('inf')):
        state = {**ticket['state_dict'], name: torch.full((3,), value)}
        source = save(tmp_path / 'x.pth', {**ticket, 'state_dict': state})
        check_error(call('extract', source, tmp_path / 'y.pth'), 'has 3 values that are NaN')
        assert not (tmp_path / 'y.pth').exists()


def test_code_in_the_config_does_not_run(ticket, tmp_path, call, monkeypatch):
    monkeypatch.chdir(tmp_path)
    code = f'open("canary", "w")\n{ticket["meta"]["cfg"]}'
    path = save(tmp_path / 'x.pth', {**ticket, 'meta': {**ticket['meta'], 'cfg': code}})
    for arguments in (
        ['show', path],
        ['diff', path, path],
        ['reinit', path, tmp_path / 'y.pth', '--weights', 'random'],
    ):
        check_error(call(*arguments), 'does more than name a value')
    assert not (tmp_path / 'canary').exists()
    call('show', path, '--trust')
    assert (tmp_path / 'canary').exists()


def test_no_text_of_a_file_moves_the_cursor(ticket, tmp_path, call):
    evil = '\x1b[2J\0\x9b3m[link=https://a.b]x[/link][/b]'
    meta = {**ticket['meta'], 'experiment_name': evil, 'mmengine_version': evil}
    meta['cfg'] = meta['cfg'].replace("'BaseSegDataset'", repr(evil))
    path = save(tmp_path / 'x.pth', {**ticket, 'meta': meta})
    code, out, err = call('show', path, '--layers')
    assert (code, err) == (0, '')
    assert '\\x1b[2J' in out
    assert not any(sign in out for sign in '\x1b\0\x9b')


@pytest.mark.parametrize(
    'arguments', [['extract'], ['reinit', '--weights', 'random']], ids=['extract', 'reinit']
)
def test_a_file_is_overwritten_only_if_asked(ticket, tmp_path, call, arguments):
    source, target = save(tmp_path / 'x.pth', ticket), tmp_path / 'y.pth'
    target.write_bytes(b'precious')
    command, *options = arguments

    check_error(call(command, source, target, *options), 'y.pth is there already')
    assert target.read_bytes() == b'precious'

    code, out, err = call(command, source, target, *options, '--force')

    assert (code, err) == (0, '')
    assert load_checkpoint(target)['state_dict'].keys() == ticket['state_dict'].keys()
    assert out.count('KiB') == 2
    assert sorted(path.name for path in tmp_path.iterdir()) == ['x.pth', 'y.pth']


@torch.no_grad()
def logits(model: nn.Module) -> torch.Tensor:
    picture = torch.randn(2, 3, 64, 128, generator=torch.Generator().manual_seed(1))
    return model.eval()(picture, mode='tensor')


@pytest.mark.slow
def test_extract(ticket_run, tmp_path):
    source, target = ticket_run / 'epoch_6.pth', tmp_path / 'ticket.pth'
    done = run('extract', source, target)

    assert done.returncode == 0, done.stderr
    assert done.stderr == ''
    assert len(done.stdout.splitlines()) >= 2
    before, after = load_checkpoint(source), load_checkpoint(target)
    assert after.keys() == {'meta', 'state_dict'}
    assert {'cfg', 'dataset_meta', KEY} <= after['meta'].keys()
    assert after['meta']['dataset_meta'] == before['meta']['dataset_meta']
    assert target.stat().st_size < source.stat().st_size / 2
    config = str(ticket_run / 'config.py')
    ours, theirs = (init_model(config, str(path), device='cpu') for path in (target, source))
    assert torch.equal(logits(ours), logits(theirs))
    assert ours.dataset_meta == theirs.dataset_meta


def test_an_extract_is_the_same_ticket(ticket, tmp_path, call):
    """The prefix of a wrapper goes; another file is replaced if asked for."""
    wrapped = {f'module.{name}': tensor for name, tensor in ticket['state_dict'].items()}
    source = save(tmp_path / 'x.pth', {**ticket, 'state_dict': wrapped})
    whole = save(tmp_path / 'whole.pth', ticket)
    path = save(tmp_path / 'y.pth', {})
    assert call('extract', source, path, '--force')[0] == 0

    state = load_checkpoint(path)['state_dict']
    assert all(torch.equal(state[name], tensor) for name, tensor in ticket['state_dict'].items())
    code, out, _ = call('diff', whole, path)
    assert code == 0
    assert out.count('1.0000') == len(find_owners(build_model(Config(SUPERNET)))) + 2


@pytest.mark.slow
def test_reinit_and_train(ticket_run, tiny_config, tmp_path):
    """A subprocess draws random weights; a training starts from them and holds the masks."""
    source, target = ticket_run / 'epoch_6.pth', tmp_path / 'random.pth'
    done = run('reinit', source, target, '--weights', 'random', '--seed', 3)

    assert done.returncode == 0, done.stderr
    assert done.stderr == ''
    assert len(done.stdout.splitlines()) <= 4
    record, expected = read_ticket(target), read_ticket(source)
    assert (record.units, record.masks.keys()) == (expected.units, expected.masks.keys())
    config = tiny_config(tmp_path / 'run', search=None, prune=None, reactivate=None)
    config.load_from = str(target)
    config.custom_hooks.append(dict(type='FixedMaskHook'))
    config.train_cfg.max_epochs = config.param_scheduler[0].total_steps = 1
    Runner.from_cfg(config).train()
    path = tmp_path / 'run' / 'epoch_1.pth'
    trained, start = (load_checkpoint(path)['state_dict'] for path in (path, target))
    assert read_ticket(path).units == expected.units
    changed = 0
    for name in expected.masks:
        keep = expected.mask(name)
        assert torch.equal(read_ticket(path).mask(name), keep), name
        assert not start[name][~keep].any(), name
        assert not trained[name][~keep].any(), name
        changed += not torch.equal(start[name], trained[name])
    assert changed


def test_random_weights_follow_the_config_and_the_seed(ticket, tmp_path, call):
    """Initializers draw as in a training; those that would read a file are left out."""
    config = Config(copy.deepcopy(SUPERNET))
    config.model.init_cfg = dict(type='Ticket', checkpoint='missing.pth')
    config.model.backbone.init_cfg = [
        dict(type='Pretrained', checkpoint='missing.pth'),
        dict(type='MnasNet'),
    ]
    config.model.neck.init_cfg = dict(type='Pretrained', checkpoint='missing.pth')
    meta = {**ticket['meta'], 'cfg': config.pretty_text}
    source = save(tmp_path / 'x.pth', {**ticket, 'meta': meta})
    states = {}
    for name, options in (('a', ['--seed', 5]), ('b', ['--seed', 5]), ('c', [])):
        target = tmp_path / f'{name}.pth'
        code, _, err = call('reinit', source, target, '--weights', 'random', *options)
        assert (code, err) == (0, '')
        states[name] = load_checkpoint(target)['state_dict']

    set_random_seed(5)
    model = build_model(Config(SUPERNET))
    model.backbone.init_cfg = dict(type='MnasNet')
    model.init_weights()
    record = read_ticket(source)
    rewind(model, record, 'random')
    Masks(prunable_weights(model)).load(record.masks, None)
    for name, tensor in model.state_dict().items():
        assert torch.equal(states['a'][name], tensor), name
        assert torch.equal(states['b'][name], tensor), name
    name = 'backbone.stages.1.branches.1.0.expand.weight'
    assert states['a'][name].any()
    assert not torch.equal(states['a'][name], states['c'][name])
    assert load_checkpoint(tmp_path / 'a.pth')['meta']['epoch'] == 0


def test_weights_of_a_checkpoint(ticket_run, tmp_path, call):
    target, early = tmp_path / 'early.pth', ticket_run / 'epoch_1.pth'
    code, _, err = call('reinit', ticket_run / 'epoch_6.pth', target, '--weights', early)

    assert (code, err) == (0, '')
    made, source = load_checkpoint(target), load_checkpoint(early)
    assert made['meta']['epoch'] == 1
    expected = build_model(Config.fromfile(ticket_run / 'config.py'))
    record = read_ticket(ticket_run / 'epoch_6.pth')
    rewind(expected, record, early)
    for name, tensor in expected.state_dict().items():
        keep = record.mask(name) if name in record.masks else torch.tensor(True)
        assert torch.equal(made['state_dict'][name], tensor.where(keep, torch.zeros_like(tensor)))
    head = 'decode_head.conv_seg.weight'
    assert torch.equal(made['state_dict'][head], source['state_dict'][head])


@pytest.mark.parametrize(
    ('weights', 'message'),
    [
        ('late', 'not there to start from'),
        ('other', "tensor 'decode_head.conv_seg.weight'"),
        ('missing', 'there is no checkpoint'),
    ],
)
def test_weights_that_do_not_fit(ticket, ticket_run, tmp_path, call, weights, message):
    source = ticket_run / 'epoch_1.pth'
    path = ticket_run / 'epoch_6.pth'
    if weights != 'late':
        path = tmp_path / f'{weights}.pth'
    if weights == 'other':
        _of_another_network(load_checkpoint(source), path)

    check_error(call('reinit', source, tmp_path / 'y.pth', '--weights', path), message)
    assert not (tmp_path / 'y.pth').exists()

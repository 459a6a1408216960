"""What the README tells people to type exists, parses, and runs."""

import re
import shlex
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from mmengine import Config
from mmengine.registry import HOOKS
from mmengine.runner import Runner

from st_mm.prune import SCHEDULES, SCOPES, SCORES
from st_mm.ticket import load_checkpoint

ROOT = Path(__file__).parents[1]
DOCUMENTS = [ROOT / 'README.md', *sorted(ROOT.glob('configs/*/README.md'))]


def blocks(document: Path, language: str) -> list[str]:
    """Fenced code blocks of a language."""
    return re.findall(
        rf'```{language}\n(.*?)```', document.read_text(encoding='utf-8'), flags=re.DOTALL
    )


def python_block(words: str) -> str:
    """The README's one block of Python that has some words in it."""
    [found] = [block for block in blocks(ROOT / 'README.md', 'python') if words in block]
    return found


def commands() -> list[list[str]]:
    """Every command line of the documents, in words."""
    lines = []
    for document in DOCUMENTS:
        for block in blocks(document, 'shell'):
            lines += block.replace('\\\n', ' ').strip().splitlines()
    lines = [re.sub(r'^\w+=\$\((.*)\)$', r'\1', line) for line in lines]  # NAME=$(COMMAND)
    return [shlex.split(line, comments=True) for line in lines]


COMMANDS = commands()
TOOLS = [words for words in COMMANDS if words[0] == 'python']
MIM = [words for words in COMMANDS if words[0] == 'mim']


def test_readme_has_commands() -> None:
    assert [words for words in COMMANDS if words[0] == 'make'] == [
        ['make', 'demo'],
        ['make', 'test'],
    ]
    assert len(TOOLS) >= 3
    assert len(MIM) >= 3
    assert len(COMMANDS) == 2 + len(TOOLS) + len(MIM)


@pytest.mark.parametrize('language', ['shell', 'python'])
def test_the_chinese_readme_has_the_same_commands(language: str) -> None:
    assert blocks(ROOT / 'README.zh-CN.md', language) == blocks(ROOT / 'README.md', language)


@pytest.mark.parametrize('target', ['demo', 'test'])
def test_make_targets(target: str) -> None:
    done = subprocess.run(['make', '-n', target], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize('words', MIM, ids=' '.join)
def test_mim_commands_name_configs(words: list[str]) -> None:
    assert words[1] in ('train', 'test')
    config = Config.fromfile(ROOT / words[3])
    assert words[2] == config.default_scope
    assert config.custom_imports.imports == ['st_mm']


@pytest.mark.parametrize('words', TOOLS, ids=' '.join)
def test_tools_take_their_options(words: list[str]) -> None:
    _, tool, *arguments = words
    subcommand = [arguments[0]] if arguments and arguments[0].isalpha() else []
    command = [sys.executable, ROOT / tool, *subcommand, '--help']
    done = subprocess.run(command, capture_output=True, text=True, cwd=ROOT)
    assert done.returncode == 0, done.stderr
    for option in arguments:
        if option.startswith('--'):
            assert option in done.stdout


def test_links_lead_to_files() -> None:
    for document in (*DOCUMENTS, *ROOT.glob('*.md'), *ROOT.glob('docs/*.md')):
        for link in re.findall(r'\]\(([^)]+)\)', document.read_text()):
            if link.startswith('http'):
                continue
            path, _, anchor = link.partition('#')
            target = document.parent / path if path else document
            assert target.exists(), f'{document.name}: {link}'
            assert not anchor or anchor in anchors(target), f'{document.name}: {link}'


def anchors(page: Path) -> set[str]:
    """What links can lead to in a page: its headings, as GitHub turns them into anchors."""
    headings = re.findall(r'^#+ (.*)$', page.read_text(), flags=re.MULTILINE)
    return {
        re.sub(r'[^\w\- ]', '', heading).strip().lower().replace(' ', '-') for heading in headings
    }


@pytest.mark.slow
def test_inherited_config(tmp_path: Path) -> None:
    (tmp_path / 'child.py').write_text(python_block('batch_size=16'))
    assert Config.fromfile(tmp_path / 'child.py').train_dataloader.batch_size == 16


def test_every_argument_of_the_prune_hook() -> None:
    found: dict = {}
    exec(python_block("type='PruneHook'"), found)
    hook = HOOKS.build(found['pruning'])
    assert (hook.criterion.scope, hook.criterion.score) == ('erk', 'snip')
    table = (ROOT / 'README.md').read_text()
    for names in (SCHEDULES.module_dict, SCORES.module_dict, SCOPES):
        assert all(f'`{name}`' in table for name in names)


@pytest.mark.slow
def test_starting_a_ticket_again(ticket_run: Path, toy_streets: Path, tmp_path: Path) -> None:
    text = python_block("type='Ticket'")
    for epoch, ours in (('30', 6), ('2', 2)):
        path = f'work_dirs/demo/epoch_{epoch}.pth'
        assert path in text
        text = text.replace(path, str(ticket_run / f'epoch_{ours}.pth'))
    base = "__import__('st_mm').config_path('toy/hr-supernet-slim_8b-30e_toy-streets-128x256.py')"
    assert base in text
    (tmp_path / 'child.py').write_text(text.replace(base, repr(str(ticket_run / 'config.py'))))
    config = Config.fromfile(tmp_path / 'child.py')
    config.custom_hooks = config.custom_hooks[-1:]
    config.train_cfg.max_epochs = config.param_scheduler[0].total_steps = 1
    config.work_dir = str(tmp_path / 'run')
    config.visualizer.name = config.experiment_name = 'again'
    Runner.from_cfg(config).train()
    before, after = (
        load_checkpoint(path)['meta']['ticket']
        for path in (ticket_run / 'epoch_6.pth', tmp_path / 'run' / 'epoch_1.pth')
    )
    assert after['units'] == before['units']
    assert after['masks'].keys() == before['masks'].keys()


@pytest.mark.slow
def test_pruning_somebody_elses_network(toy_streets: Path, tmp_path: Path) -> None:
    """The README's config, in a project outside the repository, by mim, from training to test."""
    drop_in = python_block('mmseg::mobilenet_v2')
    quick = {
        'interval=3000, warmup=5000': 'interval=2, warmup=1, threshold=1.0, min_macs_drop=0',
        'interval=7000, end=64000': 'interval=1, step=0.3, end=3',
    }
    for slow, fast in quick.items():
        assert slow in drop_in
        drop_in = drop_in.replace(slow, fast)
    config = tmp_path / 'mobilenet_v2.py'
    config.write_text(
        drop_in
        + f"""
pipeline = [
    dict(type='LoadImageFromFile'), dict(type='LoadAnnotations'), dict(type='PackSegInputs')
]
data = dict(
    type='CityscapesDataset', data_root='{toy_streets}/', pipeline=pipeline,
    data_prefix=dict(img_path='leftImg8bit/train', seg_map_path='gtFine/train'),
)
loader = dict(_delete_=True, batch_size=4, num_workers=0, dataset=data)
train_dataloader = {{**loader, 'sampler': dict(type='InfiniteSampler')}}
val_dataloader = {{**loader, 'sampler': dict(type='DefaultSampler', shuffle=False)}}
test_dataloader = val_dataloader
train_cfg = dict(_delete_=True, type='IterBasedTrainLoop', max_iters=4, val_interval=4)
default_hooks = dict(checkpoint=dict(interval=2), logger=dict(interval=1))
model = dict(pretrained=None, data_preprocessor=dict(size=(64, 128)))
"""
    )
    mim = [sys.executable, '-m', 'mim']
    work_dir = tmp_path / 'run'
    for command in (
        [*mim, 'train', 'mmseg', config, '--work-dir', work_dir],
        [*mim, 'test', 'mmseg', config, '--checkpoint', work_dir / 'iter_4.pth'],
    ):
        done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True)
        assert done.returncode == 0, (done.stdout + done.stderr)[-3000:]
    checkpoint = load_checkpoint(work_dir / 'iter_4.pth')
    names = checkpoint['meta']['ticket']['masks']
    weights = [checkpoint['state_dict'][name] for name in names]
    density = sum(int(w.count_nonzero()) for w in weights) / sum(w.numel() for w in weights)
    assert density == pytest.approx(0.1, abs=1e-3)
    record = checkpoint['meta']['ticket']
    units = sum(len(kept) for groups in record['units'].values() for kept in groups.values())
    total = sum(count for groups in record['total'].values() for count in groups.values())
    assert 16 <= units < total == 7104


@pytest.mark.slow
def test_loading_a_ticket(ticket_run: Path, toy_streets: Path, tiny_config: Callable) -> None:
    load = python_block('inference_model')
    picture = next((toy_streets / 'leftImg8bit' / 'test').rglob('*.png'))
    names = {
        'work_dirs/demo/supertickets-p90-slim_8b-30e_toy-streets-128x256.py': 'config.py',
        'work_dirs/demo/epoch_30.pth': 'epoch_6.pth',
    }
    for name, ours in names.items():
        assert name in load
        load = load.replace(name, str(ticket_run / ours))
    found: dict = {}
    exec(load.replace('street.png', str(picture)), found)
    assert found['result'].pred_sem_seg.data.shape == (1, 64, 128)

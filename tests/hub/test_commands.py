"""Our tools, mim and an inferencer take a model by name, in an installed package."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

NAME = 'tiny-streets'
WITHOUT = 'supertickets-p90-slim_8b-40e_camvid-192x256'
MIM = ('-m', 'mim')
pytestmark = pytest.mark.slow


@pytest.fixture
def installed(site: Path) -> Path:
    """Where configs, tools and weights are in the installed package."""
    return site / 'st_mm' / '.mim'


def score(folder: Path) -> float:
    [file] = folder.glob('*/*.json')
    return json.loads(file.read_text())['mIoU']


def test_show(run: Callable, installed: Path, ticket_run: Path, tmp_path: Path) -> None:
    show = (installed / 'tools/ticket.py', 'show')
    run(*show, NAME, '--json', 'by_name.json')
    run(*show, ticket_run / 'epoch_6.pth', '--json', 'by_path.json')
    found = [json.loads((tmp_path / f'by_{way}.json').read_text()) for way in ('name', 'path')]
    assert found[0]['totals'] == found[1]['totals']
    refused = run(*show, WITHOUT, code=2)
    assert f'no weights of {WITHOUT} ship with st_mm: only of ' in refused.stderr


@pytest.mark.parametrize('config', [NAME, f'{NAME}.py'])
def test_testing_by_name(
    config: str, run: Callable, installed: Path, ticket_run: Path, tmp_path: Path
) -> None:
    test = installed / 'tools/test.py'
    run(test, config, NAME, '--work-dir', 'by_name')
    run(test, ticket_run / 'config.py', ticket_run / 'epoch_6.pth', '--work-dir', 'by_path')
    assert score(tmp_path / 'by_name') == score(tmp_path / 'by_path')


def test_mim_tests_by_name(run: Callable, installed: Path, tmp_path: Path) -> None:
    """By our own tool, and by that of mmseg, which knows the scheme once the config imports us."""
    run(*MIM, 'test', 'st_mm', f'{NAME}.py', '--checkpoint', NAME, '--work-dir', 'ours')
    config, weights = installed / f'configs/toy/{NAME}.py', f'st_mm://{NAME}.pth'
    run(*MIM, 'test', 'mmseg', config, '--checkpoint', weights, '--work-dir', 'theirs')
    assert score(tmp_path / 'ours') == score(tmp_path / 'theirs')


@pytest.mark.parametrize(
    'command', [('run', 'st_mm', 'train', NAME), ('train', 'st_mm', f'{NAME}.py')]
)
def test_mim_trains_by_name(command: tuple, run: Callable, installed: Path, tmp_path: Path) -> None:
    """With and without .py, and from the weights of a name."""
    options = ('train_cfg.max_epochs=1', f'load_from=st_mm://{NAME}.pth', 'custom_hooks=[]')
    run(*MIM, *command, '--work-dir', 'run', '--cfg-options', *options)
    trained, before = (
        torch.load(path, map_location='cpu', weights_only=False)['state_dict']
        for path in (tmp_path / 'run/epoch_1.pth', installed / f'weights/{NAME}.pth')
    )
    shapes = {name: weight.shape for name, weight in before.items()}
    assert {name: weight.shape for name, weight in trained.items()} == shapes


def test_mim_copies_weights_and_config(run: Callable, installed: Path, tmp_path: Path) -> None:
    download = (*MIM, 'run', 'st_mm', 'download')
    run(*download, NAME, '--dest', 'models')
    weights = installed / f'weights/{NAME}.pth'
    assert (tmp_path / f'models/{NAME}.pth').read_bytes() == weights.read_bytes()
    run(installed / 'tools/test.py', f'models/{NAME}.py', f'models/{NAME}.pth')
    again = run(installed / 'tools/download.py', NAME, '--dest', 'models', code=2)
    assert 'is there already' in again.stderr
    run(installed / 'tools/download.py', NAME, WITHOUT, '--dest', 'other', code=2)
    assert not (tmp_path / 'other').exists()


def test_what_mim_cannot_do(run: Callable) -> None:
    """It finds files alone, and asks a web server for weights: docs/tickets.md says what does."""
    refused = run(*MIM, 'train', 'st_mm', NAME, code=1)
    assert 'can not find the config file' in refused.stdout + refused.stderr
    refused = run(*MIM, 'download', 'st_mm', '--config', NAME, '--dest', 'models', code=1)
    assert f"No connection adapters were found for 'st_mm://{NAME}.pth'" in refused.stderr


def test_an_inferencer_takes_the_weights_of_the_name(run: Callable, ticket_run: Path) -> None:
    run(
        '-c',
        f"""
import st_mm, numpy as np, torch
from mmseg.apis import MMSegInferencer, inference_model, init_model
picture = np.random.default_rng(0).integers(0, 256, (64, 128, 3), dtype=np.uint8)
found = MMSegInferencer({NAME!r}, device='cpu')(picture, return_datasamples=True)
model = init_model({str(ticket_run / 'config.py')!r}, {str(ticket_run / 'epoch_6.pth')!r}, 'cpu')
assert torch.equal(found.seg_logits.data, inference_model(model, picture).seg_logits.data)
""",
    )

"""`mim train st_mm` and `mim test st_mm` find config and tools in an installed package."""

import subprocess
import sys
from pathlib import Path

import pytest

from st_mm.ticket import load_checkpoint

ROOT = Path(__file__).parents[2]
CONFIG = 'supertickets-p90-slim_8b-30e_toy-streets-128x256.py'


@pytest.mark.slow
def test_mim_in_an_installed_package(toy_streets: Path, tmp_path: Path) -> None:
    site = tmp_path / 'site'
    pip = [sys.executable, '-m', 'pip', 'install', '--quiet', '--no-deps', '--no-build-isolation']
    subprocess.run([*pip, '--target', site, ROOT], check=True, capture_output=True)
    for folder in ('configs', 'tools'):
        assert (site / 'st_mm' / '.mim' / folder).is_dir()
    options = [
        f'{split}_dataloader.{key}'
        for split in ('train', 'val', 'test')
        for key in (f'dataset.data_root={toy_streets}/', 'num_workers=0', 'batch_size=4')
    ]
    options += [f'{split}_dataloader.persistent_workers=False' for split in ('train', 'val')]
    options += ['train_cfg.max_epochs=2', 'custom_hooks.2.interval=1', 'custom_hooks.2.step=0.9']
    options += ['custom_hooks.2.end=1', 'train_dataloader.dataset.pipeline.3.crop_size=(64,128)']
    for command in (
        ['train', 'st_mm', CONFIG, '--work-dir', 'run', '--cfg-options', *options],
        ['test', 'st_mm', CONFIG, '--checkpoint', 'run/epoch_2.pth', '--work-dir', 'test',
         '--cfg-options', *options],
    ):  # fmt: skip
        mim = [sys.executable, '-m', 'mim', *command]
        env = {'PYTHONPATH': str(site), 'PATH': '/usr/bin:/bin', 'HOME': str(tmp_path)}
        done = subprocess.run(mim, cwd=tmp_path, capture_output=True, text=True, env=env)
        assert done.returncode == 0, (done.stdout + done.stderr)[-3000:]
        assert str(site) in done.stdout
    assert (tmp_path / 'run' / 'epoch_2.pth').is_file()


@pytest.mark.slow
def test_resuming_a_run_that_loads_a_ticket(tiny_config, ticket_run: Path, tmp_path: Path) -> None:
    """`--resume` begins with `load_from` where there is nothing to go on from, and then goes on."""
    config = tiny_config(tmp_path / 'run', search=None, prune=None, reactivate=None)
    config.custom_hooks.append(dict(type='FixedMaskHook'))
    config.load_from = str(ticket_run / 'epoch_6.pth')
    config.param_scheduler = [dict(type='ConstantLR', factor=1.0)]
    for epochs in (1, 2):
        config.train_cfg.max_epochs = epochs
        config.dump(tmp_path / 'config.py')
        command = [sys.executable, ROOT / 'tools' / 'train.py', tmp_path / 'config.py', '--resume']
        done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr[-3000:]
        saved = load_checkpoint(tmp_path / 'run' / f'epoch_{epochs}.pth')
        assert saved['meta']['epoch'] == epochs
        assert saved['meta']['ticket']['masks']

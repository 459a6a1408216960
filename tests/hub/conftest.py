"""st_mm as it is installed, with one more model: the ticket that the tests train in seconds."""

import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).parents[2]
NAME = 'tiny-streets'
Run = Callable[..., subprocess.CompletedProcess]


@pytest.fixture(scope='session')
def site(ticket_run: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder of an installed st_mm whose index lists ``tiny-streets`` with its weights."""
    tree, site = (tmp_path_factory.mktemp('hub') / name for name in ('tree', 'site'))
    for name in ('configs', 'requirements', 'st_mm', 'tools', 'weights'):
        ignore = shutil.ignore_patterns('__pycache__', '.mim')
        shutil.copytree(ROOT / name, tree / name, ignore=ignore)
    for name in ('LICENSE', 'README.md', 'model-index.yml', 'pyproject.toml', 'setup.py'):
        shutil.copy2(ROOT / name, tree / name)
    shutil.copy2(ticket_run / 'config.py', tree / f'configs/toy/{NAME}.py')
    extract = [ROOT / 'tools/ticket.py', 'extract', ticket_run / 'epoch_6.pth']
    run_python(*extract, tree / f'weights/{NAME}.pth', cwd=tree)
    metafile = tree / 'configs/toy/metafile.yml'
    index = yaml.safe_load(metafile.read_text(encoding='utf-8'))
    index['Models'].append(
        {
            'Name': NAME,
            'In Collection': 'SuperTickets',
            'Config': f'configs/toy/{NAME}.py',
            'Weights': f'st_mm://{NAME}.pth',
        }
    )
    metafile.write_text(yaml.safe_dump(index), encoding='utf-8')
    pip = ('-m', 'pip', 'install', '--quiet', '--no-deps', '--no-build-isolation')
    run_python(*pip, '--target', site, tree, cwd=tree)
    return site


@pytest.fixture
def run(site: Path, tmp_path: Path) -> Run:
    """Run Python with the installed st_mm, in the test's folder; the exit code is looked at."""

    def run(*arguments: str | Path, code: int = 0) -> subprocess.CompletedProcess:
        environment = {**os.environ, 'PYTHONPATH': str(site)}
        return run_python(*arguments, cwd=tmp_path, env=environment, code=code)

    return run


def run_python(
    *arguments: str | Path, cwd: Path, env: dict[str, str] | None = None, code: int = 0
) -> subprocess.CompletedProcess:
    done = subprocess.run(
        [sys.executable, *arguments], cwd=cwd, env=env, capture_output=True, text=True, timeout=600
    )
    assert done.returncode == code, (done.stdout + done.stderr)[-3000:]
    return done

"""What is packaged, and when `make env` installs."""

import shutil
import subprocess
import sys
import tarfile
import zipfile
from email import message_from_bytes
from pathlib import Path

import pytest

REPO = Path(__file__).parents[1]
MIM = tuple(f'st_mm/.mim/{name}' for name in ('configs/', 'tools/', 'weights/', 'model-index.yml'))


def run(*command: str, cwd: Path) -> str:
    done = subprocess.run(command, cwd=cwd, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.fixture
def tree(tmp_path) -> Path:
    """A copy of what is packaged, so that builds leave nothing in the project."""
    tree = tmp_path / 'tree'
    tree.mkdir()
    for name in ('configs', 'requirements', 'st_mm', 'tools', 'weights'):
        ignore = shutil.ignore_patterns('__pycache__', '.mim')
        shutil.copytree(REPO / name, tree / name, ignore=ignore)
    for name in (
        *('LICENSE', 'MANIFEST.in', 'Makefile', 'README.md'),
        *('model-index.yml', 'pyproject.toml', 'setup.py'),
    ):
        shutil.copy2(REPO / name, tree / name)
    return tree


def test_wheel_ships_mim_files_and_pins_nothing(tree):
    pip = [sys.executable, '-m', 'pip', 'wheel', '--no-deps', '--no-build-isolation']
    run(*pip, '-w', 'wheels', '.', cwd=tree)
    (path,) = (tree / 'wheels').glob('st_mm-*.whl')
    with zipfile.ZipFile(path) as wheel:
        names = wheel.namelist()
        (metadata,) = (wheel.read(name) for name in names if name.endswith('/METADATA'))
    for prefix in MIM:
        assert any(name.startswith(prefix) for name in names), prefix
    assert not any('__pycache__' in name or name.startswith('tests/') for name in names)
    requires = message_from_bytes(metadata).get_all('Requires-Dist')
    assert sorted(x for x in requires if 'extra ==' not in x) == ['matplotlib', 'packaging', 'rich']


def test_editable_install_links_mim_files(tree):
    for _ in range(2):  # over an earlier install too
        run(sys.executable, 'setup.py', '-q', 'editable_wheel', '--dist-dir', 'wheels', cwd=tree)
        mim = tree / 'st_mm/.mim'
        assert (mim / 'configs').resolve() == tree / 'configs'
        assert (mim / 'tools').resolve() == tree / 'tools'
        assert (mim / 'model-index.yml').samefile(tree / 'model-index.yml')


def test_sdist_has_what_the_wheel_needs(tree):
    run(sys.executable, 'setup.py', '-q', 'sdist', cwd=tree)
    (path,) = (tree / 'dist').glob('st_mm-*.tar.gz')
    with tarfile.open(path) as sdist:
        names = {name.partition('/')[2] for name in sdist.getnames()}
    assert {'configs', 'tools', 'weights', 'model-index.yml', 'requirements/stack.txt'} <= names


def make(tree: Path, *arguments: str) -> str:
    return run('make', *arguments, cwd=tree)


@pytest.fixture
def recipe(tree) -> Path:
    """A copy with a Makefile that can be run."""
    if shutil.which('make') is None:
        pytest.skip('needs make')
    return tree


def complete(tree: Path) -> None:
    """Put the stamp that the recipe would leave."""
    (stamp,) = (x.split()[1] for x in make(tree, '-n', 'env').splitlines() if 'touch' in x)
    (tree / '.venv').mkdir(exist_ok=True)
    (tree / stamp).touch()


def test_make_env_reuses_a_complete_environment(recipe):
    assert 'pip install' in make(recipe, '-n', 'env')
    complete(recipe)
    assert 'pip install' not in make(recipe, 'env')


@pytest.mark.parametrize(
    'pins',
    ['requirements/stack.txt', 'requirements/torch-pinned.txt', 'pyproject.toml', 'setup.py'],
)
def test_make_env_follows_the_pins(recipe, pins):
    complete(recipe)
    with (recipe / pins).open('a') as file:
        file.write('# changed\n')
    assert 'pip install' in make(recipe, '-n', 'env')


def test_make_env_does_not_need_what_the_site_needs(recipe):
    complete(recipe)
    with (recipe / 'requirements/docs.txt').open('a') as file:
        file.write('# changed\n')
    assert 'pip install' not in make(recipe, '-n', 'env')
    assert 'docs.txt' in make(recipe, '-n', 'docs')


def test_make_env_keeps_one_torch_apart_from_another(recipe):
    complete(recipe)
    assert 'torch-oldest.txt' in make(recipe, '-n', 'env', 'TORCH=oldest')
    assert 'pip install' in make(recipe, '-n', 'env', 'VENV=.venv-oldest')
    assert 'pip install' not in make(recipe, '-n', 'env')


@pytest.mark.parametrize(
    ('version', 'refused'), [((3, 9), True), ((3, 10), False), ((3, 14), True)]
)
def test_make_env_refuses_other_pythons(version, refused, recipe):
    python = recipe / 'python'  # runs the check of the version as that version, then fails
    check = f'import sys; sys.version_info = {version}; exec(sys.argv[1])'
    python.write_text(f'#!/bin/sh\n[ "$1" = -c ] && exec {sys.executable} -c "{check}" "$2"\n')
    python.chmod(0o755)
    done = subprocess.run(
        ['make', 'env', 'PYTHON=./python'], cwd=recipe, capture_output=True, text=True
    )
    assert done.returncode != 0
    assert ('is not a Python from 3.10 to 3.13' in done.stderr) is refused


def test_make_env_in_another_folder_does_not_trust_the_stamp(recipe, tmp_path):
    complete(recipe)
    moved = recipe.rename(tmp_path / 'moved')
    assert 'pip install' in make(moved, '-n', 'env')


def test_interrupted_make_env_starts_over(recipe):
    python = recipe / 'python'
    python.write_text('#!/bin/sh\n[ "$1" = -c ]\n')  # passes the check of the version, then fails
    python.chmod(0o755)
    command = ['make', 'env', 'PYTHON=./python']
    first, second = (
        subprocess.run(command, cwd=recipe, capture_output=True, text=True) for _ in range(2)
    )
    assert first.returncode != 0
    assert second.returncode != 0
    assert 'starting over' not in first.stdout
    assert 'starting over' in second.stdout


def test_unsupported_python_gets_one_error_and_no_folder(recipe):
    python = recipe / 'python'
    python.write_text('#!/bin/sh\nexit 1\n')
    python.chmod(0o755)
    command = ['make', 'env', 'PYTHON=./python']
    done = subprocess.run(command, cwd=recipe, capture_output=True, text=True)
    assert done.returncode != 0
    assert "'./python' is not a Python from 3.10 to 3.13" in done.stderr
    assert not (recipe / '.venv').exists()

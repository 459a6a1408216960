"""Predictions of several checkpoints side by side, of tickets that ship with the package."""

import os
import shutil
import subprocess
import sys
import tarfile
from pathlib import Path

import numpy as np
import pytest
import torch
from mmengine import Config
from PIL import Image

from st_mm.analysis.predictions import Bars, Picture, plot_predictions, predict
from st_mm.hub import find
from st_mm.models.building import build_model

ROOT = Path(__file__).parents[2]
SHARED = Path(os.environ.get('ST_MM_SHARED_DIR', ROOT.parent / 'shared'))
STREETS = 'supertickets-p90-slim_8b-30e_toy-streets-128x256'
PEOPLE = 'supertickets-p90-slim_16b-18e_toy-people-96x64'
SHAPES = 'supertickets-p90-slim_32b-36e_toy-shapes-48x48'

pytestmark = pytest.mark.slow


@pytest.fixture(scope='module')
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A few drawn pictures of each task, where the configs look for them."""
    folder = tmp_path_factory.mktemp('toy')
    for kind in ('streets', 'people', 'shapes'):
        command = [sys.executable, ROOT / 'tools/make_toy_data.py', kind, f'data/toy_{kind}']
        counts = ['--train', '10', '--val', '10', '--test', '10']
        subprocess.run([*command, *counts], cwd=folder, check=True, capture_output=True)
    return folder


def run(folder: Path, *words: object) -> subprocess.CompletedProcess:
    command = [sys.executable, ROOT / 'tools/analysis/plot_predictions.py', *map(str, words)]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True)


def test_one_checkpoint_and_wrong_calls(folder: Path) -> None:
    done = run(folder, STREETS, f'st_mm://{STREETS}.pth', '--number', 2)
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() == 'predictions.png'  # not among the weights that ship
    with Image.open(folder / 'predictions.png') as picture:
        assert np.asarray(picture).std() > 0
    for words, message in (
        ((STREETS, PEOPLE), "'decode_head."),  # another task's weights, by the name of a tensor
        ((STREETS, STREETS, '--labels', 'a', 'b'), '1 checkpoints need as many different labels'),
        ((STREETS, STREETS, STREETS), 'the same label'),
        ((STREETS, 'nowhere.pth'), 'there is no checkpoint nowhere.pth'),
    ):
        done = run(folder, *words, '--number', 1)
        assert (done.returncode, done.stdout) == (2, ''), words
        assert done.stderr.startswith('error: '), done.stderr
        assert message in done.stderr
        assert done.stderr.count('\n') == 1


@pytest.mark.parametrize('name', [STREETS, PEOPLE, SHAPES])
def test_several_checkpoints(name: str, folder: Path, tmp_path: Path, monkeypatch) -> None:
    monkeypatch.chdir(folder)
    model = find(name)
    dense = tmp_path / 'dense.pth'
    supernet = build_model(Config.fromfile(model.config))
    meta = dict(experiment_name='untrained_20260101_000000')
    torch.save(dict(meta=meta, state_dict=supernet.state_dict()), dense)
    found = predict(model.config, [model.weights, dense], number=2)
    assert found.columns[-2:] == ('supertickets-p90-slim\n90 % pruned', 'untrained')
    assert len(found.rows) == 2
    for row in found.rows:
        assert len(row) == len(found.columns)
        *given, ticket, other = row
        if name == SHAPES:
            assert isinstance(ticket, Bars)
            assert ticket != other
            assert list(ticket.shares) == sorted(ticket.shares, reverse=True)
            assert given[0].caption in ticket.names or ticket.right is None
        else:
            assert isinstance(ticket, Picture)
            shapes = {panel.image.shape for panel in (*given[1:], ticket, other)}
            assert len(shapes) == 1
            assert np.any(ticket.image != other.image)
            # the ticket is nearer to the truth than a network that has learned nothing
            if name == STREETS:
                wrong = [np.mean(p.image != given[1].image) for p in (ticket, other)]
                assert wrong[0] < wrong[1]
    assert bool(found.legend) == (name == STREETS)
    assert len(plot_predictions(found).axes) == 2 * len(found.columns)


@pytest.mark.data
@pytest.mark.parametrize('form', ['aic14', 'coco17'])
def test_a_real_person(form: str, tmp_path: Path, monkeypatch) -> None:
    """The truth is drawn at the joints that are annotated, in colour on a paler picture."""
    with tarfile.open(SHARED / 'data/lspet_mini.tar.gz') as archive:
        wanted = [m for m in archive if '/val' in m.name or '_val_' in m.name]
        archive.extractall(tmp_path / 'data', wanted, filter='data')
    monkeypatch.chdir(tmp_path)
    config = ROOT / f'configs/lspet/hr-supernet-slim_16b-14e_lspet-{form}-96x96.py'
    weights = tmp_path / 'random.pth'
    supernet = build_model(Config.fromfile(config))
    torch.save(dict(meta={}, state_dict=supernet.state_dict()), weights)
    found = predict(config, [weights], ['random'], number=2)
    for person, truth, prediction in found.rows:
        assert person.image.shape == truth.image.shape == prediction.image.shape
        assert max(person.image.shape[:2]) <= 360
        changed = [
            np.ptp(panel.image.astype(int), axis=-1) > 150  # of a skeleton: hardly a grey
            for panel in (truth, prediction)
        ]
        assert all(50 < where.sum() < 0.2 * where.size for where in changed)
        assert np.any(changed[0] != changed[1])
    shutil.rmtree('data')
    with pytest.raises(ValueError, match='the data of test_dataloader are not there'):
        predict(config, [weights])

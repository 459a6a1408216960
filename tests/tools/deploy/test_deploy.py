"""The tools for deployment, on a trained ticket, and the examples on what they write."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

ROOT = Path(__file__).parents[3]
TOOLS, EXAMPLES = ROOT / 'tools' / 'deploy', ROOT / 'examples'
NO_MM = 'import sys; [sys.modules.__setitem__(m, None) for m in ("torch", "mmengine", "st_mm")]; '


def run(tool: Path, *words: object, **environment: str) -> subprocess.CompletedProcess:
    import os

    return subprocess.run(
        [sys.executable, tool, *map(str, words)],
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, **environment},
    )


@pytest.fixture(scope='module')
def onnx_file(ticket_run: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    target = tmp_path_factory.mktemp('export') / 'ticket.onnx'
    done = run(TOOLS / 'export.py', ticket_run / 'epoch_6.pth', target)
    assert done.returncode == 0, done.stderr
    assert 'hidden units were dead' in done.stdout
    assert 'Largest error against PyTorch' in done.stdout
    return target


@pytest.mark.slow
def test_the_example_needs_neither_mm_nor_torch(onnx_file: Path, tmp_path: Path) -> None:
    picture = np.random.randint(0, 256, (45, 70, 3), np.uint8)
    (tmp_path / 'street.ppm').write_bytes(b'P6\n# drawn\n70 45\n255\n' + picture.tobytes())
    words = ['run_onnx.py', onnx_file, tmp_path / 'street.ppm', tmp_path / 'result.ppm']
    code = f'{NO_MM} sys.argv = {list(map(str, words))}; import runpy; ' + (
        f'runpy.run_path({str(EXAMPLES / "run_onnx.py")!r}, run_name="__main__")'
    )
    done = subprocess.run([sys.executable, '-c', code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert 'road: ' in done.stdout or '%' in done.stdout
    result = (tmp_path / 'result.ppm').read_bytes()
    assert result.startswith(b'P6\n70 45\n255\n')
    assert len(result) == len(b'P6\n70 45\n255\n') + 45 * 70 * 3


@pytest.mark.slow
@pytest.mark.compiler
def test_compile(ticket_run: Path, tmp_path: Path) -> None:
    from st_mm.deploy import load

    target = tmp_path / 'ticket.stw'
    done = run(TOOLS / 'compile.py', ticket_run / 'epoch_6.pth', target)
    assert done.returncode == 0, done.stderr
    assert 'Largest error against PyTorch' in done.stdout
    engine = load(target)
    assert engine.metadata['task'] == 'segmentation'
    assert engine.metadata['classes'][0] == 'road'
    assert engine.metadata['channel_order'] == 'rgb'
    assert engine.segment(np.zeros((50, 70, 3), np.uint8)).shape == (50, 70)
    again = run(TOOLS / 'compile.py', ticket_run / 'epoch_6.pth', target)
    assert again.returncode == 2
    assert '--force' in again.stderr


@pytest.mark.slow
def test_without_a_compiler(ticket_run: Path, tmp_path: Path) -> None:
    target = tmp_path / 'ticket.stw'
    done = run(TOOLS / 'compile.py', ticket_run / 'epoch_6.pth', target, CC='no-such-compiler')
    assert done.returncode == 0, done.stderr
    assert 'no C compiler' in done.stdout
    assert [path.name for path in tmp_path.iterdir()] == ['ticket.onnx']


@pytest.mark.slow
def test_all_around_the_network_in_the_file(ticket_run: Path, tmp_path: Path) -> None:
    """The example says the same of a picture, whoever normalizes and decodes."""
    picture = np.random.randint(0, 256, (45, 70, 3), np.uint8)
    (tmp_path / 'street.ppm').write_bytes(b'P6\n70 45\n255\n' + picture.tobytes())
    said = []
    for name, words in (('plain', []), ('whole', ['--whole'])):
        target = tmp_path / f'{name}.onnx'
        done = run(TOOLS / 'export.py', ticket_run / 'epoch_6.pth', target, *words)
        assert done.returncode == 0, done.stderr
        files = target, tmp_path / 'street.ppm', tmp_path / f'{name}.ppm'
        done = run(EXAMPLES / 'run_onnx.py', *files)
        assert done.returncode == 0, done.stderr
        said.append(done.stdout)
    assert said[0] == said[1]
    pictures = [(tmp_path / f'{name}.ppm').read_bytes() for name in ('plain', 'whole')]
    assert pictures[0] == pictures[1]


@pytest.mark.slow
def test_a_program_of_torch_export(ticket_run: Path, tmp_path: Path) -> None:
    target = tmp_path / 'ticket.pt2'
    done = run(TOOLS / 'export.py', ticket_run / 'epoch_6.pth', target, '--size', 40, 72)
    assert done.returncode == 0, done.stderr
    assert 'Largest error against PyTorch' in done.stdout
    program = torch.export.load(target).module()
    assert program(torch.zeros(2, 3, 40, 72)).shape[2:] == (10, 18)
    both = run(TOOLS / 'export.py', ticket_run / 'epoch_6.pth', tmp_path / 'a.pt2', '--whole')
    assert both.returncode == 2
    assert '--whole is for ONNX' in both.stderr


FAILING = "#!/bin/sh\necho 'st_engine.c:1: error: no such processor' >&2\nexit 3\n"


@pytest.mark.slow
def test_what_does_not_fit_leaves_nothing(ticket_run: Path, tmp_path: Path) -> None:
    """Another config, a size that is not one, an operation that is not known, a bad compiler."""
    ticket, target = ticket_run / 'epoch_6.pth', tmp_path / 'out'
    compiler = tmp_path / 'failing-cc'
    compiler.write_text(FAILING)
    compiler.chmod(0o755)
    other = ROOT / 'configs' / 'toy' / 'hr-supernet-slim_32b-36e_toy-shapes-48x48.py'
    strange = tmp_path / 'strange.py'
    strange.write_text(STRANGE.format(base=ticket_run / 'config.py'))
    cases = [
        (['--config', other], {}, 'belongs to another architecture'),
        (['--config', strange], {}, 'cumsum'),
        (['--size', 0, 64], {}, "'0' is not a number of pixels"),
        ([], dict(CC=str(compiler), ST_MM_CACHE_DIR=str(tmp_path / 'cache')), 'no such processor'),
    ]
    for words, environment, message in cases:
        done = run(TOOLS / 'compile.py', ticket, target, *words, **environment)
        assert done.returncode == 2, (message, done.stdout)
        assert message in done.stderr
        assert 'error: ' in done.stderr
        assert 'Traceback' not in done.stderr
        assert not list(tmp_path.glob('out*'))
        assert not list(tmp_path.glob('cache/*'))


STRANGE = """
_base_ = '{base}'

import torch
from mmengine.registry import MODELS
from mmseg.models import FCNHead

if 'StrangeHead' not in MODELS.module_dict:

    @MODELS.register_module()
    class StrangeHead(FCNHead):
        def forward(self, inputs):
            return torch.cumsum(super().forward(inputs), 1)


model = dict(decode_head=dict(type='StrangeHead'))
"""


@pytest.mark.slow
def test_bad_checkpoints_leave_nothing(ticket_run: Path, tmp_path: Path) -> None:
    checkpoint = torch.load(ticket_run / 'epoch_6.pth', weights_only=False)
    name = next(k for k in checkpoint['state_dict'] if k.endswith('project.weight'))
    checkpoint['state_dict'][name].fill_(float('nan'))
    torch.save(checkpoint, tmp_path / 'nan.pth')
    (tmp_path / 'text.pth').write_text('no checkpoint')
    for bad, message in (('nan.pth', name), ('text.pth', 'text.pth'), ('none.pth', 'none.pth')):
        done = run(TOOLS / 'export.py', tmp_path / bad, tmp_path / 'out.onnx')
        assert done.returncode == 2, done.stderr
        assert done.stderr.startswith('error: ')
        assert message in done.stderr
        assert 'Traceback' not in done.stderr
    assert not (tmp_path / 'out.onnx').exists()

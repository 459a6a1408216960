"""The tools for deployment, on a trained ticket, and the examples on what they write."""

import shutil
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
@pytest.mark.skipif(not any(map(shutil.which, ('cc', 'gcc', 'clang'))), reason='no C compiler')
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

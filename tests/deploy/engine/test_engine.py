"""The engine computes what the graph does, whatever is zero, and refuses what it cannot read."""

import os
import struct
import subprocess
import zlib
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from torch import nn
from torch.nn import functional as F

from st_mm.deploy import load
from st_mm.deploy.compact import compact
from st_mm.deploy.engine import build as building
from st_mm.deploy.engine.runtime import Engine
from st_mm.deploy.engine.weights_file import VERSION, to_bytes
from st_mm.deploy.execute import execute
from st_mm.deploy.graph import Graph
from st_mm.deploy.simplify import simplify
from st_mm.deploy.trace import trace

Build = Callable[..., nn.Module]
ENGINE = Path(building.__file__).parent
EXAMPLE = Path(__file__).parents[3] / 'examples' / 'segment.c'
ROUNDS = int(os.environ.get('ST_MM_FUZZ_ROUNDS', '50'))  # 1000 in the long form
pytestmark = pytest.mark.compiler


@pytest.fixture
def engine(tmp_path: Path) -> Callable[..., Engine]:
    """``engine(graph, threads)``: a graph, compiled."""

    def make(graph: Graph, threads: int = 1, **metadata: object) -> Engine:
        path = tmp_path / 'ticket.stw'
        path.write_bytes(to_bytes(graph, metadata))
        return load(path, threads)

    return make


def check(engine: Engine, graph: Graph, shape: tuple[int, ...], seed: int = 0) -> None:
    pictures = torch.randn(shape, generator=torch.Generator().manual_seed(seed))
    want = execute(graph, pictures.double())
    for got, expected in zip(engine(pictures.numpy()), want, strict=True):
        assert got.shape == expected.shape
        error = np.abs(got - expected.numpy()).max()
        assert error <= 1e-5 * max(float(expected.abs().max()), 1e-3)


@pytest.mark.slow
@pytest.mark.parametrize('name', ['mobilenet_v2', 'mobilenet_v3', 'efficientnet', 'fast_scnn'])
def test_stock_networks(build: Build, engine: Callable, name: str) -> None:
    graph, _ = compact(trace(build(name, 0.1)))
    check(engine(graph), graph, (2, 3, 67, 90))


class Everything(nn.Module):
    """Every kind of node that the networks above have not."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 4, 3, 2, 1)
        self.dilated = nn.Conv2d(4, 4, 3, 3, 2, 2)
        self.grouped = nn.Conv2d(4, 4, 3, 1, 1, groups=2)
        self.wide = nn.ConvTranspose2d(4, 6, 4, 2, 1, 1)

    def forward(self, x: torch.Tensor) -> tuple[torch.Tensor, ...]:
        x = self.conv(x)
        x = torch.cat([F.gelu(x[:, 1:3]), F.leaky_relu(x[:, :2], 0.2).tanh()], 1)
        x = torch.max_pool2d(x, 3, 2, 1, ceil_mode=True) + F.avg_pool2d(x, 3, 2, 1, True).sigmoid()
        y = F.interpolate(self.dilated(x), (5, 7), mode='bilinear', align_corners=True)
        tokens = y.flatten(2)
        y = (tokens @ tokens.transpose(1, 2)).softmax(-1) @ F.layer_norm(tokens, (35,))
        y = F.interpolate(y.unflatten(2, (5, 7)), x.shape[2:], mode='nearest')
        x = F.silu(x * 2 - 1) * F.adaptive_max_pool2d(x, 1) + self.grouped(y)
        x = x.sum(1, keepdim=True).sigmoid() * x
        big = F.interpolate(x, scale_factor=8, mode='bilinear')
        return self.wide(x).clamp(-0.5, 3), F.adaptive_avg_pool2d(x, (2, 3)), big


@pytest.mark.parametrize('form', [simplify, lambda graph: compact(graph)[0]])
def test_every_node(engine: Callable, form: Callable) -> None:
    graph = form(trace(Everything()))
    made = engine(graph)
    for shape in ((1, 3, 64, 96), (2, 3, 37, 52)):
        check(made, graph, shape)


class Resized(nn.Module):
    """A map is resized to the size of another, which it has already where sizes are even."""

    def __init__(self, mode: str, corners: bool | None) -> None:
        super().__init__()
        self.mode, self.corners = mode, corners
        self.conv, self.down = nn.Conv2d(3, 6, 3, 1, 1), nn.Conv2d(6, 6, 3, 2, 1)
        self.mix, self.out = nn.Conv2d(6, 5, 1), nn.Conv2d(5, 4, 3, 1, 1)
        with torch.no_grad():
            self.mix.weight[:, ::2] = 0  # rows that are not read

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.conv(x)
        y = F.interpolate(self.down(x), scale_factor=2, mode='nearest')
        y = F.interpolate(y, x.shape[2:], mode=self.mode, align_corners=self.corners)
        return self.out((x[:, :5] + self.mix(y)).relu())


@pytest.mark.parametrize(
    ('mode', 'corners'), [('nearest', None), ('bilinear', False), ('bilinear', True)]
)
def test_maps_that_have_the_size_already(engine: Callable, mode: str, corners: bool | None) -> None:
    graph, _ = compact(trace(Resized(mode, corners)))
    made = engine(graph, 2)
    for size in ((32, 48), (33, 48), (32, 47), (33, 47), (32, 48)):  # in one axis, in none
        check(made, graph, (1, 3, *size))


@settings(
    max_examples=25,
    deadline=None,
    derandomize=True,
    suppress_health_check=list(HealthCheck),
    phases=[Phase.generate],  # examples are seeds: smaller ones are not simpler
)
@given(seed=st.integers(0, 10**6), size=st.tuples(st.integers(32, 50), st.integers(32, 50)))
def test_any_zeros_any_size(
    build: Build, engine: Callable, seed: int, size: tuple[int, int]
) -> None:
    rng = np.random.default_rng(seed)
    if 'graph' not in _cache:
        _cache['graph'] = trace(build('seg'))
    graph = _cache['graph'].copy()
    for node in graph.nodes():
        if node.op == 'conv' and node.weight is not None and node.weight.shape[1:] != (1, 1, 1):
            node.weight = node.weight * (
                rng.random(node.weight.shape) < rng.choice([0, 0.05, 0.3, 1])
            )
    check(engine(compact(graph)[0]), graph, (1, 3, *size), seed)


_cache: dict[str, Graph] = {}


@pytest.mark.parametrize('name', ['tokens', 'seg', 'cls'])
def test_threads_change_no_bit(build: Build, engine: Callable, name: str) -> None:
    graph, _ = compact(trace(build(name, 0.1)))
    by_threads = {threads: engine(graph, threads) for threads in (1, 2, 3, 16)}
    for size in ((70, 50), (33, 130)):
        pictures = torch.randn(2, 3, *size).numpy()
        one = by_threads[1](pictures)
        for made in by_threads.values():
            for _ in range(3):  # who comes first at a meeting of threads is chance
                for got, want in zip(made(pictures), one, strict=True):
                    assert np.array_equal(got, want)
    if name == 'seg':
        picture = np.random.default_rng(0).integers(0, 256, (70, 50, 3), np.uint8)
        labels = [made.segment(picture) for made in by_threads.values()]
        assert all(np.array_equal(labels[0], other) for other in labels)


@pytest.mark.parametrize('size', [(64, 96), (37, 50)])
def test_labels_are_the_largest_class(
    build: Build, engine: Callable, size: tuple[int, int]
) -> None:
    graph, _ = compact(trace(build('seg', 0.3)))
    mean, std = [120.0, 110.0, 100.0], [58.0, 57.0, 56.0]
    picture = np.random.randint(0, 256, (*size, 3), np.uint8)
    for order in ('rgb', 'bgr'):
        made = engine(graph, 2, mean=mean, std=std, channel_order=order)
        x = picture[..., ::-1] if order == 'bgr' else picture
        x = ((x - np.array(mean)) / np.array(std)).transpose(2, 0, 1)[None]
        logits = execute(graph, torch.from_numpy(x.copy()))[0]
        logits = F.interpolate(logits, size, mode='bilinear', align_corners=False)[0]
        labels = made.segment(picture)
        chosen = logits.gather(0, torch.from_numpy(labels).long()[None])[0]
        assert (logits.max(0).values - chosen).abs().max() < 1e-4  # rounding may decide a tie
        assert (labels == logits.argmax(0).numpy()).mean() > 0.999


def test_pictures_that_do_not_fit(build: Build, engine: Callable) -> None:
    made = engine(compact(trace(build('seg', 0.1)))[0])
    with pytest.raises(ValueError, match=r'must be \(B, 3, H, W\)'):
        made(np.zeros((1, 4, 32, 32), np.float32))
    with pytest.raises(ValueError, match=r'\(H, W, 3\) of uint8'):
        made.segment(np.zeros((32, 32, 3), np.float32))
    made.threads = 0
    with pytest.raises(ValueError, match='threads must be'):
        made(np.zeros((1, 3, 32, 32), np.float32))


def test_files_that_do_not_fit(build: Build, tmp_path: Path) -> None:
    data = to_bytes(compact(trace(build('cls', 0.1)))[0])
    path = tmp_path / 'ticket.stw'
    newer = data[:8] + struct.pack('<I', VERSION + 1) + data[12:]
    bad = {
        'truncated': data[:-5],
        'not a weights file': b'PK' + data,
        'newer': newer,
        'damaged': data[:-5] + bytes([data[-5] ^ 1]) + data[-4:],
    }
    for message, content in bad.items():
        path.write_bytes(content)
        with pytest.raises(ValueError, match=message):
            load(path)
    with pytest.raises(FileNotFoundError, match='there is no weights file'):
        load(tmp_path / 'none.stw')


FUZZ = r"""
#include "st_engine.h"
#include <stdio.h>
#include <stdlib.h>
int main(int count, char **words) {
  char error[256];
  for (int i = 1; i < count; i++) {
    st_engine *e = st_open(words[i], error, sizeof error);
    if (!e) continue;
    float *x = calloc(3 * 40 * 33, sizeof *x);
    float **outputs = calloc(st_outputs(e), sizeof *outputs);
    uint8_t *labels = calloc(40 * 33, 1), *rgb = calloc(3 * 40 * 33, 1);
    if (st_channels(e) <= 3) st_run(e, x, 1, 40, 33, outputs, 2);
    st_segment(e, rgb, 40, 33, labels, 1);
    free(x), free(outputs), free(labels), free(rgb), st_close(e);
  }
  puts("done");
  return 0;
}
"""


def test_damaged_files_never_crash(build: Build, tmp_path: Path) -> None:
    """Damage with and without a right checksum, under the address and undefined sanitizers."""
    (tmp_path / 'fuzz.c').write_text(FUZZ)
    program = tmp_path / 'fuzz'
    flags = ['-g', '-O1', '-fsanitize=address,undefined', '-fno-sanitize-recover=all', '-std=gnu11']
    command = ['cc', *flags, '-I', ENGINE, tmp_path / 'fuzz.c', ENGINE / 'st_engine.c', '-lm']
    built = subprocess.run([*command, '-o', program], capture_output=True, text=True, check=False)
    if built.returncode:
        pytest.skip(f'no sanitizers: {built.stderr[-200:]}')
    rng = np.random.default_rng(0)
    wholes = [to_bytes(compact(trace(build(name, 0.02)))[0]) for name in ('cls', 'tokens', 'seg')]
    files = []
    for i in range(ROUNDS):
        data = bytearray(wholes[i % 3])
        if i % 5 == 0:
            del data[rng.integers(0, len(data)) :]
        for _ in range(rng.integers(1, 4)):
            if len(data) > 40:  # most damage near the start, where the sizes stand
                at = 32 + 4 * int((len(data) - 36) / 4 * rng.random() ** 3)
                value = rng.choice([0, 1, -1, 2**31 - 1, 7, 255, int(rng.integers(0, 2**31))])
                data[at : at + 4] = struct.pack('<i', int(value))
        if i % 7 and len(data) > 40:  # a checksum that is right
            data[12:24] = struct.pack('<IQ', zlib.crc32(bytes(data[32:])), len(data) - 32)
        files.append(tmp_path / f'{i}.stw')
        files[-1].write_bytes(data)
    for some in range(0, len(files), 50):
        done = subprocess.run(
            [program, *files[some : some + 50]],
            capture_output=True,
            text=True,
            check=False,
            env=dict(os.environ, ASAN_OPTIONS='allocator_may_return_null=1:detect_leaks=1'),
        )
        assert done.stdout == 'done\n', done.stderr[-3000:]


def test_the_example_in_c(build: Build, engine: Callable, tmp_path: Path) -> None:
    graph, _ = compact(trace(build('seg', 0.3)))
    made = engine(graph, mean=[120.0] * 3, std=[58.0] * 3, channel_order='rgb')
    picture = np.random.randint(0, 256, (45, 70, 3), np.uint8)
    (tmp_path / 'street.ppm').write_bytes(b'P6\n# drawn\n70 45\n255\n' + picture.tobytes())
    program, labels = tmp_path / 'segment', tmp_path / 'labels.pgm'
    command = ['cc', '-O3', '-march=native', '-std=gnu11', '-Wall', '-Wextra', '-Werror']
    command += ['-I', ENGINE, EXAMPLE, ENGINE / 'st_engine.c', '-lm', '-o', program]
    subprocess.run(command, check=True)
    words = [tmp_path / 'ticket.stw', tmp_path / 'street.ppm', labels]
    subprocess.run([program, *words], check=True)
    data = labels.read_bytes()
    head = b'P5\n70 45\n255\n'
    assert data.startswith(head)
    got = np.frombuffer(data[len(head) :], np.uint8).reshape(45, 70)
    assert (got == made.segment(picture)).mean() > 0.999
    bad = subprocess.run([program, labels, *words[1:]], capture_output=True, text=True, check=False)
    assert (bad.returncode, bad.stderr) == (1, "segment: not a weights file of st_mm's engine\n")


def test_a_compiler_that_is_not_there(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv('CC', 'no-such-compiler')
    with pytest.raises(building.NoCompiler, match='no C compiler'):
        building.build_library()


def test_a_compiler_that_fails(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv('ST_MM_CACHE_DIR', str(tmp_path))
    monkeypatch.delenv('CC', raising=False)
    with pytest.raises(RuntimeError, match=r'compiler failed on the engine(.|\n)*no-such-option'):
        building.build_library((*building.FLAGS, '--no-such-option'))
    assert not list(tmp_path.iterdir())

"""A fuzzer of checkpoints, configs and kills. Seeded: the same command tries the same things.

python tests/fuzz/run.py --checkpoints 1000 --configs 1000 --kills 40
"""

import argparse
import contextlib
import copy
import inspect
import io
import json
import os
import random
import re
import signal
import sys
import tempfile
import time
import warnings
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

import st_mm  # noqa: F401 - the runtime fixes and the registries
from st_mm.analysis.checkpoints import open_checkpoint
from st_mm.rewind import TicketInit
from st_mm.ticket import Ticket, load_checkpoint, plain_state

sys.path.append(str(Path(__file__).resolve().parents[2] / 'tools'))
import damage  # isort: skip
import subjects  # isort: skip
import ticket  # isort: skip

from mmengine.runner import load_checkpoint as mm_load  # isort: skip

WARNED = 'warned'
UNSEEN = re.compile('[\x00-\x08\x0b-\x1f\x7f]')  # but tabs and line feeds
LONGEST = 120  # seconds; what takes longer hangs
CLEAR = (ValueError, RuntimeError, FileNotFoundError, FileExistsError)
# words that say what was wrong, or where: the name of the file, or of what does not fit
WORDS = (
    'damaged.pth', 'checkpoint', 'ticket record', 'tensor', 'must', 'resume', 'config', 'needs',
)  # fmt: skip


def in_a_child(work: Callable[[], str], folder: Path) -> str:
    """Do something in a forked process; ``crash`` and ``hang`` are outcomes as well."""
    read, write = os.pipe()
    child = os.fork()
    if not child:
        os.chdir(folder)
        sink = os.open(os.devnull, os.O_WRONLY)
        os.dup2(sink, 1)
        os.dup2(sink, 2)
        signal.alarm(LONGEST)
        try:
            outcome = work()
        except CLEAR as error:
            text = str(error)
            clear = any(word in text for word in WORDS) and '\x1b' not in text.split('\n')[0]
            outcome = 'refused' if clear else f'unclear: {type(error).__name__}: {text[:150]}'
        except BaseException as error:
            outcome = f'unclear: {type(error).__name__}: {str(error)[:150]}'
        os.write(write, outcome.encode())
        os._exit(0)
    os.close(write)
    with open(read, 'rb') as pipe:
        outcome = pipe.read().decode()
    _, status = os.waitpid(child, 0)
    if os.WIFSIGNALED(status):
        outcome = 'hang' if os.WTERMSIG(status) == signal.SIGALRM else 'crash'
    if (folder / damage.CANARY).exists():
        (folder / damage.CANARY).unlink()
        outcome = 'code ran'
    return outcome


# Ways a checkpoint is read. Each says whether what it gave is what the whole file gives.


def read(path: Path, subject: str) -> Any:
    checkpoint = load_checkpoint(path)
    ticket = Ticket.from_meta(checkpoint['meta'])
    state = plain_state(checkpoint)
    if ticket is not None:
        ticket.check_zeros(state)
    return True  # without a model there is nothing to compare types and shapes with


def init(path: Path, subject: str) -> Any:
    model = getattr(subjects, subject)()
    said = io.StringIO()
    with contextlib.redirect_stdout(said):
        mm_load(model, str(path), 'cpu')
    if 'do not match exactly' in said.getvalue():  # mm names the tensors, and goes on
        return WARNED
    return model.eval()(subjects.INPUT)


def show(path: Path, subject: str) -> Any:
    return open_checkpoint(path).model.eval()(subjects.INPUT)


def resume(path: Path, subject: str) -> Any:
    run = subjects.build(subject, path.parent / 'run', load_from=str(path), resume=True)
    run.train()
    return run.model.eval()(subjects.INPUT), run.iter


def load_from(path: Path, subject: str) -> Any:
    run = subjects.build(subject, path.parent / 'run', epochs=2, load_from=str(path))
    run.train()
    return run.model.eval()(subjects.INPUT)


def ticket_init(path: Path, subject: str) -> Any:
    model = getattr(subjects, subject)()
    TicketInit(str(path))(model)
    return model.eval()(subjects.INPUT)


def use(path: Path, *arguments: object) -> None:
    """Run ``tools/ticket.py`` as a user does, and look at what reaches the terminal."""
    said = io.StringIO()
    sys.argv = ['ticket.py', *map(str, arguments)]
    with contextlib.redirect_stdout(said), contextlib.redirect_stderr(said):
        code = ticket.main()
    if UNSEEN.search(said.getvalue()):
        raise AssertionError(f'control characters: {said.getvalue()!r}')
    if code:
        raise ValueError(said.getvalue().strip())


def tool_show(path: Path, subject: str) -> Any:
    figures = path.parent / 'figures.json'
    use(path, 'show', path, '--input-shape', '3x8x8', '--layers', '--json', figures, '--force')
    return {k: v for k, v in json.loads(figures.read_text()).items() if k != 'facts'}


def tool_diff(path: Path, subject: str) -> Any:
    figures = path.parent / 'figures.json'
    use(path, 'diff', path, path, '--layers', '--json', figures, '--force')
    return {k: v for k, v in json.loads(figures.read_text()).items() if k != 'paths'}


def tool_extract(path: Path, subject: str) -> Any:
    use(path, 'extract', path, path.parent / 'slim.pth', '--force')
    return parts_of(path.parent / 'slim.pth')


def tool_reinit(path: Path, subject: str) -> Any:
    use(path, 'reinit', path, path.parent / 'new.pth', '--weights', 'random', '--force')
    return parts_of(path.parent / 'new.pth')


def parts_of(path: Path) -> tuple:
    """What a file says beyond doubt: weights, units and masks."""
    checkpoint = load_checkpoint(path)
    record = Ticket.from_meta(checkpoint['meta'])
    return checkpoint['state_dict'], record.units, record.masks


PATHS = (
    read, init, show, resume, load_from,
    ticket_init, tool_show, tool_diff, tool_extract, tool_reinit,
)  # fmt: skip


def same(ours: Any, theirs: Any) -> bool:
    if torch.is_tensor(theirs):
        return torch.is_tensor(ours) and ours.shape == theirs.shape and torch.equal(ours, theirs)
    if isinstance(theirs, dict):
        return ours.keys() == theirs.keys() and all(same(ours[k], theirs[k]) for k in theirs)
    if isinstance(theirs, tuple | list):
        return len(ours) == len(theirs) and all(
            same(a, b) for a, b in zip(ours, theirs, strict=True)
        )
    return bool(ours == theirs)


def fuzz_checkpoints(number: int, seed: int, folder: Path) -> Counter:
    """Damage ``number`` checkpoints, and take each by one path after another."""
    wholes = subjects.train_all(folder)
    # the archive is read anew for each: a damaged one must not change the next
    right = {
        (subject, way): way(wholes[subject], subject)
        for subject in wholes
        for way in PATHS
    }  # fmt: skip
    counts: Counter = Counter()
    for case in range(number):
        draw = random.Random(f'{seed}-{case}')
        subject, way = draw.choice(subjects.SUBJECTS), PATHS[case % len(PATHS)]
        place = folder / f'case-{case}'
        place.mkdir()

        def content_of(subject: str = subject) -> damage.Content:
            return torch.load(wholes[subject])

        done, path = damage.damage(content_of, draw, place)

        def work(path: Path = path, subject: str = subject, way: Callable = way) -> str:
            found = way(path, subject)
            if isinstance(found, str):
                return found
            return 'same' if same(found, right[subject, way]) else 'wrong'

        outcome = in_a_child(work, place)
        note(counts, outcome, f'checkpoint {case}, {subject}, {way.__name__}: {done}')
        for file in sorted(place.rglob('*'), reverse=True):
            with contextlib.suppress(OSError):
                file.unlink() if file.is_file() or file.is_symlink() else file.rmdir()
    return counts


# Configs


BAD: tuple[Any, ...] = (
    'False',
    'text',
    True,
    float('nan'),
    float('inf'),
    -7,
    -0.5,
    {},
    [],
    {1},
    b'x',
    (),
)


def classes() -> list[tuple[type, dict[str, Any]]]:
    """What a config builds, with arguments that are right."""
    from st_mm import hooks, models, optim
    from st_mm.prune import patterns, schedule, scope

    shot = dict(type='OneShot', ratio=0.5, at=1)
    progressive = dict(type='Progressive', ratio=0.5, interval=1, step=0.25)
    return [
        (hooks.PruneHook, dict(schedule=shot)),
        (hooks.PruneHook, dict(schedule=progressive, score='magnitude', scope='layer')),
        (hooks.ProgressivePruneHook, dict(ratio=0.5, interval=2, step=0.1)),
        (hooks.SearchHook, dict(interval=2, rho=1e-4, input_shape=(3, 8, 8))),
        (hooks.ReactivateHook, dict(on='search')),
        (hooks.FixedMaskHook, dict(shuffle=True, seed=1)),
        (hooks.FreezeHook, dict(parts=['neck'])),
        (models.AtomicBlock, dict(in_channels=4, out_channels=4, stride=1, expand_ratio=1)),
        (models.TokenMixer, dict(channels=4, tokens=3)),
        (models.HRSupernet, dict(stage_channels=[[4]], stage_blocks=[[1]], expand_ratio=1)),
        (models.HRFusionNeck, dict(in_channels=[4], out_channels=4)),
        (models.HRClassificationNeck, dict(in_channels=[4], head_channels=[4], out_channels=4)),
        (optim.RampedEMA, dict(model=torch.nn.Linear(1, 1), momentum=0.1)),
        (optim.RMSpropEpsInRoot, dict(params=list(torch.nn.Linear(1, 1).parameters()))),
        (schedule.Progressive, dict(ratio=0.5, interval=1)),
        (schedule.OneShot, dict(ratio=0.5, at=1)),
        (schedule.Cubic, dict(ratio=0.5, end=4)),
        (schedule.Constant, dict(ratio=0.5)),
        (patterns.NM, {}),
        (patterns.ChannelBlock, {}),
        (scope.Rule, dict(names='*')),
        (TicketInit, dict(checkpoint='ticket.pth')),
    ]


TEXTS = ('names', 'checkpoint', 'weights', 'prefix')  # arguments that may be any text
FLAGS = ('by_epoch', 'best_at_target', 'shuffle', 'norm_eval', 'channels_last', 'update_buffers')
GIVEN = ('kwargs', 'model', 'params')  # not by a config


def fuzz_configs(number: int, seed: int) -> Counter:
    """Give ``number`` constructors one argument of a wrong type or far out of range."""
    counts: Counter = Counter()
    kinds = classes()
    for case in range(number):
        draw = random.Random(f'config-{seed}-{case}')
        kind, right = draw.choice(kinds)
        arguments = copy.deepcopy(right)
        given: dict[str, Any] = arguments
        if 'schedule' in given and draw.random() < 0.5:
            given = given['schedule']
        names = list(given) if given is not arguments else list(inspect.signature(kind).parameters)
        name = draw.choice([n for n in names if n not in GIVEN])
        value = draw.choice(BAD)
        old = given.get(name)
        given[name] = value
        done = f'config {case}: {kind.__name__}({name}={value!r})'
        # an empty list of rules, the name of a file, a flag
        fine = isinstance(value, list | tuple | dict | set) and not value
        fine |= (name in TEXTS and isinstance(value, str)) or (name in FLAGS and value is True)
        try:
            kind(**arguments)
        except ValueError as error:
            clear = name in str(error) or repr(value) in str(error) or name == 'type'
            outcome = 'refused' if clear else f'unclear: {error}'
        except Exception as error:
            outcome = f'unclear: {type(error).__name__}: {error}'
        else:
            outcome = 'same' if fine or old == value else 'wrong'
        note(counts, outcome, done)
    return counts


# Kills


def fuzz_kills(number: int, seed: int, folder: Path) -> Counter:
    """Kill a training that keeps one checkpoint, again and again; it ends as if nobody had."""
    epochs, keep = 6, dict(checkpoint=dict(max_keep_ckpts=1))
    counts: Counter = Counter()
    draw = random.Random(f'kill-{seed}')
    subject = subjects.SUBJECTS[1]
    begin = time.monotonic()
    subjects.build(subject, folder / 'whole', epochs, **keep).train()
    length = time.monotonic() - begin
    expected = load_checkpoint(folder / 'whole' / f'epoch_{epochs}.pth')
    work_dir, had = folder / 'killed', False
    for case in range(number):
        child = os.fork()
        if not child:
            subjects.build(subject, work_dir, epochs, resume=True, **keep).train()
            os._exit(0)
        time.sleep(draw.random() * length)
        with contextlib.suppress(ProcessLookupError):
            os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
        there = list(work_dir.glob('*.pth'))
        outcome = 'same' if there or not had else 'wrong'
        had = had or bool(there)
        for path in there:
            try:
                load_checkpoint(path)
            except ValueError as error:
                outcome = f'wrong: {error}'
        if (work_dir / f'epoch_{epochs}.pth').exists():
            found = load_checkpoint(work_dir / f'epoch_{epochs}.pth')
            if not same(found['state_dict'], expected['state_dict']):
                outcome = 'wrong'
            work_dir, had = folder / f'killed-{case}', False
        note(counts, outcome, f'kill {case}')
    return counts


def note(counts: Counter, outcome: str, what: str) -> None:
    """Count an outcome; say what is not as it should be."""
    kind = outcome.partition(':')[0]
    counts[kind] += 1
    if kind not in ('same', 'refused', WARNED):
        print(f'{outcome} | {what}', file=sys.stderr, flush=True)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('--checkpoints', type=int, default=1000)
    parser.add_argument('--configs', type=int, default=1000)
    parser.add_argument('--kills', type=int, default=40)
    parser.add_argument('--seed', type=int, default=0)
    options = parser.parse_args()
    torch.set_num_threads(1)
    warnings.simplefilter('ignore')
    found = {}
    with tempfile.TemporaryDirectory() as name, contextlib.redirect_stdout(io.StringIO()):
        folder = Path(name)
        found['checkpoints'] = fuzz_checkpoints(options.checkpoints, options.seed, folder)
        found['configs'] = fuzz_configs(options.configs, options.seed)
        found['kills'] = fuzz_kills(options.kills, options.seed, folder)
    print(json.dumps(found))
    wrong = sum(counts[kind] for counts in found.values()
                for kind in ('wrong', 'crash', 'hang', 'code ran'))  # fmt: skip
    unclear = sum(counts['unclear'] for counts in found.values())
    total = sum(sum(counts.values()) for counts in found.values())
    return int(bool(wrong) or unclear > 0.02 * total)


if __name__ == '__main__':
    sys.exit(main())

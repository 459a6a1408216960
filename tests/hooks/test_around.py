"""What stands around a training with hooks of st_mm works as it does without them."""

import importlib.util
import json
from pathlib import Path

import mmpose
import mmseg
import pytest
import torch
from mmpretrain.utils import load_json_log

PRUNE = dict(
    type='PruneHook', schedule=dict(type='OneShot', ratio=0.5, at=1), calibration_batches=1
)
SEARCH = dict(type='SearchHook', interval=1, input_shape=(3, 32, 32), calibration_batches=1)


def reader_of(library) -> object:
    """The ``load_json_logs`` of a library's ``analyze_logs.py``, which ships as a script."""
    path = Path(library.__file__).parent / '.mim/tools/analysis_tools/analyze_logs.py'
    text = path.read_text().replace('import seaborn as sns', '')  # which only plots
    spec = importlib.util.spec_from_loader(f'{library.__name__}_analyze_logs', loader=None)
    module = importlib.util.module_from_spec(spec)
    exec(compile(text, path, 'exec'), vars(module))
    return module.load_json_logs


def test_log_tools_read_our_logs_as_stock_ones(noise_runner, validate, tmp_path: Path) -> None:
    shapes = []
    for name, hooks in (('stock', []), ('ours', [PRUNE, SEARCH])):
        noise_runner(hooks, name=name, **validate).train()
        [path] = tmp_path.glob(f'{name}/*/vis_data/scalars.json')
        log = load_json_log(path)
        assert all('accuracy/top1' in record for record in log['val'])
        found = [len(log['train']), len(log['val'])]
        for library in (mmseg, mmpose):
            [read] = reader_of(library)([path])
            found.append({step: len(values['loss']) for step, values in read.items()})
            found.append({step: len(values['step']) for step, values in read.items()})
        shapes.append(found)
    assert shapes[0] == shapes[1]

    events = [json.loads(line) for line in path.with_name('events.json').read_text().splitlines()]
    assert [(e['step'], e['prune/ratio']) for e in events if 'prune/ratio' in e] == [(4, 0.5)]
    assert [e['step'] for e in events if 'search/units' in e] == [4, 8]


def test_tta_scores_as_without_hooks(noise_runner, validate, tmp_path: Path) -> None:
    noise_runner([PRUNE, SEARCH]).train()
    test = {f'test{name.removeprefix("val")}': value for name, value in validate.items()}
    test['test_dataloader']['dataset']['views'] = 2
    scores = []
    for hooks in ([], [PRUNE, SEARCH]):
        runner = noise_runner(
            hooks, name='test', **test, load_from=str(tmp_path / 'run/epoch_2.pth')
        )
        wrapped = dict(type='AverageClsScoreTTA', module=runner.cfg.model)
        runner = noise_runner(
            hooks, name='test', model=wrapped, **test, load_from=runner.cfg.load_from
        )
        scores.append(runner.test())
    assert scores[0] == scores[1]


def test_only_auxiliary_heads_may_be_dropped(noise_runner, validate, tmp_path: Path) -> None:
    noise_runner([PRUNE]).train()
    saved = torch.load(tmp_path / 'run/epoch_2.pth', weights_only=True)
    test = {f'test{name.removeprefix("val")}': value for name, value in validate.items()}
    scores = []
    for name in ('head.fc', 'auxiliary_head.0.conv', 'neck.conv'):
        saved['state_dict'][f'{name}.weight'] = saved['state_dict']['head.fc.weight']
        torch.save(saved, tmp_path / 'more.pth')
        runner = noise_runner([PRUNE], name='test', **test, load_from=str(tmp_path / 'more.pth'))
        if name.startswith('neck'):
            with pytest.raises(RuntimeError, match=r"'neck.conv.weight' .* has no place"):
                runner.test()
        else:
            scores.append(runner.test())
    assert scores[0] == scores[1]

"""A selection split: every tenth of what trains, and nothing of it trains."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
from mmengine import Config
from mmengine.registry import DATASETS, DefaultScope
from PIL import Image

ROOT = Path(__file__).parents[3]
TOOL = ROOT / 'tools' / 'dataset_converters' / 'cut_selection.py'
CLASSES = ('n01', 'n02')
FORMS = dict(coco17=17, aic14=14)


def run(folder: Path, *words: object) -> subprocess.CompletedProcess:
    command = [sys.executable, TOOL, *map(str, words)]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True)


def picture(path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new('RGB', (64, 64)).save(path)


@pytest.fixture
def tiny_imagenet(tmp_path: Path) -> Path:
    """25 and 20 pictures of two classes."""
    root = tmp_path / 'data' / 'tiny_imagenet'
    names = [f'{c}/{c}_{i}.JPEG' for c, n in zip(CLASSES, (25, 20), strict=True) for i in range(n)]
    for name in names:
        picture(root / 'train' / name)
    (root / 'meta').mkdir()
    lines = [f'{name} {CLASSES.index(name[:3])}\n' for name in names]
    (root / 'meta' / 'train.txt').write_text(''.join(lines))
    return root


@pytest.fixture
def lspet(tmp_path: Path) -> Path:
    """23 pictures of a person each."""
    root = tmp_path / 'data' / 'lspet'
    images = [dict(id=7 * i, file_name=f'im{i:05}.jpg', width=64, height=64) for i in range(23)]
    for image in images:
        picture(root / 'images' / 'train' / image['file_name'])
    (root / 'annotations').mkdir()
    for form, joints in FORMS.items():
        people = [
            dict(
                id=image['id'],
                image_id=image['id'],
                category_id=1,
                iscrowd=0,
                bbox=[8, 8, 40, 40],
                area=848,
                num_keypoints=joints,
                keypoints=[20, 30, 2] * joints,
            )
            for image in images
        ]
        categories = [dict(id=1, name='person')]
        found = dict(info={}, images=images, annotations=people, categories=categories)
        path = root / 'annotations' / f'lspet_train_{form}.json'
        path.write_text(json.dumps(found))
    return root


def datasets(config: str, output: str, monkeypatch, folder: Path) -> tuple[Config, list]:
    """What trains and what is scored, with the options that the tool has printed."""
    first, *options = output.split()
    assert first == '--cfg-options'
    settings = Config.fromfile(ROOT / 'configs' / config)
    settings.merge_from_dict(dict(option.split('=', 1) for option in options))
    monkeypatch.chdir(folder)
    with DefaultScope.overwrite_default_scope(settings.default_scope):
        loaders = [settings[f'{split}_dataloader'] for split in ('train', 'val', 'test')]
        return settings, [DATASETS.build(loader.dataset) for loader in loaders]


def test_tiny_imagenet(tiny_imagenet: Path, tmp_path: Path, monkeypatch) -> None:
    done = run(tmp_path, 'tiny_imagenet')
    assert done.returncode == 0, done.stderr
    rest, chosen = (
        (tiny_imagenet / 'meta' / f'{name}.txt').read_text().splitlines()
        for name in ('train_rest', 'selection')
    )
    assert chosen == [
        *(f'n01/n01_{i}.JPEG 0' for i in (0, 10, 20)),
        *(f'n02/n02_{i}.JPEG 1' for i in (0, 10)),
    ]
    whole = (tiny_imagenet / 'meta' / 'train.txt').read_text().splitlines()
    assert sorted([*rest, *chosen]) == sorted(whole)
    again = run(tmp_path, 'tiny_imagenet')
    assert again.stdout == done.stdout
    assert rest == (tiny_imagenet / 'meta' / 'train_rest.txt').read_text().splitlines()

    name = 'tiny_imagenet/hr-supernet-slim_64b-13e_tiny-imagenet-48x48.py'
    _, (train, val, test) = datasets(name, done.stdout, monkeypatch, tmp_path)
    assert (len(train), len(val), len(test)) == (40, 5, 5)
    scored = [val.get_data_info(i) for i in range(5)]
    assert [info['gt_label'] for info in scored] == [0, 0, 0, 1, 1]
    assert not {info['img_path'] for info in scored} & {
        train.get_data_info(i)['img_path'] for i in range(40)
    }
    assert val[0]['data_samples'].gt_label == 0  # the picture is read


@pytest.mark.parametrize('form', FORMS)
def test_lspet(form: str, lspet: Path, tmp_path: Path, monkeypatch) -> None:
    done = run(tmp_path, 'lspet', '--joints', form)
    assert done.returncode == 0, done.stderr
    for each in FORMS:
        rest, chosen = (
            json.loads((lspet / 'annotations' / f'lspet_{name}_{each}.json').read_text())
            for name in ('rest', 'selection')
        )
        names = [image['file_name'] for image in chosen['images']]
        assert names == ['im00000.jpg', 'im00010.jpg', 'im00020.jpg']
        assert [person['image_id'] for person in chosen['annotations']] == [0, 70, 140]
        assert len(rest['images']) == len(rest['annotations']) == 20
        assert rest['categories'] == chosen['categories'] != []
        assert not set(names) & {image['file_name'] for image in rest['images']}
    name = f'lspet/hr-supernet-slim_16b-14e_lspet-{form}-96x96.py'
    settings, (train, val, test) = datasets(name, done.stdout, monkeypatch, tmp_path)
    assert (len(train), len(val), len(test)) == (20, 3, 3)
    assert val[0]['data_samples'].img_path == 'data/lspet/images/train/im00000.jpg'
    for evaluator in (settings.val_evaluator, settings.test_evaluator):
        assert evaluator[1].ann_file == f'data/lspet/annotations/lspet_selection_{form}.json'
        assert Path(evaluator[1].ann_file).is_file()


def test_what_is_not_there_is_named(tiny_imagenet: Path, lspet: Path, tmp_path: Path) -> None:
    def refused(*words: object) -> str:
        done = run(tmp_path, *words)
        assert (done.returncode, done.stdout) == (2, '')
        assert done.stderr.startswith('error: ')
        assert done.stderr.count('\n') == 1
        return done.stderr

    assert 'nowhere/meta/train.txt is not there' in refused('tiny_imagenet', '--root', 'nowhere')
    (tiny_imagenet / 'train/n02/n02_3.JPEG').unlink()
    assert '1 pictures are not in data/tiny_imagenet/train, as n02/n02_3.JPEG' in refused(
        'tiny_imagenet'
    )
    path = lspet / 'annotations/lspet_train_aic14.json'
    found = json.loads(path.read_text())
    path.write_text(json.dumps({**found, 'images': found['images'][1:]}))
    assert 'have not the same pictures' in refused('lspet')
    path.write_text('{')
    assert 'is not JSON' in refused('lspet')
    path.unlink()
    assert 'lspet_train_aic14.json is not there' in refused('lspet')
    assert not list(tmp_path.rglob('*selection*'))
    assert not list(tmp_path.rglob('*rest*'))

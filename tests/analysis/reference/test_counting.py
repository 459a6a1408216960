"""Reference networks are built and counted, without what only training has."""

from dataclasses import replace

import pytest
from mmengine import Config

from st_mm.analysis.checkpoints import build_model
from st_mm.analysis.reference import (
    TASKS,
    Counted,
    Figures,
    Reference,
    compare_models,
    find_config,
)
from st_mm.analysis.report import Cost
from st_mm.measure import count_params

pytestmark = pytest.mark.filterwarnings('ignore::UserWarning')  # mm's, at every model it builds

KNOWN = {  # parameters and multiply-adds, by their authors
    'ShuffleNetV1, 1.0x': (1_865_728, 138e6),
    'ShuffleNetV2, 1.0x': (2_278_604, 146e6),
    'MobileNetV2': (3_504_872, 300e6),
}


def test_counts(counted):
    *networks, ticket = counted
    for row in networks:
        params, macs = KNOWN[row.reference.name]
        assert row.cost.params == params
        assert row.cost.macs == pytest.approx(macs, rel=0.01)
        assert row.reference.published[-1].params == pytest.approx(params, rel=0.02)
        assert row.library.params == pytest.approx(params, rel=0.003)
        assert not row.missing
    assert networks[-1].library == Figures(3_500_000, 319_000_000, 71.86)
    assert ticket == Counted(ticket.reference, None)


def test_auxiliary_heads_are_left_out():
    [row] = [row for row in TASKS['ade20k'].rows if row.name == 'MobileNetV2 FCN']
    [counted] = compare_models(replace(TASKS['ade20k'], rows=(row,)))
    assert counted.cost == Cost(9_559_446, 39_391_920_128)
    config = Config.fromfile(find_config(row.config))
    assert count_params(build_model(config))[0] > counted.cost.params
    assert counted.library == Figures(score=19.71)


def test_score_of_the_metafile_in_percent():
    [row] = [row for row in TASKS['coco'].rows if row.name == 'Lite-HRNet, 18']
    [counted] = compare_models(replace(TASKS['coco'], rows=(replace(row, published=()),)))
    assert counted.library == Figures(score=64.2)
    assert counted.score == 64.2


def test_score_is_the_papers_first():
    figures = Figures(score=None, source='Table 1'), Figures(score=60.0, source='Table 2')
    assert Counted(Reference('x', None, figures), None, Figures(score=50.0)).score == 60
    assert Counted(Reference('x', None), None).score is None


def test_what_cannot_be_built_is_listed():
    rows = (
        Reference('PSANet', 'mmseg::psanet/psanet_r50-d8_4xb2-40k_cityscapes-512x1024.py'),
        Reference('Elsewhere', 'mmnowhere::a/b.py'),
    )
    task = replace(TASKS['cityscapes'], input_shape=(3, 128, 128), rows=rows)
    psanet, elsewhere = compare_models(task)
    assert elsewhere.cost is None
    assert elsewhere.missing == 'mmnowhere is not installed: mim install mmnowhere'
    if psanet.cost is None:  # where mmcv has its operators, it can be
        assert 'mmcv-lite has no compiled operators' in psanet.missing


@pytest.mark.parametrize(
    ('change', 'error', 'message'),
    [
        (dict(config='mmseg::fcn/fcn_r0.py'), FileNotFoundError, 'mmseg has no config fcn/fcn_r0'),
        (dict(config='st_mm::none.py'), FileNotFoundError, 'st_mm has no config none'),
        (dict(options={'model.head.in_channels': 7}), ValueError, 'cannot take an input_shape'),
    ],
)
def test_errors_are_loud(small, change, error, message):
    row = replace(small.rows[0], **change)
    with pytest.raises(error, match=message):
        compare_models(replace(small, rows=(row,)))

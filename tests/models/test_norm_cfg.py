"""What is not a config of norms, or of an initialization, is refused where it is given."""

from typing import Any

import pytest

from st_mm.models import AtomicBlock, HRClassificationNeck, HRFusionNeck, HRSupernet, TokenMixer

BUILDS: dict[type, dict[str, Any]] = {
    AtomicBlock: dict(in_channels=2, out_channels=2, expand_ratio=1),
    TokenMixer: dict(channels=2, tokens=2),
    HRFusionNeck: dict(in_channels=(2,), out_channels=2, expand_ratio=1),
    HRClassificationNeck: dict(in_channels=(2,), head_channels=(2,), out_channels=2),
    HRSupernet: dict(stage_channels=((2,),), stage_blocks=((1,),), expand_ratio=1),
}


@pytest.mark.parametrize('kind', BUILDS)
@pytest.mark.parametrize(
    'value', ['BN', False, 0, {}, [], dict(eps=1e-3), dict(type=3), dict(type='NoNorm'), [3]]
)
def test_a_norm_cfg_that_is_none_is_refused(kind: type, value: Any) -> None:
    with pytest.raises(ValueError, match=r'^norm_cfg must '):
        kind(**BUILDS[kind], norm_cfg=value)


@pytest.mark.parametrize('kind', BUILDS)
@pytest.mark.parametrize('value', ['Pretrained', False, {}, [], dict(std=1), [dict(type=None)]])
def test_an_init_cfg_that_is_none_is_refused(kind: type, value: Any) -> None:
    with pytest.raises(ValueError, match=r'^init_cfg must be a dict'):
        kind(**BUILDS[kind], init_cfg=value)


@pytest.mark.parametrize('kind', BUILDS)
def test_configs_that_are_right(kind: type) -> None:
    kind(**BUILDS[kind], norm_cfg=dict(type='BN', eps=1e-3), init_cfg=dict(type='MnasNet'))
    kind(**BUILDS[kind], norm_cfg=None, init_cfg=[dict(type='MnasNet')])

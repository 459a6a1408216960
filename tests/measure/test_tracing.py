"""Tracing: nothing of it may be seen in the model afterwards."""

import pytest
import torch
from mmengine.model import BaseModel
from torch import nn

from st_mm.measure.tracing import eval_mode, run_on_shapes
from st_mm.models import HRFusionNeck, HRSupernet


class Frozen(nn.Sequential):
    """Keeps its norms in eval mode, as mm backbones with ``norm_eval`` do."""

    def train(self, mode: bool = True) -> 'Frozen':
        super().train(mode)
        for module in self.modules():
            if isinstance(module, nn.BatchNorm2d):
                module.training = False
        return self


class MMModel(BaseModel):
    def __init__(self) -> None:
        super().__init__()
        self.backbone = HRSupernet(
            stem_channels=(4, 4),
            stage_channels=((4,), (4, 4)),
            stage_blocks=((1,), (1, 1)),
            expand_ratio=1,
            tokens=2,
        )
        self.neck = HRFusionNeck((4, 4), 4, expand_ratio=1)
        self.dropout = nn.Dropout(0.5)
        self.modes = []

    def forward(self, inputs, data_samples=None, mode='tensor'):
        self.modes.append((mode, inputs.device.type, self.dropout.training))
        return self.dropout(self.neck(self.backbone(inputs))[0])


def mixed_modes(model: nn.Module) -> nn.Module:
    model.train()
    for index, module in enumerate(model.modules()):
        module.training = index % 3 != 0
    return model


def snapshot(model: nn.Module) -> list:
    tensors = [*model.named_parameters(), *model.named_buffers()]
    return [
        [(name, id(t), t._version, t.device, t.requires_grad, t.grad) for name, t in tensors],
        [module.training for module in model.modules()],
        [dict(module._forward_pre_hooks) for module in model.modules()],
    ]


@pytest.mark.parametrize('fails', [False, True])
def test_no_trace_is_left(fails) -> None:
    model = mixed_modes(MMModel())
    before = snapshot(model)
    values = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    state = torch.get_rng_state()
    if fails:
        with pytest.raises(
            ValueError, match=r'MMModel cannot take an input_shape of \(2, 16, 16\)'
        ):
            run_on_shapes(model, (2, 16, 16))
    else:
        run_on_shapes(model, (3, 17, 33))
        assert model.modes == [('tensor', 'meta', False)]
    assert torch.equal(torch.get_rng_state(), state)
    assert snapshot(model) == before
    for name, tensor in model.state_dict().items():
        assert torch.equal(tensor, values[name]), name


def test_hooks_see_the_shapes() -> None:
    model = MMModel()
    shapes = []
    handle = model.neck.block.register_forward_pre_hook(
        lambda module, inputs: shapes.append(tuple(inputs[0].shape))
    )
    run_on_shapes(model, (3, 65, 97))
    handle.remove()
    assert shapes == [(1, 8, 17, 25)]


def test_large_pictures_cost_nothing() -> None:
    run_on_shapes(MMModel(), (3, 2**15, 2**15))


@pytest.mark.parametrize('shape', [(3, 8), (1, 3, 8, 8), (3, 0, 8), (3, -1, 8), ()], ids=str)
def test_wrong_input_shape(shape) -> None:
    with pytest.raises(ValueError, match='input_shape must be'):
        run_on_shapes(nn.Identity(), shape)


def test_other_errors_pass_through() -> None:
    class Broken(nn.Module):
        def forward(self, x):
            raise KeyError('mine')

    with pytest.raises(KeyError, match='mine'):
        run_on_shapes(Broken(), (3, 8, 8))


def test_tied_parameters() -> None:
    first, second = nn.Conv2d(3, 3, 1), nn.Conv2d(3, 3, 1)
    second.weight = first.weight
    model = nn.Sequential(first, second)
    run_on_shapes(model, (3, 4, 4))
    assert second.weight is first.weight
    assert first.weight.device.type == 'cpu'


@pytest.mark.parametrize('dtype', [torch.float64, torch.bfloat16, torch.float16], ids=str)
def test_models_of_another_dtype(dtype) -> None:
    run_on_shapes(nn.Conv2d(3, 3, 1).to(dtype), (3, 4, 4))


@pytest.mark.parametrize('raises', [False, True])
def test_eval_mode(raises) -> None:
    model = mixed_modes(Frozen(nn.Conv2d(1, 1, 1), nn.BatchNorm2d(1), nn.Dropout()))
    before = [module.training for module in model.modules()]
    try:
        with eval_mode(model):
            assert not any(module.training for module in model.modules())
            if raises:
                raise KeyError
    except KeyError:
        pass
    assert [module.training for module in model.modules()] == before


def test_eval_mode_of_a_norm_that_stays_frozen() -> None:
    model = Frozen(nn.BatchNorm2d(1), nn.Dropout()).train()
    with eval_mode(model):
        pass
    assert [module.training for module in model.modules()] == [True, False, True]

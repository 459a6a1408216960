"""The models and the input of a checkpoint's config."""

import copy

import pytest
import torch
from mmengine.config import Config

from st_mm.analysis.checkpoints import build_model, find_input_shape, load_strictly
from st_mm.ticket import Ticket


def test_weights_of_another_network_are_refused(drawn):
    state = drawn[1].state_dict()
    load_strictly(
        copy.deepcopy(drawn[0]), {f'module.{name}': tensor for name, tensor in state.items()}
    )
    for name, change in {
        'stem.weight': lambda tensor: tensor[:2],
        'decode_head.conv_seg.bias': lambda tensor: None,
        'auxiliary.weight': lambda tensor: torch.zeros(1),
    }.items():
        tensor = change(state.get(name))
        broken = {**state, name: tensor} if tensor is not None else {**state}
        if tensor is None:
            del broken[name]
        with pytest.raises(RuntimeError, match=f"tensor '{name}'"):
            load_strictly(copy.deepcopy(drawn[0]), broken)


@pytest.mark.parametrize(
    ('config', 'shape'),
    [
        (dict(model=dict(data_preprocessor=dict(size=(64, 128)))), (3, 64, 128)),
        (
            dict(model=dict(backbone=dict(in_channels=1)), data_preprocessor=dict(size=32)),
            (1, 32, 32),
        ),
        (
            dict(
                model={},
                train_dataloader=dict(
                    dataset=dict(
                        type='RepeatDataset',
                        dataset=dict(
                            type='D',
                            pipeline=[
                                dict(type='RandomCrop', crop_size=(9, 9)),
                                dict(type='mmpose.TopdownAffine', input_size=(192, 256)),
                            ],
                        ),
                    )
                ),
            ),
            (3, 256, 192),
        ),
    ],
)
def test_input_shape_of_the_training(config, shape):
    assert find_input_shape(Config(config), None) == shape
    ticket = Ticket(config=dict(SearchHook=dict(input_shape=[3, 5, 7])))
    assert find_input_shape(Config(config), ticket) == (3, 5, 7)


def test_no_input_shape_is_an_error():
    with pytest.raises(ValueError, match='--input-shape'):
        find_input_shape(Config(dict(model={})), None)


def test_a_config_without_a_model_is_refused():
    with pytest.raises(ValueError, match='no model'):
        build_model(Config(dict(default_scope='mmseg')))

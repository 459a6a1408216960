"""TokenMixer: its function, its units, and loading it with any number of tokens."""

import copy
import math

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from st_mm.measure import count_macs
from st_mm.models import TokenMixer
from st_mm.models.token_mixer import TOKEN_DIM
from st_mm.units import UnitOwner


def build(channels=4, tokens=6) -> TokenMixer:
    mixer = TokenMixer(channels, tokens)
    generator = torch.Generator().manual_seed(0)
    for name, tensor in (*mixer.named_parameters(), *mixer.named_buffers()):
        if tensor.is_floating_point():
            values = torch.randn(tensor.shape, generator=generator) / 4
            tensor.data.copy_(values.abs() + 0.5 if name.endswith('running_var') else values)
    return mixer


def narrow(mixer: TokenMixer, keep: list[int]) -> dict[str, torch.Tensor]:
    state = {name: tensor.clone() for name, tensor in mixer.state_dict().items()}
    for name, dim, _ in mixer.unit_slices():
        state[name] = state[name].index_select(dim, torch.tensor(keep, dtype=torch.long))
    return state


def by_hand(mixer: TokenMixer, x: torch.Tensor) -> torch.Tensor:
    """The mixer in eval mode with torch's own attention layers (DESIGN: post-norm, no biases)."""

    def attend(attention, query, memory):
        weight = torch.cat([attention.query.weight, attention.key.weight, attention.value.weight])
        layer = nn.MultiheadAttention(TOKEN_DIM, 1, bias=False, batch_first=True)
        layer.in_proj_weight.data, layer.out_proj.weight.data = weight, attention.out.weight
        return layer.eval()(query, memory, memory, need_weights=False)[0]

    def layer(part, query, memory):
        y = part.norm1(memory + attend(part.attention, query, memory))
        forward = F.relu(y @ part.feed_forward[0].weight.T) @ part.feed_forward[3].weight.T
        return part.norm2(y + forward)

    batch = len(x)
    small = F.interpolate(x, (8, 8), mode='bilinear', align_corners=False)
    index = torch.arange(8.0)
    index = (index - index.mean()) / math.sqrt(((index - index.mean()) ** 2).mean())
    columns, rows = index.expand(8, 8), index.expand(8, 8).T
    small = torch.cat([small, torch.stack([columns, rows]).expand(batch, 2, 8, 8)], 1)
    tokens = mixer.input_norm(F.conv2d(small, mixer.input_proj.weight)).reshape(batch, -1, 64)
    memory = layer(mixer.encoder, tokens, tokens)
    mixed = layer(mixer.decoder, mixer.queries.expand(batch, -1, -1), memory)
    out = mixer.output_norm(F.conv2d(mixed.view(batch, -1, 8, 8), mixer.output_proj.weight))
    return x + F.interpolate(out, x.shape[-2:], mode='bilinear', align_corners=False)


@torch.no_grad()
@pytest.mark.parametrize('size', [(16, 16), (8, 8), (5, 9), (1, 1)], ids=str)
@pytest.mark.parametrize('tokens', [1, 6])
def test_equals_the_layers_of_torch(size, tokens) -> None:
    mixer = build(tokens=tokens).eval()
    x = torch.randn(2, 4, *size)
    torch.testing.assert_close(mixer(x), by_hand(mixer, x), rtol=1e-5, atol=1e-5)


def test_pictures_of_a_batch_do_not_mix() -> None:
    mixer = build().eval()
    x = torch.randn(3, 4, 8, 8)
    apart = torch.cat([mixer(picture[None]) for picture in x])
    torch.testing.assert_close(mixer(x), apart, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize('tokens', [0, -1])
def test_config_errors(tokens) -> None:
    with pytest.raises(ValueError, match='tokens'):
        TokenMixer(4, tokens)


def test_protocol() -> None:
    mixer = build()
    assert isinstance(mixer, UnitOwner)
    assert mixer.unit_groups() == {'tokens': 6}
    assert mixer.unit_bn is mixer.input_norm
    state = mixer.state_dict()
    assert all(state[name].shape[dim] == 6 for name, dim, _ in mixer.unit_slices())
    covered = {name for name, _, _ in mixer.unit_slices()}
    others = [n for n, t in state.items() if 6 in t.shape and n not in covered]
    assert others == []


@pytest.mark.parametrize('tokens', [1, 6])
def test_macs_equal_the_flop_counter(tokens) -> None:
    mixer = TokenMixer(4, tokens)
    assert count_macs(mixer, (4, 16, 16)).dense == mixer.mixer_macs(tokens)


def test_macs_of_units() -> None:
    mixer = build(4, 6)
    total = {n: 10 * 64 * n + 2 * (2 * 64 * n * n + 4 * 64**2 * n) + 4 * 64**2 * n for n in (6, 5)}
    macs = mixer.unit_macs((99, 3))
    assert macs.dtype == torch.float64
    assert macs.tolist() == [total[6] - total[5]] * 6
    dead = torch.tensor([True, False, True, True, False, False])
    assert mixer.saved_macs((99, 3), dead) == mixer.mixer_macs(6) - mixer.mixer_macs(3)
    assert mixer.saved_macs((99, 3), torch.ones(6).bool()) == mixer.mixer_macs(6)


@torch.no_grad()
@pytest.mark.parametrize('keep', [[0, 2, 5], [4], []], ids=str)
def test_load_fewer_tokens(keep) -> None:
    source = build().eval()
    mixer = TokenMixer(4, 6).eval()
    identity = [id(p) for p in (*mixer.parameters(), *mixer.buffers())]
    mixer.load_state_dict(narrow(source, keep))
    assert [id(p) for p in (*mixer.parameters(), *mixer.buffers())] == identity
    assert mixer.unit_groups() == {'tokens': len(keep)}
    expected = copy.deepcopy(source)
    expected.load_state_dict(narrow(source, keep))
    x = torch.randn(2, 4, 16, 16)
    assert torch.equal(mixer(x), expected(x))
    if keep:
        assert mixer.unit_macs((8, 8)).numel() == len(keep)
        torch.testing.assert_close(mixer(x), by_hand(mixer, x), rtol=1e-5, atol=1e-5)
    mixer.load_state_dict(source.state_dict())
    assert torch.equal(mixer(x), source(x))


@pytest.mark.parametrize('keep', [[0, 2, 5], []], ids=str)
def test_every_parameter_gets_a_gradient(keep) -> None:
    mixer = TokenMixer(4, 6).train()
    mixer.load_state_dict(narrow(build(), keep))
    x = torch.randn(2, 4, 16, 16)
    mixer(x).square().mean().backward()
    for name, parameter in mixer.named_parameters():
        assert parameter.grad is not None, name
        assert parameter.grad.shape == parameter.shape


def test_autograd_after_load_with_the_old_loss_held() -> None:
    mixer = build().train()
    x = torch.randn(2, 4, 8, 8)
    held = mixer(x).mean()
    held.backward()
    mixer.zero_grad()
    mixer.load_state_dict(narrow(build(), [1, 3]))
    mixer(x).square().mean().backward()
    assert mixer.queries.grad.shape == (2, 64)
    assert held.requires_grad


def test_without_tokens_a_constant_stays() -> None:
    mixer = TokenMixer(4, 6).eval()
    mixer.load_state_dict(narrow(build(), []))
    x = torch.randn(2, 4, 8, 8)
    norm = mixer.output_norm
    constant = norm.bias - norm.running_mean * norm.weight / (norm.running_var + norm.eps).sqrt()
    torch.testing.assert_close(mixer(x) - x, constant.view(1, -1, 1, 1).expand_as(x))
    assert mixer.unit_macs((8, 8)).tolist() == []
    assert mixer.saved_macs((8, 8), torch.zeros(0).bool()) == 0
    assert count_macs(mixer, (4, 8, 8)).dense == 0


@pytest.mark.parametrize(
    ('name', 'shape'),
    [
        ('queries', (7, 64)),
        ('queries', (6, 63)),
        ('input_proj.weight', (6, 5, 1, 1)),
        ('output_proj.weight', (4, 5, 1, 1)),
        ('input_norm.running_mean', (5,)),
        ('encoder.norm1.weight', (63,)),
    ],
)
def test_misfit_names_the_tensor(name, shape) -> None:
    state = build().state_dict()
    state[name] = torch.zeros(shape)
    with pytest.raises(RuntimeError, match=name.replace('.', r'\.')):
        TokenMixer(4, 6).load_state_dict(state)


@pytest.mark.parametrize('name', ['queries', 'input_proj.weight', 'decoder.attention.out.weight'])
def test_missing_tensor_is_named(name) -> None:
    state = build().state_dict()
    del state[name]
    with pytest.raises(RuntimeError, match=name.replace('.', r'\.')):
        TokenMixer(4, 6).load_state_dict(state, strict=False)

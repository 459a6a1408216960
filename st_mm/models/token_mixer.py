"""TokenMixer: the lightweight transformer of HR-NAS, whose tokens are search units."""

from typing import Any

import torch
from mmcv.cnn import build_norm_layer
from mmengine.model import BaseModule
from mmengine.registry import MODELS
from torch import Tensor, nn
from torch.nn import functional as F

from st_mm.arguments import integer, settings
from st_mm.units.loading import TicketModule, misfit
from st_mm.units.owner import StateDict, UnitSlice, Widths, check_norm

from .norm_cfg import norm_or

MAP_SIZE = 8  # side of the map from which tokens are made
TOKEN_DIM = MAP_SIZE * MAP_SIZE  # a token is one value per position
DROPOUT = 0.1


class Attention(nn.Module):
    """Single-head attention without biases, with dropout on the attention weights."""

    def __init__(self) -> None:
        super().__init__()
        self.query = nn.Linear(TOKEN_DIM, TOKEN_DIM, bias=False)
        self.key = nn.Linear(TOKEN_DIM, TOKEN_DIM, bias=False)
        self.value = nn.Linear(TOKEN_DIM, TOKEN_DIM, bias=False)
        self.out = nn.Linear(TOKEN_DIM, TOKEN_DIM, bias=False)
        self.dropout = nn.Dropout(DROPOUT)

    def forward(self, query: Tensor, memory: Tensor) -> Tensor:
        """Let (B, L, D) queries attend to a (B, M, D) memory; return (B, L, D)."""
        q = self.query(query) * TOKEN_DIM**-0.5
        weights = (q @ self.key(memory).transpose(-2, -1)).softmax(-1)  # (B, L, M)
        mixed: Tensor = self.out(self.dropout(weights) @ self.value(memory))
        return mixed


class FeedForward(nn.Sequential):
    """Two linear layers without biases, with ReLU and dropout between them."""

    def __init__(self) -> None:
        super().__init__(
            nn.Linear(TOKEN_DIM, TOKEN_DIM, bias=False),
            nn.ReLU(),
            nn.Dropout(DROPOUT),
            nn.Linear(TOKEN_DIM, TOKEN_DIM, bias=False),
        )


class TransformerLayer(nn.Module):
    """Attention and feed-forward, each with a residual and then a norm (post-norm)."""

    def __init__(self) -> None:
        super().__init__()
        self.attention = Attention()
        self.norm1 = nn.LayerNorm(TOKEN_DIM)
        self.feed_forward = FeedForward()
        self.norm2 = nn.LayerNorm(TOKEN_DIM)
        self.dropout = nn.Dropout(DROPOUT)

    def forward(self, query: Tensor, memory: Tensor) -> Tensor:
        """Mix (B, L, D) queries and memory; the residual starts from the memory."""
        x = self.norm1(memory + self.dropout(self.attention(query, memory)))
        mixed: Tensor = self.norm2(x + self.dropout(self.feed_forward(x)))
        return mixed


@MODELS.register_module()
class TokenMixer(TicketModule, BaseModule):
    """Global context from a few tokens, added to the input (HR-NAS, CVPR 2021, Section 3.2).

    The input is resized to 8 x 8 and gets two coordinate maps. A 1x1 convolution turns its channels
    into tokens of 64 positions. An encoder layer and a decoder layer with learned queries mix them,
    and a second 1x1 convolution turns tokens back into channels. A token is a search unit: a row of
    the first convolution, a query, and a column of the second convolution.

    Args:
        channels (int): Channels of the input and the output.
        tokens (int): Number of tokens. Defaults to 64.
        norm_cfg (dict, optional): Config of the norm layers. Defaults to ``dict(type='BN')``: eps
            1e-5 and momentum 0.1, as in the published mixers of every task.
        init_cfg (dict, optional): Initialization config. Defaults to None.

    Shape:
        Input and output (B, channels, H, W).
    """

    least_units = 0

    def __init__(
        self,
        channels: int,
        tokens: int = 64,
        norm_cfg: dict[str, Any] | None = None,
        init_cfg: dict[str, Any] | None = None,
    ) -> None:
        super().__init__(init_cfg=settings('init_cfg', init_cfg, several=True))
        channels = integer('channels', channels, 1)
        tokens = integer('tokens', tokens, 1)
        norm_cfg = norm_or(norm_cfg, dict(type='BN'))
        self.channels = channels
        self.max_tokens = tokens
        self.input_proj = nn.Conv2d(channels + 2, tokens, 1, bias=False)
        self.input_norm = build_norm_layer(norm_cfg, tokens)[1]
        self.encoder = TransformerLayer()
        self.queries = nn.Parameter(torch.empty(tokens, TOKEN_DIM))
        self.decoder = TransformerLayer()
        self.output_proj = nn.Conv2d(tokens, channels, 1, bias=False)
        self.output_norm = build_norm_layer(norm_cfg, channels)[1]
        for norm in (self.input_norm, self.output_norm):
            check_norm(norm, norm_cfg)
        nn.init.normal_(self.queries)

    def forward(self, x: Tensor) -> Tensor:
        """Add the mixed tokens to (B, C, H, W) features."""
        mixed = self.output_norm(self._mix(x))  # (B, C, 8, 8)
        return x + F.interpolate(mixed, x.shape[-2:], mode='bilinear', align_corners=False)

    def _mix(self, x: Tensor) -> Tensor:
        """Make tokens, mix them, and turn them back into (B, C, 8, 8)."""
        batch = x.shape[0]
        if not self.input_proj.out_channels:  # no token is left; keep parameters in the graph
            unused = sum(0 * p.sum() for p in self.parameters())
            return x.new_zeros(batch, self.channels, MAP_SIZE, MAP_SIZE) + unused
        small = F.interpolate(x, (MAP_SIZE, MAP_SIZE), mode='bilinear', align_corners=False)
        small = torch.cat([small, self._coordinates(small)], 1)
        tokens = self.input_norm(self.input_proj(small)).flatten(2)  # (B, L, D)
        memory = self.encoder(tokens, tokens)
        mixed = self.decoder(self.queries.expand(batch, -1, -1), memory)
        outputs: Tensor = self.output_proj(mixed.unflatten(2, (MAP_SIZE, MAP_SIZE)))
        return outputs

    @staticmethod
    def _coordinates(like: Tensor) -> Tensor:
        """Give the standardized column and row index of each position, as (B, 2, 8, 8)."""
        index = torch.arange(MAP_SIZE, dtype=like.dtype, device=like.device)
        index = (index - index.mean()) / index.std(correction=0)
        rows, columns = torch.meshgrid(index, index, indexing='ij')
        return torch.stack([columns, rows]).expand(like.shape[0], -1, -1, -1)

    # Search units

    @property
    def unit_bn(self) -> nn.BatchNorm2d:
        """Return the BN after the input projection: its scale is the tokens' importance."""
        norm: nn.BatchNorm2d = self.input_norm
        return norm

    def unit_groups(self) -> dict[str, int]:
        """Count the tokens alive."""
        return {'tokens': self.input_proj.out_channels}

    def unit_slices(self) -> list[UnitSlice]:
        """List the tensors that have one entry per token."""
        norm = (f'input_norm.{name}' for name in ('weight', 'bias', 'running_mean', 'running_var'))
        slices = [UnitSlice(name, 0) for name in ('input_proj.weight', 'queries', *norm)]
        return [*slices, UnitSlice('output_proj.weight', 1)]

    def unit_macs(self, input_size: tuple[int, int]) -> Tensor:
        """Compute the MACs saved by removing one of the tokens that are alive now.

        Args:
            input_size (tuple[int, int]): Unused: tokens see a map of fixed size.

        Returns:
            Tensor: (units,) float64. Attention is quadratic in the number of tokens, so the figure
            falls with each token that is removed.
        """
        tokens = self.input_proj.out_channels
        saved = self.mixer_macs(tokens) - self.mixer_macs(tokens - 1) if tokens else 0
        return torch.full((tokens,), float(saved), dtype=torch.float64)

    def saved_macs(self, input_size: tuple[int, int], dead: Tensor) -> float:
        """Compute the MACs that removing the dead tokens together saves."""
        tokens = self.input_proj.out_channels
        return float(self.mixer_macs(tokens) - self.mixer_macs(tokens - int(dead.sum())))

    def mixer_macs(self, tokens: int) -> int:
        """Compute the MACs of the mixer for a number of tokens: two projections, two layers."""
        dim = TOKEN_DIM
        projections = (2 * self.channels + 2) * dim * tokens
        attention = 2 * (2 * dim * tokens**2 + 4 * dim**2 * tokens)
        feed_forward = 4 * dim**2 * tokens
        return projections + attention + feed_forward

    def absorb_units(self, dead: Tensor) -> None:
        """Do nothing: a dead token is a constant key in a softmax, which cannot be folded.

        Args:
            dead (Tensor): (units,) bool, the tokens about to be removed.
        """

    def sync_units(self) -> None:
        """Set the layers' channel counts to the shapes of their weights."""
        tokens = self.input_proj.weight.shape[0]
        self.input_proj.out_channels = self.output_proj.in_channels = tokens
        self.input_norm.num_features = tokens

    def widths_in(self, state_dict: StateDict, prefix: str) -> Widths:
        """Read how many tokens the mixer has in a state dict.

        Args:
            state_dict (Mapping[str, Tensor]): What is being loaded.
            prefix (str): Prefix of the mixer's keys.

        Returns:
            Mapping[str, int]: The tokens; the present number if it has no queries.

        Raises:
            RuntimeError: If there are more tokens there than the config gives the mixer.
        """
        key = f'{prefix}queries'
        if key not in state_dict:
            return self.unit_groups()
        incoming = tuple(state_dict[key].shape)
        if incoming[1:] != (TOKEN_DIM,) or incoming[0] > self.max_tokens:
            raise misfit(key, incoming, f'at most {self.max_tokens} tokens of {TOKEN_DIM} values')
        return {'tokens': incoming[0]}

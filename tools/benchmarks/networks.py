"""The networks that a table of latencies compares, built and made ready for timing."""

import copy
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path

import torch
from mmengine.config import Config
from mmengine.hub import get_config
from mmengine.registry import init_default_scope
from torch import Tensor, nn

from st_mm.analysis.checkpoints import build_model, open_checkpoint
from st_mm.deploy.compact import Compaction, compact
from st_mm.deploy.graph import Graph
from st_mm.deploy.metadata import describe
from st_mm.deploy.simplify import simplify
from st_mm.deploy.trace import TraceError, trace
from st_mm.prune import lowest, magnitude, prunable_weights

# what the paper's Table 10 and its successors compare with; configs of mmseg
STOCK = {
    'Fast-SCNN': 'fastscnn/fast_scnn_8xb4-160k_cityscapes-512x1024.py',
    'BiSeNetV1-R18': 'bisenetv1/bisenetv1_r18-d32_4xb4-160k_cityscapes-1024x1024.py',
    'BiSeNetV2': 'bisenetv2/bisenetv2_fcn_4xb4-160k_cityscapes-1024x1024.py',
    'STDC1': 'stdc/stdc1_4xb12-80k_cityscapes-512x1024.py',
    'DDRNet-23-slim': 'ddrnet/ddrnet_23-slim_in1k-pre_2xb6-120k_cityscapes-1024x1024.py',
    'PIDNet-S': 'pidnet/pidnet-s_2xb6-120k_1024x1024-cityscapes.py',
    'LR-ASPP-V3': 'mobilenet_v3/mobilenet-v3-d8-scratch_lraspp_4xb4-320k_cityscapes-512x1024.py',
    'LR-ASPP-V3s': 'mobilenet_v3/mobilenet-v3-d8-scratch-s_lraspp_4xb4-320k_cityscapes-512x1024.py',
}
SMALL = (128, 128)  # pictures on which statistics are taken


@dataclass
class Network:
    """A row of the table.

    Attributes:
        name (str): What it is called.
        model (nn.Module): An mm model, for evaluation.
        size (tuple[int, int]): Height and width of the pictures.
        meta (Mapping): Of its checkpoint, if it has one.
    """

    name: str
    model: nn.Module
    size: tuple[int, int]
    meta: Mapping = field(default_factory=dict)

    @cached_property
    def plain(self) -> Graph:
        """The network as a stock exporter writes it: norms folded, nothing removed."""
        return simplify(self._traced)

    @cached_property
    def compacted(self) -> tuple[Graph, Compaction]:
        """The same without what no output depends on."""
        return compact(self._traced)

    @property
    def is_compacted(self) -> bool:
        """Whether a column has asked for the compacted form, which takes a while to make."""
        return 'compacted' in vars(self)

    @cached_property
    def facts(self) -> dict:
        """What the engine needs around it."""
        return describe(self.model, self.meta, self.size)

    @cached_property
    def _traced(self) -> Graph:
        try:  # on small pictures, which takes a moment
            return replace(trace(self.model), image_size=self.size)
        except TraceError:
            return trace(self.model, self.size)


def of_checkpoint(path: Path, size: tuple[int, int]) -> list[Network]:
    """Open supernet, searched network and ticket of a checkpoint, each with its own weights."""
    opened = open_checkpoint(path)
    supernet = with_statistics(opened.supernet, size)
    searched = fill_zeros(copy.deepcopy(opened.model), size)
    return [
        Network('supernet', supernet, size, opened.meta),
        Network('searched', searched, size, opened.meta),
        Network('ticket', opened.model.eval(), size, opened.meta),
    ]


def of_config(path: str, size: tuple[int, int], zeros: float) -> list[Network]:
    """Build the network of a config, and the same with a drawn share of zeros: a smoke form."""
    supernet = with_statistics(build(Config.fromfile(path)), size)
    ticket = copy.deepcopy(supernet)
    weights = prunable_weights(ticket)
    with torch.no_grad():
        for name, scores in magnitude(weights).items():  # each alone: drawn layers are of any scale
            weights[name].mul_(lowest({name: scores}, zeros)[name])
    return [Network('supernet', supernet, size), Network('ticket', ticket, size)]


def of_stock(name: str, size: tuple[int, int]) -> Network:
    """Build a network of mmseg, by its name in :data:`STOCK` or as ``library::config``."""
    config = get_config(f'mmseg::{STOCK[name]}' if name in STOCK else name)
    return Network(name, with_statistics(build(config), size), size)


def build(config: Config) -> nn.Module:
    """Build a model with drawn weights; nothing is fetched."""
    torch.manual_seed(0)
    init_default_scope(config.get('default_scope', 'mmengine'))
    return build_model(config)


@torch.no_grad()
def with_statistics(model: nn.Module, size: tuple[int, int]) -> nn.Module:
    """Take the statistics of noise, so that no signal fades into numbers too small to be fast."""
    norms = [m for m in model.modules() if isinstance(m, nn.modules.batchnorm._BatchNorm)]
    momenta = [norm.momentum for norm in norms]
    model.train()
    for norm in norms:
        norm.momentum = 1.0
    try:
        logits(model, torch.randn(2, 3, *SMALL))
    except RuntimeError:  # too small for a pooling of LR-ASPP
        logits(model, torch.randn(2, 3, *size))
    for norm, momentum in zip(norms, momenta, strict=True):
        norm.momentum = momentum
    return model.eval()


@torch.no_grad()
def fill_zeros(model: nn.Module, size: tuple[int, int]) -> nn.Module:
    """Put small drawn values in the place of zeros: what was searched, before it was pruned."""
    for weight in prunable_weights(model).values():
        if weight.numel():
            scale = weight.std(correction=0).clamp(min=1e-3)
            weight.copy_(torch.where(weight == 0, torch.randn_like(weight) * scale, weight))
    return with_statistics(model, size)


def logits(model: nn.Module, x: Tensor) -> list[Tensor]:
    """Run a network alone: normalized pictures in, outputs as they leave the head."""
    outputs = model(x, data_samples=None, mode='tensor')
    return list(outputs) if isinstance(outputs, list | tuple) else [outputs]

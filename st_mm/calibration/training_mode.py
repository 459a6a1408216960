"""The forward pass that training runs, without what only training wants of it: dropout."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import nn
from torch.nn import functional as F
from torch.nn.modules.batchnorm import _NormBase
from torch.nn.modules.dropout import _DropoutNd
from torch.overrides import TorchFunctionMode


@contextmanager
def trains_without_dropout(model: nn.Module) -> Iterator[None]:
    """Let a model give the outputs and losses that it gives in training, but drop nothing.

    Networks with auxiliary outputs give other ones in training than in evaluation, and their
    losses want those. So the modules of a library or a user are in train mode; those of torch, of
    which none has other outputs, dropout and norms are in eval mode, also where the norm is one of
    a user. A module that stays in eval mode when the model is put into train mode, such as a frozen
    stage, stays so here.

    Modes are not put back: see :func:`~st_mm.calibration.no_trace.no_trace`.

    Args:
        model (nn.Module): The model, changed in place.
    """
    model.train()
    for module in model.modules():
        if _is_torchs(module) or _drops(module) or isinstance(module, _NormBase):
            module.training = False
    with _NothingDropped():
        yield


def _is_torchs(module: nn.Module) -> bool:
    return type(module).__module__.startswith('torch.')


def _drops(module: nn.Module) -> bool:
    return isinstance(module, _DropoutNd) or 'drop' in type(module).__name__.lower()


class _NothingDropped(TorchFunctionMode):
    """Lets functions that drop drop nothing, whoever calls them."""

    def __torch_function__(
        self,
        func: Callable[..., Any],
        types: Any,
        args: tuple[Any, ...] = (),
        kwargs: dict[str, Any] | None = None,
    ) -> Any:
        kwargs = dict(kwargs or {})
        if func in DROPOUTS:
            return args[0] if args else kwargs['input']
        if func is F.scaled_dot_product_attention:
            args = args[:4] + tuple(0.0 for _ in args[4:5]) + args[5:]
            kwargs |= {'dropout_p': 0.0} if len(args) < 5 else {}
        elif func is F.multi_head_attention_forward and 'training' in kwargs:
            kwargs['training'] = False
        return func(*args, **kwargs)


DROPOUTS = {
    F.dropout,
    F.dropout1d,
    F.dropout2d,
    F.dropout3d,
    F.alpha_dropout,
    F.feature_alpha_dropout,
    torch.dropout,
    torch.alpha_dropout,
    torch.feature_alpha_dropout,
    torch.feature_dropout,
}

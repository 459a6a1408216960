"""FreezeHook: parts of a network that do not train."""

from collections.abc import Mapping, Sequence
from fnmatch import fnmatch
from typing import Any

from mmengine.hooks import Hook
from mmengine.registry import HOOKS
from mmengine.runner import Runner
from torch import nn
from torch.nn.modules.batchnorm import _NormBase

from st_mm.arguments import flag, names

from .run_state import bare_model


@HOOKS.register_module()
class FreezeHook(Hook):
    """Keep the parameters of some parts as they are (``requires_grad=False``).

    ``parts=['backbone']`` trains neck and head upon a ticket, ``parts=['backbone', 'neck']`` the
    head alone. Without this hook only masks are fixed, as in the paper, which fine-tunes all of the
    ticket. Masks of frozen parts stay in the record.

    Args:
        parts (Sequence[str]): Names or shell patterns of modules.
        norm_eval (bool): Whether norms in them also keep their statistics. Defaults to False: these
            follow the target's data, as all norms do in the published code.

    Raises:
        ValueError: If a name matches no module with parameters, or nothing is left to train.
    """

    priority = 'VERY_HIGH'  # before the hooks that ask what trains

    def __init__(self, parts: Sequence[str], norm_eval: bool = False) -> None:
        self.parts = names('parts', parts)
        if not self.parts:
            raise ValueError(f"parts must be a list of names, like ['backbone'], got {parts!r}")
        self.norm_eval = flag('norm_eval', norm_eval)
        self.norms: list[nn.Module] = []

    def before_train(self, runner: Runner) -> None:
        """Freeze the parts; the optimizer skips what has no gradient."""
        model = bare_model(runner)
        frozen: dict[str, nn.Module] = {}
        for part in self.parts:
            found = {
                name: module
                for name, module in model.named_modules()
                if name and fnmatch(name, part) and any(True for _ in module.parameters())
            }
            if not found:
                children = ', '.join(name for name, _ in model.named_children())
                raise ValueError(
                    f"'{part}' in parts of FreezeHook is not a module with parameters in "
                    f'{type(model).__name__}, which has {children}'
                )
            frozen |= found
        for module in frozen.values():
            module.requires_grad_(False)
        if not any(parameter.requires_grad for parameter in model.parameters()):
            raise ValueError(
                f'FreezeHook(parts={list(self.parts)}) leaves nothing to train in '
                f'{type(model).__name__}: leave out its head at least'
            )
        norms = {m for module in frozen.values() for m in module.modules()}
        self.norms = [m for m in norms if self.norm_eval and isinstance(m, _NormBase)]

    def before_train_iter(
        self, runner: Runner, batch_idx: int, data_batch: Mapping[str, Any] | None = None
    ) -> None:
        """Keep the norms in eval mode, whoever has put the model back into training mode."""
        for norm in self.norms:
            norm.eval()

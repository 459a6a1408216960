"""Which weights pruning may mask: those of convolutions and linear layers, but the classifier's."""

import re
from collections.abc import Iterable
from fnmatch import fnmatch

from torch import Tensor, nn

# the layers of mm's heads that give the scores, coordinates or heatmaps of the task
CLASSIFIER = re.compile(
    r"""(^|\.)\w*head(\.\d+|s\.\w+)?\.  # in a head, or in one of several
    (
        conv_seg | fc_seg | \w+_cls_seg  # mmseg
        | fc | fc2 | fc_cls | layers\.\d+\.fc | norm_product | \w*cls_head  # mmpretrain
        | (layers\.)?(head | head_dist | dist_head)(\.linear)?
        | final_layer | multi_final_layers\.\d+ | cls_[xy] | mlp_head_[xy]  # mmpose
    )$""",
    re.VERBOSE,
)


def matches(name: str, patterns: Iterable[str]) -> bool:
    """Whether a weight's name fits one of the shell patterns."""
    return any(fnmatch(name, pattern) for pattern in patterns)


def prunable_weights(model: nn.Module, skip: Iterable[str] = ()) -> dict[str, Tensor]:
    """Collect the weights that pruning may mask.

    Args:
        model (nn.Module): Any model.
        skip (Iterable[str]): Shell patterns of weight names to leave alone. Defaults to none.

    Returns:
        dict[str, Tensor]: Every conv and linear weight by its name, but for those of the
        task classifier (the last layer of a head, by the names of mm) and ``skip``.

    Raises:
        ValueError: If nothing is left, or a pattern of ``skip`` matches nothing.
    """
    if isinstance(skip, str):
        raise ValueError(f'skip must be a list of patterns, got the string {skip!r}')
    weights: dict[str, Tensor] = {
        f'{name}.weight': module.weight
        for name, module in model.named_modules()
        if isinstance(module, (nn.modules.conv._ConvNd, nn.Linear))
    }
    for pattern in skip:
        if not any(fnmatch(name, pattern) for name in weights):
            raise ValueError(f"the pattern '{pattern}' in skip matches no conv or linear weight")
    classifiers = {
        re.sub(r'\blayers\.\d+', 'layers', name): name  # of a stack, the last one
        for name in weights
        if CLASSIFIER.search(name.removesuffix('.weight'))
    }
    kept = {
        name: weight
        for name, weight in weights.items()
        if name not in classifiers.values() and not matches(name, skip)
    }
    if not any(weight.numel() for weight in kept.values()):
        raise ValueError(
            f'{type(model).__name__} has no prunable weights: no convolution or linear layer '
            'besides the task classifier and what skip names'
        )
    return kept

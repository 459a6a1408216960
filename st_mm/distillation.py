"""Distillation: what a network should answer, besides the truth, is what a teacher answers.

Source: Hinton, Vinyals and Dean, arXiv 1503.02531 (classes, with a temperature); each pixel of a
segmentation is classified alike; outputs of a sigmoid are two classes each; heatmaps are regressed.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.modules.batchnorm import _BatchNorm

from st_mm.models.preprocessing import normalization

LOSSES = ('kl', 'binary', 'mse')
HEADS = ('decode_head', 'head')  # of mmseg; of mmpretrain and mmpose
ITS_LOSSES = ('loss_decode', 'loss_module')  # of a head of mmseg, of mmpretrain
NO_MAPS = ('coord_cls', 'hybrid', 'regression', 'transformer')  # kinds of mmpose's heads


class Teacher:
    """A network that is asked, and does not learn.

    Args:
        model (nn.Module): An mm model with a head. It is put into eval mode, without gradients.
        own_statistics (bool): Whether norms take the running statistics, or those of the batch
            that is asked: of weights that are not those the statistics were taken with. Defaults
            to True.

    Raises:
        ValueError: If it has no head whose output could be compared.
    """

    def __init__(self, model: nn.Module, own_statistics: bool = True) -> None:
        find_head(model)
        self.model = model.eval().requires_grad_(False)
        self.own_statistics = own_statistics

    def __call__(self, inputs: Tensor) -> Tensor:
        """Answer pictures (B, C, H, W), normalized; see :func:`only_tensor` for what may come."""
        self.model.eval()  # an average of the run is used by others, too
        norms = nullcontext() if self.own_statistics else batch_statistics(self.model)
        with torch.no_grad(), norms:
            return only_tensor(self.model(inputs, data_samples=None, mode='tensor'))

    def check(self, student: nn.Module) -> None:
        """Refuse a student that gets other pictures or answers other questions.

        Args:
            student (nn.Module): The model that learns.

        Raises:
            ValueError: Naming what differs.
        """
        ours, theirs = (_facts(model) for model in (student, self.model))
        for name, value in ours.items():
            if theirs.get(name, value) != value:
                raise ValueError(
                    f'the teacher does not fit: its {name} is {theirs[name]}, that of the model '
                    f'{value}'
                )


@contextmanager
def batch_statistics(model: nn.Module) -> Iterator[None]:
    """Let the BN of a model in eval mode take the statistics of a batch, and keep none."""
    norms = [norm for norm in model.modules() if isinstance(norm, _BatchNorm)]
    tracking = [norm.track_running_stats for norm in norms]
    for norm in norms:
        norm.training, norm.track_running_stats = True, False
    try:
        yield
    finally:
        for norm, tracks in zip(norms, tracking, strict=True):
            norm.training, norm.track_running_stats = False, tracks


def find_head(model: nn.Module) -> nn.Module:
    """The head of an mm model.

    Raises:
        ValueError: If there is none, or several in a row.
    """
    for name in HEADS:
        if isinstance(head := getattr(model, name, None), nn.Module):
            if isinstance(head, nn.ModuleList):
                raise ValueError(f'{type(model).__name__} has several heads in a row: {name}')
            return head
    raise ValueError(f'{type(model).__name__} has none of the heads {", ".join(HEADS)}')


def loss_of(model: nn.Module) -> str:
    """``'mse'`` for heatmaps, ``'binary'`` for outputs of a sigmoid, ``'kl'`` for classes.

    Raises:
        ValueError: If the head gives what is none of these.
    """
    head = find_head(model)
    kinds = [kind.__module__ for kind in type(head).__mro__]
    if any(
        kind.startswith(f'mmpose.models.heads.{name}_heads') for kind in kinds for name in NO_MAPS
    ):
        raise ValueError(
            f'DistillHook compares classes or heatmaps, and a {type(head).__name__} gives neither'
        )
    if any(kind.startswith('mmpose.') for kind in kinds):
        return 'mse'
    losses = [
        part for name in ITS_LOSSES if isinstance(part := getattr(head, name, None), nn.Module)
    ]
    parts = [part for loss in losses for part in loss.modules()]
    return 'binary' if any(getattr(part, 'use_sigmoid', False) for part in parts) else 'kl'


def only_tensor(output: Any) -> Tensor:
    """The output of a head, if it is one tensor: (B, classes), or (B, classes or joints, H, W).

    Raises:
        ValueError: If it is anything else.
    """
    if isinstance(output, list | tuple) and len(output) == 1:
        output = output[0]
    if not isinstance(output, Tensor):
        raise ValueError(
            'DistillHook compares what is one tensor, classes or heatmaps, and the head gives a '
            f'{type(output).__name__}'
        )
    return output


def distance(student: Tensor, teacher: Tensor, loss: str, temperature: float = 1.0) -> Tensor:
    """How far an answer is from that of the teacher.

    Args:
        student (Tensor): (B, C), or (B, C, H, W).
        teacher (Tensor): The same; a map of another size is resized to that of the student.
        loss (str): ``'kl'``: the divergence of the student's classes from the teacher's, over axis
            1, times the square of the temperature; ``'binary'``: the same of each output of axis 1
            and its opposite, summed; ``'mse'``: the squared difference.
        temperature (float): Both are divided by it; not for ``'mse'``. Defaults to 1.

    Returns:
        Tensor: The mean over the pictures, and over the pixels; of the squared difference, over
            all values.

    Raises:
        ValueError: If the answers have another shape, or ``'kl'`` has one class to compare.
    """
    student, teacher = student.float(), teacher.float()  # not in half precision
    if student.dim() == teacher.dim() == 4 and student.shape[2:] != teacher.shape[2:]:
        teacher = F.interpolate(teacher, student.shape[2:], mode='bilinear')
    if student.shape != teacher.shape:
        raise ValueError(
            f'the teacher answers with {tuple(teacher.shape)}, the model with '
            f'{tuple(student.shape)}'
        )
    if loss == 'mse':
        return F.mse_loss(student, teacher)
    if loss == 'binary':  # yes or no: (B, 2, C, ...)
        student, teacher = (torch.stack((x, -x), 1) / 2 for x in (student, teacher))
    elif student.shape[1] == 1:
        raise ValueError("one output has no classes to compare: give DistillHook loss='binary'")
    ours, theirs = ((x / temperature).log_softmax(1) for x in (student, teacher))
    divergence = F.kl_div(ours, theirs, reduction='none', log_target=True).sum(1)
    if loss == 'binary':
        divergence = divergence.sum(1)
    return divergence.mean() * temperature**2


@contextmanager
def kept_output(model: nn.Module) -> Iterator[list[Any]]:
    """A list to which the head of a model adds what it gives, each time, while this lasts."""
    head = find_head(model)
    kept: list[Any] = []
    own, forward = head.__dict__.get('forward'), head.forward

    def keep(*arguments: Any, **named: Any) -> Any:
        output = forward(*arguments, **named)
        kept.append(output)
        return output

    head.forward = keep  # mmseg and mmpose call it without the hooks of a module
    try:
        yield kept
    finally:
        del head.forward
        if own is not None:
            head.forward = own


def with_teacher(
    model: Any, compare: Callable[[Tensor, Tensor], Tensor]
) -> Callable[..., dict[str, Tensor]]:
    """The ``loss`` of a model, with one more entry, ``loss_distill``: of several teachers, the sum.

    Args:
        model (nn.Module): An mm model.
        compare (Callable): Takes the pictures of a batch and the output of the model's head, and
            gives the loss.
    """
    own: Callable[..., dict[str, Tensor]] = model.loss

    def loss(inputs: Tensor, data_samples: Any) -> dict[str, Tensor]:
        with kept_output(model) as kept:
            losses = own(inputs, data_samples)
        distill = compare(inputs, only_tensor(kept[-1]))
        return {**losses, 'loss_distill': losses.get('loss_distill', 0) + distill}

    return loss


def _facts(model: nn.Module) -> dict[str, Any]:
    """What a model is given and asked."""
    before, head = getattr(model, 'data_preprocessor', None), find_head(model)
    found: dict[str, Any] = {}
    if before is not None:
        given = normalization(before)
        swapped = given.pop('channel_order') == 'rgb'
        found['order of channels'] = 'swapped' if swapped else 'as it is read'
        found |= {f'{name} of the pictures': given.get(name, 'none') for name in ('mean', 'std')}
    for name in ('num_classes', 'out_channels'):
        if isinstance(value := getattr(head, name, None), int):
            found['number of classes' if name == 'num_classes' else 'number of outputs'] = value
    return found

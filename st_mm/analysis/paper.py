"""What the paper reports: its Tables 1-10 as data (arXiv 2207.03677, version 5)."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from itertools import combinations
from types import MappingProxyType

SEGMENTATION = ('mIoU', 'mAcc', 'aAcc')
POSE = ('AP', 'AP_M', 'AP_L', 'AR')
TICKET, RETRAINED = 'SuperTickets', 'SuperTickets w/ RT'
M, G = 1e6, 1e9

Line = tuple[str, float | None, float, float, tuple[float, ...]]  # of Tables 3-6


@dataclass(frozen=True)
class Result:
    """A line of a table, on one data set and at one ratio.

    Attributes:
        table (int): Number of the table.
        dataset (str): ``'ImageNet'``, ``'Cityscapes'``, ``'ADE20K'`` or ``'COCO'``.
        method (str): The method, as the paper names it. Its own is ``'SuperTickets'`` in every
            table (``ST`` in some of the paper's), and ``'SuperTickets w/ RT'`` when retrained. S+P
            is the pipeline that searches, trains and then prunes: by magnitude (Mag.), gradient
            (Grad.) or at random (RP).
        ratio (float, optional): Pruning ratio; None where the paper states none.
        params (float, optional): Parameters; None where the table has none.
        macs (float, optional): Multiply-adds of one picture, the paper's FLOPs. For pruned
            networks they count nonzero weights alone. None where the table has none.
        scores (Mapping[str, float]): What it reaches: scores in percent by their names; in Table
            10 also ``fps``, pictures per second on a GTX 1080 Ti, and ``ms``, milliseconds on a
            simulated sparse accelerator.
        origin (str): The data set on which the ticket was drawn, for a transferred one; else
            empty.
    """

    table: int
    dataset: str
    method: str
    ratio: float | None = None
    params: float | None = None
    macs: float | None = None
    scores: Mapping[str, float] = field(default_factory=dict)
    origin: str = ''


def _scores(names: tuple[str, ...], values: tuple[float, ...]) -> Mapping[str, float]:
    return MappingProxyType(dict(zip(names, values, strict=True)))


def _ladder() -> Iterator[Result]:
    """Yield Table 1: the ablation of two-in-one training, PP, IR and retraining."""
    both: tuple[tuple[str, tuple[float, ...], tuple[float, ...]], ...] = (
        ('S+P (Mag.)', (42.12, 50.49, 87.45), (5.04, 4.69, 5.89, 10.67)),
        ('S+P (Mag.) w/ RT', (51.03, 59.61, 90.88), (48.63, 46.82, 51.74, 53.38)),
        ('2-in-1', (55.84, 67.38, 92.97), (58.38, 56.68, 61.26, 62.23)),
        ('2-in-1 + PP', (63.89, 73.56, 94.17), (60.14, 57.93, 63.70, 63.79)),
        ('2-in-1 + PP + IR-P', (45.73, 55.52, 89.36), (5.48, 7.43, 4.36, 10.85)),
        (TICKET, (66.61, 76.30, 94.63), (61.02, 58.80, 64.64, 64.78)),
        (RETRAINED, (67.17, 77.03, 94.73), (61.48, 59.30, 65.19, 65.20)),
    )
    for method, street, pose in both:
        yield Result(1, 'Cityscapes', method, 0.9, scores=_scores(SEGMENTATION, street))
        yield Result(1, 'COCO', method, 0.8, scores=_scores(POSE, pose))


def _transfer() -> Iterator[Result]:
    """Yield Table 2: tickets of one data set fine-tuned on another, at 90 %."""
    lines: tuple[tuple[str, str, str, float, float, tuple[float, ...]], ...] = (
        ('Cityscapes', 'S+P (Grad.)', '', 0.13, 203, (8.41, 12.39, 56.77)),
        ('Cityscapes', 'S+P (Mag.)', '', 0.13, 203, (42.12, 50.49, 87.45)),
        ('Cityscapes', 'S+P (Mag.) w/ RT', '', 0.13, 203, (60.76, 70.40, 93.38)),
        ('Cityscapes', TICKET, 'ADE20K', 0.20, 247, (62.91, 73.32, 93.82)),
        ('Cityscapes', TICKET, 'ImageNet', 0.18, 294, (61.64, 71.78, 93.75)),
        ('ADE20K', 'S+P (Grad.)', '', 0.11, 154, (0.79, 1.50, 25.58)),
        ('ADE20K', 'S+P (Mag.)', '', 0.11, 154, (3.37, 4.70, 39.47)),
        ('ADE20K', TICKET, 'Cityscapes', 0.13, 119, (20.83, 29.95, 69.00)),
        ('ADE20K', TICKET, 'ImageNet', 0.21, 189, (22.42, 31.87, 70.21)),
    )
    for dataset, method, origin, params, macs, values in lines:
        scores = _scores(SEGMENTATION, values)
        yield Result(2, dataset, method, 0.9, params * M, macs * M, scores, origin)


def _others() -> Iterator[Result]:
    """Yield Tables 3-6: against the networks of others, on each of the four data sets."""
    yield from _rivals(
        3,
        'ImageNet',
        M,
        ('top-1',),
        ('CondenseNet', None, 2.9, 274, (71.0,)),
        ('ShuffleNetV1', None, 3.4, 292, (71.5,)),
        ('ShuffleNetV2', None, 3.5, 299, (72.6,)),
        ('MobileNetV2', None, 3.4, 300, (72.0,)),
        ('FBNet', None, 4.5, 295, (74.1,)),
        ('S+P (Grad.)', None, 2.7, 114, (64.3,)),
        ('S+P (Mag.)', None, 2.7, 114, (72.8,)),
        (TICKET, 0.5, 2.7, 125, (74.2,)),
    )
    yield from _rivals(
        4,
        'Cityscapes',
        G,
        ('mIoU',),
        ('BiSeNet', None, 5.8, 6.6, (69.00,)),
        ('MobileNetV3', None, 1.5, 2.5, (72.36,)),
        ('ShuffleNetV2', None, 3.0, 6.9, (71.30,)),
        ('Auto-DeepLab', None, 3.2, 27.3, (71.21,)),
        ('SqueezeNAS', None, 0.73, 8.4, (72.40,)),
        ('S+P (Grad.) w/ RT', None, 0.63, 1.0, (60.66,)),
        ('S+P (Mag.) w/ RT', None, 0.63, 1.0, (72.31,)),
        (TICKET, 0.5, 0.63, 1.0, (72.68,)),
    )
    yield from _rivals(
        5,
        'ADE20K',
        G,
        ('mIoU',),
        ('MobileNetV2', None, 2.2, 2.8, (32.04,)),
        ('MobileNetV3', None, 1.6, 1.3, (32.31,)),
        ('S+P (Grad.)', None, 1.0, 0.8, (24.14,)),
        ('S+P (Mag.)', None, 1.0, 0.8, (31.59,)),
        (TICKET, None, 1.0, 0.8, (32.54,)),
    )
    yield from _rivals(
        6,
        'COCO',
        G,
        POSE,
        ('ShuffleNetV1', None, 1.0, 0.16, (58.5, 55.2, 64.6, 65.1)),
        ('ShuffleNetV2', None, 1.3, 0.17, (59.8, 56.5, 66.2, 66.4)),
        ('MobileNetV2', None, 2.3, 0.33, (64.6, 61.0, 71.1, 70.7)),
        ('S+P (Mag.)', None, 0.6, 0.23, (63.4, 61.2, 66.8, 67.3)),
        (TICKET, None, 0.6, 0.23, (65.4, 63.4, 69.0, 68.9)),
    )


def _rivals(
    table: int, dataset: str, unit: float, names: tuple[str, ...], *lines: Line
) -> Iterator[Result]:
    for method, ratio, params, macs, values in lines:
        scores = _scores(names, values)
        yield Result(table, dataset, method, ratio, params * M, macs * unit, scores)


def _random() -> Iterator[Result]:
    """Yield Table 7: masks at random places (RP) and weights drawn anew (RR-Init)."""
    columns = (
        ('Cityscapes', 0.8, 405, 397),
        ('Cityscapes', 0.9, 203, 200),
        ('ADE20K', 0.8, 308, 317),
        ('ADE20K', 0.9, 154, 159),
    )
    lines: tuple[tuple[str, tuple[tuple[float, ...], ...]], ...] = (
        (
            'S+P w/ RP',
            ((1.30, 5.17, 21.96), (1.15, 5.26, 21.9), (0.06, 0.66, 6.54), (0.01, 0.66, 1.72)),
        ),
        (
            'ST w/ RP',
            (
                (20.17, 27.57, 68.73),
                (16.55, 23.83, 65.90),
                (8.58, 11.93, 60.21),
                (4.98, 7.19, 55.30),
            ),
        ),
        (
            'ST w/ RR-Init',
            (
                (56.88, 67.33, 92.62),
                (52.96, 62.66, 91.91),
                (21.24, 30.62, 68.57),
                (19.49, 28.46, 67.26),
            ),
        ),
        (
            TICKET,
            (
                (69.77, 79.76, 95.12),
                (66.61, 76.30, 94.63),
                (31.19, 43.10, 74.82),
                (27.82, 39.49, 73.37),
            ),
        ),
    )
    for method, cells in lines:
        for (dataset, ratio, pipeline, ours), values in zip(columns, cells, strict=True):
            macs = (pipeline if method.startswith('S+P') else ours) * M
            scores = _scores(SEGMENTATION, values)
            yield Result(7, dataset, method, ratio, macs=macs, scores=scores)


def _random_transfer() -> Iterator[Result]:
    """Yield Table 8: the same for transferred tickets, at 90 %."""
    lines: tuple[tuple[str, str, str, tuple[float, ...]], ...] = (
        ('Cityscapes', 'ADE20K', 'ST w/ RP', (10.51, 14.42, 61.28)),
        ('Cityscapes', 'ADE20K', 'ST w/ RR-Init', (46.19, 54.92, 90.88)),
        ('Cityscapes', 'ADE20K', TICKET, (62.91, 73.32, 93.82)),
        ('ADE20K', 'Cityscapes', 'ST w/ RP', (6.95, 10.1, 57.7)),
        ('ADE20K', 'Cityscapes', 'ST w/ RR-Init', (14.82, 21.02, 65.54)),
        ('ADE20K', 'Cityscapes', TICKET, (20.83, 29.95, 69.00)),
    )
    for dataset, origin, method, values in lines:
        scores = _scores(SEGMENTATION, values)
        yield Result(8, dataset, method, 0.9, scores=scores, origin=origin)


def _rewinding() -> Iterator[Result]:
    """Yield Table 9: a ticket trained again from weights of different times, at 90 %."""
    lines: tuple[tuple[str, tuple[float, ...], tuple[float, ...]], ...] = (
        ('ST w/ RR-Init', (52.96, 62.66, 91.91), (19.49, 28.46, 67.26)),
        ('ST w/ LT-Init', (59.63, 70.24, 93.33), (25.32, 36.76, 71.33)),
        ('ST w/ ELT-Init', (65.82, 76.74, 94.54), (25.79, 37.33, 72.10)),
        ('ST w/ LLT-Init', (67.17, 77.03, 94.73), (28.51, 40.63, 73.49)),
        (TICKET, (66.61, 77.03, 94.73), (27.82, 39.49, 73.37)),
    )
    for method, street, scene in lines:
        yield Result(9, 'Cityscapes', method, 0.9, scores=_scores(SEGMENTATION, street))
        yield Result(9, 'ADE20K', method, 0.9, scores=_scores(SEGMENTATION, scene))


def _inference() -> Iterator[Result]:
    """Yield Table 10: speed on Cityscapes."""
    lines: tuple[tuple[str, float | None, float | None, float | None, tuple[float, ...]], ...] = (
        ('BiSeNet', None, 5.8 * M, 6.6 * G, (69.00, 105.8, 180.8)),
        ('DF1-Seg-d8', None, None, None, (71.40, 136.9, 181.7)),
        ('FasterSeg', None, 4.4 * M, None, (71.50, 163.9, 142.4)),
        ('SqueezeNAS', None, 0.73 * M, 8.4 * G, (72.40, 117.2, 198.5)),
        (TICKET, 0.5, 0.63 * M, 1.0 * G, (72.68, 310.7, 48.3)),
    )
    for method, ratio, params, macs, values in lines:
        scores = _scores(('mIoU', 'fps', 'ms'), values)
        yield Result(10, 'Cityscapes', method, ratio, params, macs, scores)


RESULTS: tuple[Result, ...] = (
    *_ladder(),
    *_transfer(),
    *_others(),
    *_random(),
    *_random_transfer(),
    *_rewinding(),
    *_inference(),
)


def find_results(
    dataset: str,
    method: str,
    ratio: float | None = None,
    table: int | None = None,
    origin: str = '',
) -> list[Result]:
    """Look up what the paper says of a method on a data set.

    Args:
        dataset (str): Name of the data set.
        method (str): Name of the method, as in :class:`Result`.
        ratio (float, optional): Pruning ratio; None for lines that state none. Defaults to None.
        table (int, optional): One table only. Defaults to None: all of them.
        origin (str): The data set on which a transferred ticket was drawn. Defaults to ``''``: a
            ticket of the data set itself.

    Returns:
        list[Result]: The lines, in the order of the tables; more than one where tables repeat a
        result, see also :func:`contradictions`.

    Raises:
        KeyError: If the paper has no such line.
    """
    found = [
        result
        for result in RESULTS
        if (result.dataset, result.method, result.ratio, result.origin)
        == (dataset, method, ratio, origin)
        and table in (None, result.table)
    ]
    if not found:
        place = 'the tables' if table is None else f'Table {table}'
        raise KeyError(f'{place} of the paper have no {method} on {dataset} at a ratio of {ratio}')
    return found


def contradictions() -> list[tuple[Result, Result]]:
    """Find the pairs of lines that report different scores for the same training.

    Returns:
        list[tuple[Result, Result]]: Pairs of lines from two tables. Quote both.
    """
    return [
        (first, second)
        for first, second in combinations(RESULTS, 2)
        if (first.dataset, first.method, first.ratio, first.origin)
        == (second.dataset, second.method, second.ratio, second.origin)
        and first.ratio is not None
        and any(
            first.scores[name] != second.scores[name]
            for name in first.scores.keys() & second.scores.keys()
        )
    ]

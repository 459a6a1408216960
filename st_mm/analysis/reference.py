"""Networks that tickets are compared with: what was published of them, and what we count.

The rows are those of the paper's Tables 3-6 that a config of mmpretrain, mmseg or mmpose builds,
their nearest relatives, our supernets, and the paper's SuperTickets. Published figures stand here
only with their source; a figure without one is None.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.ticker import EngFormatter
from mmengine.config import Config
from mmengine.fileio import load
from rich import box
from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from st_mm.config_path import config_path
from st_mm.measure import count_macs, count_params

from .checkpoints import build_model
from .plots import METRIC_NAMES
from .report import Cost
from .tradeoff import COLOURS, MARKERS

SOURCES = {
    'SuperTickets': 'https://arxiv.org/abs/2207.03677',
    'ShuffleNet Series': 'https://github.com/megvii-model/ShuffleNet-Series',
    'TF-slim': 'https://github.com/tensorflow/models/tree/master/research/slim/nets/mobilenet',
    'STDC-Seg': 'https://github.com/MichaelFan01/STDC-Seg',
    'HRNet pose': 'https://github.com/leoxiaobin/deep-high-resolution-net.pytorch',
    'Lite-HRNet': 'https://github.com/HRNet/Lite-HRNet',
}
HEADER = ('params', 'published', 'MACs', 'published')


@dataclass(frozen=True)
class Figures:
    """What somebody says of a network.

    Attributes:
        params (float, optional): Parameters.
        macs (float, optional): Multiply-adds of one picture.
        score (float, optional): The task's metric, in percent.
        source (str): Who says so: a key of ``SOURCES``.
    """

    params: float | None = None
    macs: float | None = None
    score: float | None = None
    source: str = ''


@dataclass(frozen=True)
class Reference:
    """A row of a comparison.

    Attributes:
        name (str): The network; what stands before a comma names its line in a plot.
        config (str, optional): ``package::path`` below that package's ``configs/``, of an mm
            library or ``st_mm``; None for a network that only a training can draw.
        published (Figures): By its authors.
        options (Mapping[str, Any]): Changes of the config, as ``--cfg-options``.
        note (str): Why our figures and the published ones differ, or what to know besides.
    """

    name: str
    config: str | None
    published: Figures = Figures()
    options: Mapping[str, Any] = field(default_factory=dict)
    note: str = ''


@dataclass(frozen=True)
class Task:
    """A comparison: networks on one data set, at one size.

    Attributes:
        title (str): Data set and input.
        input_shape (tuple[int, int, int]): (channels, height, width) that MACs are counted at.
        metric (str): The score, by the name that mm logs it under.
        index_metric (str): The same by the name it has in the libraries' metafiles.
        index_scale (float): What makes a metafile's score one in percent.
        rows (tuple[Reference, ...]): The networks.
    """

    title: str
    input_shape: tuple[int, int, int]
    metric: str
    index_metric: str
    index_scale: float
    rows: tuple[Reference, ...]


@dataclass(frozen=True)
class Counted:
    """A row with our figures.

    Attributes:
        reference (Reference): The row.
        cost (Cost, optional): Parameters and MACs as our counter counts them; None if the network
            was not built.
        library (Figures): What the metafile of its library says; empty for a changed config.
        missing (str): Why the network was not built; empty if it was, or if nothing can build it.
    """

    reference: Reference
    cost: Cost | None
    library: Figures = Figures()
    missing: str = ''

    @property
    def score(self) -> float | None:
        """The authors' score, else the library's."""
        published = self.reference.published.score
        return self.library.score if published is None else published

    def to_dict(self) -> dict[str, Any]:
        """The row in plain types."""
        return dict(
            asdict(self.reference),
            params=self.cost.params if self.cost else None,
            macs=self.cost.macs if self.cost else None,
            library=asdict(self.library),
            missing=self.missing,
        )


def _ticket(
    variant: str, params: float | None, macs: float | None, score: float, note: str = ''
) -> Reference:
    published = Figures(params, macs, score, 'SuperTickets')
    return Reference(f'SuperTickets{variant}', None, published, note=note)


NO_RATIO = 'the figures do not say at which ratio'
COCO = 'mmpose::body_2d_keypoint/topdown_heatmap/coco'
TASKS = dict(
    imagenet=Task(
        'ImageNet, 224x224',
        (3, 224, 224),
        'accuracy/top1',
        'Top 1 Accuracy',
        1,
        (
            Reference(
                'ShuffleNetV1, 1.0x',
                'mmpretrain::shufflenet_v1/shufflenet-v1-1x_16xb64_in1k.py',
                Figures(1.9e6, 138e6, 67.8, 'ShuffleNet Series'),
            ),
            Reference(
                'ShuffleNetV1, 1.5x',
                'mmpretrain::shufflenet_v1/shufflenet-v1-1x_16xb64_in1k.py',
                Figures(3.4e6, 292e6, 71.6, 'ShuffleNet Series'),
                {'model.backbone.widen_factor': 1.5, 'model.head.in_channels': 1440},
                note='mmpretrain widens the stem too, to 36 channels; the authors leave it at 24',
            ),
            Reference(
                'ShuffleNetV2, 1.0x',
                'mmpretrain::shufflenet_v2/shufflenet-v2-1x_16xb64_in1k.py',
                Figures(2.3e6, 146e6, 69.4, 'ShuffleNet Series'),
            ),
            Reference(
                'ShuffleNetV2, 1.5x',
                'mmpretrain::shufflenet_v2/shufflenet-v2-1x_16xb64_in1k.py',
                Figures(3.5e6, 299e6, 72.6, 'ShuffleNet Series'),
                {'model.backbone.widen_factor': 1.5},
            ),
            Reference(
                'MobileNetV2',
                'mmpretrain::mobilenet_v2/mobilenet-v2_8xb32_in1k.py',
                Figures(3.47e6, 300e6, 71.8, 'TF-slim'),
            ),
            Reference(
                'MobileNetV3, small',
                'mmpretrain::mobilenet_v3/mobilenet-v3-small_8xb128_in1k.py',
                Figures(2.9e6, 66e6, 67.5, 'TF-slim'),
                note='not explained: the metafile of mmpretrain has our 2.54 M parameters',
            ),
            Reference(
                'MobileNetV3, large',
                'mmpretrain::mobilenet_v3/mobilenet-v3-large_8xb128_in1k.py',
                Figures(5.4e6, 217e6, 75.2, 'TF-slim'),
            ),
            Reference('EfficientNet-B0', 'mmpretrain::efficientnet/efficientnet-b0_8xb32_in1k.py'),
            Reference('ResNet-18', 'mmpretrain::resnet/resnet18_8xb32_in1k.py'),
            Reference('ResNet-50', 'mmpretrain::resnet/resnet50_8xb32_in1k.py'),
            Reference('Supernet', 'st_mm::imagenet/hr-supernet_8xb32-350e_imagenet-224x224.py'),
            _ticket(', 50 %', 2.7e6, 125e6, 74.2),
        ),
    ),
    cityscapes=Task(
        'Cityscapes, 512x1024',
        (3, 512, 1024),
        'mIoU',
        'mIoU',
        1,
        (
            Reference(
                'BiSeNetV1, ResNet-18',
                'mmseg::bisenetv1/bisenetv1_r18-d32_4xb4-160k_cityscapes-1024x1024.py',
                note='mmseg has it with ResNets, not with the Xception39 of its authors',
            ),
            Reference(
                'BiSeNetV2', 'mmseg::bisenetv2/bisenetv2_fcn_4xb4-160k_cityscapes-1024x1024.py'
            ),
            Reference('Fast-SCNN', 'mmseg::fastscnn/fast_scnn_8xb4-160k_cityscapes-512x1024.py'),
            Reference(
                'STDC1',
                'mmseg::stdc/stdc1_in1k-pre_4xb12-80k_cityscapes-512x1024.py',
                Figures(score=72.22, source='STDC-Seg'),
            ),
            Reference(
                'MobileNetV3 LR-ASPP, small',
                'mmseg::mobilenet_v3/mobilenet-v3-d8-s_lraspp_4xb4-320k_cityscapes-512x1024.py',
            ),
            Reference(
                'MobileNetV3 LR-ASPP, large',
                'mmseg::mobilenet_v3/mobilenet-v3-d8_lraspp_4xb4-320k_cityscapes-512x1024.py',
            ),
            Reference(
                'MobileNetV2 PSPNet',
                'mmseg::mobilenet_v2/mobilenet-v2-d8_pspnet_4xb2-80k_cityscapes-512x1024.py',
            ),
            Reference(
                'MobileNetV2 DeepLabV3+',
                'mmseg::mobilenet_v2/mobilenet-v2-d8_deeplabv3plus_4xb2-80k_cityscapes-512x1024.py',
            ),
            Reference('HRNet-W18-small', 'mmseg::hrnet/fcn_hr18s_4xb2-160k_cityscapes-512x1024.py'),
            Reference('Supernet', 'st_mm::cityscapes/hr-supernet_8xb4-430e_cityscapes-512x1024.py'),
            _ticket(', 50 %', 0.63e6, 1.0e9, 72.68),
            _ticket(', 80 %', None, 397e6, 69.77),
            _ticket(', 90 %', 0.13e6, 200e6, 66.61),
            _ticket(' retrained, 90 %', 0.13e6, 200e6, 67.17),
        ),
    ),
    ade20k=Task(
        'ADE20K, 512x512',
        (3, 512, 512),
        'mIoU',
        'mIoU',
        1,
        (
            Reference(
                'MobileNetV2 FCN',
                'mmseg::mobilenet_v2/mobilenet-v2-d8_fcn_4xb4-160k_ade20k-512x512.py',
            ),
            Reference(
                'MobileNetV2 PSPNet',
                'mmseg::mobilenet_v2/mobilenet-v2-d8_pspnet_4xb4-160k_ade20k-512x512.py',
            ),
            Reference(
                'MobileNetV2 DeepLabV3+',
                'mmseg::mobilenet_v2/mobilenet-v2-d8_deeplabv3plus_4xb4-160k_ade20k-512x512.py',
            ),
            Reference('HRNet-W18-small', 'mmseg::hrnet/fcn_hr18s_4xb4-160k_ade20k-512x512.py'),
            Reference('Supernet', 'st_mm::ade20k/hr-supernet_8xb8-200e_ade20k-512x512.py'),
            _ticket('', 1.0e6, 0.8e9, 32.54, note=NO_RATIO),
            _ticket(', 90 %', None, None, 27.82),
        ),
    ),
    coco=Task(
        'COCO keypoints, 256x192',
        (3, 256, 192),
        'coco/AP',
        'AP',
        100,
        (
            Reference('ShuffleNetV1', f'{COCO}/td-hm_shufflenetv1_8xb64-210e_coco-256x192.py'),
            Reference('ShuffleNetV2', f'{COCO}/td-hm_shufflenetv2_8xb64-210e_coco-256x192.py'),
            Reference('MobileNetV2', f'{COCO}/td-hm_mobilenetv2_8xb64-210e_coco-256x192.py'),
            Reference(
                'Lite-HRNet, 18',
                f'{COCO}/td-hm_litehrnet-18_8xb64-210e_coco-256x192.py',
                Figures(1.1e6, 205.2e6, 64.8, 'Lite-HRNet'),
                note='not explained: of the MACs ours finds more at the same parameters',
            ),
            Reference(
                'Lite-HRNet, 30',
                f'{COCO}/td-hm_litehrnet-30_8xb64-210e_coco-256x192.py',
                Figures(1.8e6, 319.2e6, 67.2, 'Lite-HRNet'),
                note='not explained, as for 18',
            ),
            Reference(
                'SimpleBaseline, ResNet-50',
                f'{COCO}/td-hm_res50_8xb64-210e_coco-256x192.py',
                Figures(34.0e6, 8.9e9, 70.4, 'HRNet pose'),
                note='the authors take G for 2^30, and count transposed convolutions at every '
                'output: so counted ours is 8.99, too',
            ),
            Reference(
                'HRNet-W32',
                f'{COCO}/td-hm_hrnet-w32_8xb64-210e_coco-256x192.py',
                Figures(28.5e6, 7.1e9, 74.4, 'HRNet pose'),
                note='the authors take G for 2^30: ours is 7.12 of these',
            ),
            Reference('Supernet', 'st_mm::coco_keypoint/hr-supernet_8xb48-210e_coco-256x192.py'),
            _ticket('', 0.6e6, 0.23e9, 65.4, note=NO_RATIO),
            _ticket(', 90 %', None, None, 61.02),
        ),
    ),
)


def compare_models(task: Task) -> list[Counted]:
    """Build the networks of a task and count them, at its size and without auxiliary heads.

    Nothing is initialized, so nothing is downloaded.

    Args:
        task (Task): What to compare.

    Returns:
        list[Counted]: Its rows, in order.

    Raises:
        FileNotFoundError: If a library has no such config.
        ValueError: If a network cannot take the task's input.
    """
    return [_count(reference, task) for reference in task.rows]


def _count(reference: Reference, task: Task) -> Counted:
    if reference.config is None:
        return Counted(reference, None)
    try:
        file = find_config(reference.config)
        library = Figures() if reference.options else _read_index(file, task)
        config = Config.fromfile(file)
        config.merge_from_dict(dict(reference.options))
        config.model.pop('auxiliary_head', None)  # of the training alone
        model = build_model(config)
        cost = Cost(count_params(model)[0], count_macs(model, task.input_shape).dense)
    except (ImportError, NotImplementedError, ValueError) as error:
        missing = _what_is_missing(error)
        if missing is None:
            raise
        return Counted(reference, None, missing=missing)
    return Counted(reference, cost, library)


def _what_is_missing(error: BaseException | None) -> str | None:
    """What the machine lacks, if that is what an error is about: a library or an operator."""
    while error is not None:
        if isinstance(error, (ImportError, NotImplementedError)):
            return str(error)
        error = error.__cause__
    return None


def find_config(name: str) -> Path:
    """The file of ``package::path``.

    Args:
        name (str): As ``Reference.config``.

    Returns:
        Path: Where the installed package, or the checkout of ours, has it.

    Raises:
        ImportError: If the package is not installed.
        FileNotFoundError: If it has no such config.
    """
    package, _, path = name.partition('::')
    if package == 'st_mm':
        return Path(config_path(path))
    spec = find_spec(package)
    if spec is None or spec.origin is None:
        raise ImportError(f'{package} is not installed: mim install {package}')
    file = Path(spec.origin).parent / '.mim' / 'configs' / path
    if not file.is_file():
        raise FileNotFoundError(f'{package} has no config {path}; look into {file.parent}')
    return file


def _read_index(config: Path, task: Task) -> Figures:
    """What the metafile beside a config says of the first model that is trained with it."""
    for file in sorted(config.parent.glob('*.y*ml')):
        if config.name not in file.read_text(encoding='utf-8'):
            continue
        for model in _models(file):
            if Path(model['Config']).name == config.name and 'Weights' in model:
                return _index_figures(model, task)
    return Figures()


@cache
def _models(metafile: Path) -> list[dict[str, Any]]:
    models: list[dict[str, Any]] = load(metafile).get('Models', [])
    return models


def _index_figures(model: Mapping[str, Any], task: Task) -> Figures:
    meta = model.get('Metadata') or {}
    results = model['Results']
    [result, *_] = results if isinstance(results, list) else [results]
    score = result['Metrics'][task.index_metric] * task.index_scale
    return Figures(meta.get('Parameters'), meta.get('FLOPs'), round(score, 2))


def plot_reference(task: Task, rows: Iterable[Counted]) -> Figure:
    """Draw scores over MACs: ours, else the published ones, on a logarithmic axis.

    Args:
        task (Task): The comparison.
        rows (Iterable[Counted]): Its rows; those without a score or without MACs are left out.

    Returns:
        Figure: One panel; variants of a network are joined by a line.
    """
    lines: dict[str, list[tuple[float, float]]] = {}
    for row in rows:
        macs = row.cost.macs if row.cost else row.reference.published.macs
        if macs is not None and row.score is not None:
            name = row.reference.name.partition(',')[0]
            lines.setdefault(name, []).append((macs, row.score))
    figure = Figure(figsize=(8, 4.2), layout='constrained')
    FigureCanvasAgg(figure)
    axis = figure.subplots()
    for number, (name, line) in enumerate(lines.items()):
        axis.plot(
            *zip(*sorted(line), strict=True),
            color=COLOURS[number % len(COLOURS)],
            marker=MARKERS[number % len(MARKERS)],
            markersize=7,
            linewidth=1.2,
            label=name,
        )
    axis.set_xscale('log')
    axis.xaxis.set_major_formatter(EngFormatter())
    axis.set_xlabel('MACs')
    axis.set_ylabel(METRIC_NAMES.get(task.metric, task.metric))
    axis.set_title(task.title)
    axis.spines[['top', 'right']].set_visible(False)
    axis.grid(color='0.9', linewidth=0.6)
    axis.set_axisbelow(True)
    figure.legend(loc='outside right upper', frameon=False, fontsize=9)
    return figure


def reference_table(task: Task, rows: Sequence[Counted]) -> RenderableType:
    """List a task for a terminal.

    Args:
        task (Task): The comparison.
        rows (Sequence[Counted]): Its rows.

    Returns:
        RenderableType: A table, and below it what there is to know.
    """
    table = Table(
        title=task.title,
        title_style='bold',
        title_justify='left',
        box=box.SIMPLE_HEAD,
        header_style='bold',
        padding=(0, 0, 0, 1),
    )
    names = _header(task)
    for name in names:
        table.add_column(name, justify='left' if name in ('', 'source') else 'right')
    for row in rows:
        table.add_row(*map(Text, _cells(row)))
    return Group(table, *(Text(f'  {note}', style='dim') for note in _notes(rows)))


def reference_markdown(task: Task, rows: Sequence[Counted]) -> str:
    """List a task in Markdown.

    Args:
        task (Task): The comparison.
        rows (Sequence[Counted]): Its rows.

    Returns:
        str: A heading, a table, and what there is to know, with a line break at the end.
    """
    names = _header(task)
    rule = ['---' if name in ('', 'source') else '---:' for name in names]
    lines = [names, rule, *map(_cells, rows)]
    table = ''.join(f'| {" | ".join(cells)} |\n' for cells in lines)
    notes = ''.join(f'- {note}\n' for note in _notes(rows))
    return f'## {task.title}\n\n{table}' + (f'\n{notes}' if notes else '')


def _header(task: Task) -> tuple[str, ...]:
    metric = task.metric.rpartition('/')[2]
    return '', *HEADER, f'{metric}, published', f"{metric}, mm's", 'source'


def _cells(row: Counted) -> tuple[str, ...]:
    reference, cost, published = row.reference, row.cost, row.reference.published
    ours = [_short(cost.params), _short(cost.macs)] if cost else ['not built'] * 2
    if reference.config is None:
        ours = ['-', '-']
    scores = ['-' if s is None else f'{s:.2f}' for s in (published.score, row.library.score)]
    params, macs = (_exact(number) for number in (published.params, published.macs))
    return reference.name, ours[0], params, ours[1], macs, *scores, published.source


def _notes(rows: Iterable[Counted]) -> list[str]:
    return [
        f'{row.reference.name}: {note}'
        for row in rows
        for note in (row.missing and f'not built: {row.missing}', row.reference.note)
        if note
    ]


def _short(number: float) -> str:
    return EngFormatter(places=2)(number)


def _exact(number: float | None) -> str:
    return '-' if number is None else EngFormatter()(number)

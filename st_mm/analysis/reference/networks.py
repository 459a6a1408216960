"""Networks that tickets are compared with, and what was published of them.

The rows are those of the paper's Tables 3-6 and 10; of these networks and their nearest relatives
those that a config of mmpretrain, mmseg or mmpose builds; and our supernets. Every published
figure stands here with its source.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from ..paper import RETRAINED, TICKET, find_results

PAPER = 'https://arxiv.org/abs/2207.03677'
SOURCES = {
    **{f'Table {number}': PAPER for number in range(1, 11)},
    'ShuffleNet Series': 'https://github.com/megvii-model/ShuffleNet-Series',
    'TF-slim': 'https://github.com/tensorflow/models/tree/master/research/slim/nets/mobilenet',
    'STDC-Seg': 'https://github.com/MichaelFan01/STDC-Seg',
    'HRNet pose': 'https://github.com/leoxiaobin/deep-high-resolution-net.pytorch',
    'Lite-HRNet': 'https://github.com/HRNet/Lite-HRNet',
}


@dataclass(frozen=True)
class Figures:
    """What somebody says of a network.

    Attributes:
        params (float, optional): Parameters.
        macs (float, optional): Multiply-adds of one picture.
        score (float, optional): The task's metric, in percent.
        source (str): Who says so: a key of ``SOURCES``; ``'Table N'`` is the paper's.
    """

    params: float | None = None
    macs: float | None = None
    score: float | None = None
    source: str = ''


NOTHING = Figures()


@dataclass(frozen=True)
class Reference:
    """A row of a comparison.

    Attributes:
        name (str): The network; the part before a comma names its line in a plot.
        config (str, optional): ``package::path`` below that package's ``configs/``, of an mm
            library or ``st_mm``; None for a network that no config builds.
        published (tuple[Figures, ...]): What the paper says, then what its authors say.
        options (Mapping[str, Any]): Changes of the config, as ``--cfg-options``.
        note (str): Why our figures and the published ones differ, or what else to know.
    """

    name: str
    config: str | None
    published: tuple[Figures, ...] = ()
    options: Mapping[str, Any] = field(default_factory=dict)
    note: str = ''


@dataclass(frozen=True)
class Task:
    """A comparison: networks on one data set, at one size.

    Attributes:
        title (str): Data set and input.
        input_shape (tuple[int, int, int]): (channels, height, width) at which MACs are counted.
        metric (str): The score, by the name under which mm logs it.
        index_metric (str): The same by its name in the libraries' metafiles.
        index_scale (float): Factor that turns a metafile's score into percent.
        rows (tuple[Reference, ...]): The networks.
    """

    title: str
    input_shape: tuple[int, int, int]
    metric: str
    index_metric: str
    index_scale: float
    rows: tuple[Reference, ...]


def _said(dataset: str, method: str, table: int, ratio: float | None = None) -> Figures:
    """Look up what a table of the paper says; the first of its scores is the task's metric."""
    [result] = find_results(dataset, method, ratio, table)
    score = next(iter(result.scores.values()))
    return Figures(result.params, result.macs, score, f'Table {table}')


def _printed(
    dataset: str, method: str, *tables: int, ratio: float | None = None, note: str = ''
) -> Reference:
    """Make a row of what the paper alone says of a network."""
    name = method if ratio is None else f'{method}, {round(100 * ratio)} %'
    published = tuple(_said(dataset, method, table, ratio) for table in tables)
    return Reference(name, None, published, note=note)


NO_RATIO = 'the paper does not say at which ratio'
BACKBONE = "the paper's size is near that of the backbone alone; ours has mmpose's head too"
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
                (Figures(1.9e6, 138e6, 67.8, 'ShuffleNet Series'),),
            ),
            Reference(
                'ShuffleNetV1, 1.5x',
                'mmpretrain::shufflenet_v1/shufflenet-v1-1x_16xb64_in1k.py',
                (
                    _said('ImageNet', 'ShuffleNetV1', 3),
                    Figures(3.4e6, 292e6, 71.6, 'ShuffleNet Series'),
                ),
                {'model.backbone.widen_factor': 1.5, 'model.head.in_channels': 1440},
                note='mmpretrain widens the stem too, to 36 channels; the authors keep 24',
            ),
            Reference(
                'ShuffleNetV2, 1.0x',
                'mmpretrain::shufflenet_v2/shufflenet-v2-1x_16xb64_in1k.py',
                (Figures(2.3e6, 146e6, 69.4, 'ShuffleNet Series'),),
            ),
            Reference(
                'ShuffleNetV2, 1.5x',
                'mmpretrain::shufflenet_v2/shufflenet-v2-1x_16xb64_in1k.py',
                (
                    _said('ImageNet', 'ShuffleNetV2', 3),
                    Figures(3.5e6, 299e6, 72.6, 'ShuffleNet Series'),
                ),
                {'model.backbone.widen_factor': 1.5},
            ),
            Reference(
                'MobileNetV2',
                'mmpretrain::mobilenet_v2/mobilenet-v2_8xb32_in1k.py',
                (_said('ImageNet', 'MobileNetV2', 3), Figures(3.47e6, 300e6, 71.8, 'TF-slim')),
            ),
            Reference(
                'MobileNetV3, small',
                'mmpretrain::mobilenet_v3/mobilenet-v3-small_8xb128_in1k.py',
                (Figures(2.9e6, 66e6, 67.5, 'TF-slim'),),
                note='not explained: the metafile of mmpretrain has 2.54 M parameters, as we count',
            ),
            Reference(
                'MobileNetV3, large',
                'mmpretrain::mobilenet_v3/mobilenet-v3-large_8xb128_in1k.py',
                (Figures(5.4e6, 217e6, 75.2, 'TF-slim'),),
            ),
            Reference('EfficientNet-B0', 'mmpretrain::efficientnet/efficientnet-b0_8xb32_in1k.py'),
            Reference('ResNet-18', 'mmpretrain::resnet/resnet18_8xb32_in1k.py'),
            Reference('ResNet-50', 'mmpretrain::resnet/resnet50_8xb32_in1k.py'),
            Reference('Supernet', 'st_mm::imagenet/hr-supernet_8xb32-350e_imagenet-224x224.py'),
            _printed('ImageNet', 'CondenseNet', 3),
            _printed('ImageNet', 'FBNet', 3),
            _printed('ImageNet', 'S+P (Grad.)', 3, note=NO_RATIO),
            _printed('ImageNet', 'S+P (Mag.)', 3, note=NO_RATIO),
            _printed('ImageNet', TICKET, 3, ratio=0.5),
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
                note='mmseg builds it on ResNets; its authors built it on Xception39',
            ),
            Reference(
                'BiSeNetV2', 'mmseg::bisenetv2/bisenetv2_fcn_4xb4-160k_cityscapes-1024x1024.py'
            ),
            Reference('Fast-SCNN', 'mmseg::fastscnn/fast_scnn_8xb4-160k_cityscapes-512x1024.py'),
            Reference(
                'STDC1',
                'mmseg::stdc/stdc1_in1k-pre_4xb12-80k_cityscapes-512x1024.py',
                (Figures(score=72.22, source='STDC-Seg'),),
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
            _printed('Cityscapes', 'BiSeNet', 4),
            _printed(
                'Cityscapes', 'MobileNetV3', 4, note='no config of mmseg builds one of this size'
            ),
            _printed('Cityscapes', 'ShuffleNetV2', 4),
            _printed('Cityscapes', 'Auto-DeepLab', 4),
            _printed('Cityscapes', 'SqueezeNAS', 4),
            _printed('Cityscapes', 'DF1-Seg-d8', 10),
            _printed('Cityscapes', 'FasterSeg', 10),
            _printed('Cityscapes', 'S+P (Grad.) w/ RT', 4, note=NO_RATIO),
            _printed('Cityscapes', 'S+P (Mag.) w/ RT', 4, note=NO_RATIO),
            _printed('Cityscapes', 'S+P (Grad.)', 2, ratio=0.9),
            _printed('Cityscapes', 'S+P (Mag.)', 2, ratio=0.9),
            _printed(
                'Cityscapes',
                'S+P (Mag.) w/ RT',
                1,
                2,
                ratio=0.9,
                note='the paper gives two scores for the same training',
            ),
            _printed('Cityscapes', TICKET, 4, ratio=0.5),
            _printed('Cityscapes', TICKET, 7, ratio=0.8),
            _printed('Cityscapes', TICKET, 7, ratio=0.9),
            _printed('Cityscapes', RETRAINED, 1, ratio=0.9),
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
            _printed('ADE20K', 'MobileNetV2', 5),
            _printed('ADE20K', 'MobileNetV3', 5),
            _printed('ADE20K', 'S+P (Grad.)', 5, note=NO_RATIO),
            _printed('ADE20K', 'S+P (Mag.)', 5, note=NO_RATIO),
            _printed('ADE20K', 'S+P (Grad.)', 2, ratio=0.9),
            _printed('ADE20K', 'S+P (Mag.)', 2, ratio=0.9),
            _printed('ADE20K', TICKET, 5, note=NO_RATIO),
            _printed('ADE20K', TICKET, 7, ratio=0.8),
            _printed('ADE20K', TICKET, 7, ratio=0.9),
            _printed('ADE20K', 'ST w/ LLT-Init', 9, ratio=0.9),
        ),
    ),
    coco=Task(
        'COCO keypoints, 256x192',
        (3, 256, 192),
        'coco/AP',
        'AP',
        100,
        (
            Reference(
                'ShuffleNetV1',
                f'{COCO}/td-hm_shufflenetv1_8xb64-210e_coco-256x192.py',
                (_said('COCO', 'ShuffleNetV1', 6),),
                note=BACKBONE,
            ),
            Reference(
                'ShuffleNetV2',
                f'{COCO}/td-hm_shufflenetv2_8xb64-210e_coco-256x192.py',
                (_said('COCO', 'ShuffleNetV2', 6),),
                note=BACKBONE,
            ),
            Reference(
                'MobileNetV2',
                f'{COCO}/td-hm_mobilenetv2_8xb64-210e_coco-256x192.py',
                (_said('COCO', 'MobileNetV2', 6),),
                note=BACKBONE,
            ),
            Reference(
                'Lite-HRNet, 18',
                f'{COCO}/td-hm_litehrnet-18_8xb64-210e_coco-256x192.py',
                (Figures(1.1e6, 205.2e6, 64.8, 'Lite-HRNet'),),
                note='not explained: we count more MACs at the same number of parameters',
            ),
            Reference(
                'Lite-HRNet, 30',
                f'{COCO}/td-hm_litehrnet-30_8xb64-210e_coco-256x192.py',
                (Figures(1.8e6, 319.2e6, 67.2, 'Lite-HRNet'),),
                note='not explained, as for Lite-HRNet, 18',
            ),
            Reference(
                'SimpleBaseline, ResNet-50',
                f'{COCO}/td-hm_res50_8xb64-210e_coco-256x192.py',
                (Figures(34.0e6, 8.9e9, 70.4, 'HRNet pose'),),
                note='the authors take G for 2^30, and count transposed convolutions at every '
                'output: counted in that way, ours has 8.99',
            ),
            Reference(
                'HRNet-W32',
                f'{COCO}/td-hm_hrnet-w32_8xb64-210e_coco-256x192.py',
                (Figures(28.5e6, 7.1e9, 74.4, 'HRNet pose'),),
                note='the authors take G for 2^30: in that unit, ours has 7.12',
            ),
            Reference('Supernet', 'st_mm::coco_keypoint/hr-supernet_8xb48-210e_coco-256x192.py'),
            _printed('COCO', 'S+P (Mag.)', 6, note=NO_RATIO),
            _printed('COCO', 'S+P (Mag.)', 1, ratio=0.8),
            _printed('COCO', 'S+P (Mag.) w/ RT', 1, ratio=0.8),
            _printed('COCO', TICKET, 6, note=NO_RATIO),
            _printed('COCO', TICKET, 1, ratio=0.8),
            _printed('COCO', RETRAINED, 1, ratio=0.8),
        ),
    ),
)

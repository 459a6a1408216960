"""What each table and figure of the paper shows, and the commands that make it."""

from typing import NamedTuple, TypedDict

RUN = 'python tools/run_matrix.py configs/ablations'
SEEDS = '--seeds 0 1 2'
LATENCY = 'python tools/benchmarks/latency.py work_dirs/NAME'
FLOPS = 'python tools/analysis/get_flops.py work_dirs/NAME'
ACCELERATOR = '--shape 512 1024 --accelerator'
PAPERS_RATIOS = ' --ratio 0.1 0.3 0.5 0.7 0.8 0.9 0.95 0.98'


class Section(NamedTuple):
    """A table or a figure, or some that one command makes.

    Attributes:
        name (str): Its numbers.
        shows (str): What it shows.
        published (tuple[str, ...]): Commands of the published recipes.
        small (tuple[str, ...]): Commands on small data.
        results (tuple[str, ...]): Where in ``results/`` their outcome is.
        tables (tuple[int, ...]): Tables of the paper whose lines are shown beside it.
        instead (str): What is known where nothing has been run.
    """

    name: str
    shows: str
    published: tuple[str, ...] = ()
    small: tuple[str, ...] = ()
    results: tuple[str, ...] = ()
    tables: tuple[int, ...] = ()
    instead: str = ''


class Runs(TypedDict):
    """What a section takes from a matrix."""

    published: tuple[str, ...]
    small: tuple[str, ...]
    results: tuple[str, ...]


def matrix(name: str, *small: str, ratios: str = '', outcome: str = '') -> Runs:
    """Say how a matrix is run, on Cityscapes and on small data sets, and where its outcome is.

    Args:
        name (str): The matrix.
        small (str): The data sets, as their folders are called.
        ratios (str): Options of every command. Defaults to none.
        outcome (str): Name of the outcome, if not that of the matrix.
    """
    commands = {
        dataset: f'{RUN}/{dataset}/{name}.py {SEEDS}{ratios}' for dataset in ('cityscapes', *small)
    }
    return Runs(
        published=(commands['cityscapes'],),
        small=tuple(commands[dataset] for dataset in small),
        results=tuple(f'{dataset}/{outcome or name}' for dataset in small),
    )


def mim(library: str, config: str) -> str:
    """Say how a published recipe is trained, on eight GPUs.

    Args:
        library (str): mmseg, mmpose or mmpretrain.
        config (str): A file in ``configs/``.
    """
    return f'mim train {library} configs/{config} --launcher pytorch --gpus 8'


def pictures(dataset: str, config: str, last: int, folder: str = '') -> str:
    """Say how the tickets of a sweep are drawn side by side, for bash.

    Args:
        dataset (str): As its folders are called.
        config (str): A config of that data set.
        last (int): The last epoch of SuperTickets.
        folder (str): Where those of the first seed are, if not beside the others.
    """
    tickets = f'work_dirs/ablations/{dataset}/{folder}p{{70,80,90,95}}'
    return (
        f'python tools/analysis/plot_predictions.py configs/{dataset}/{config}.py '
        f'{tickets}/sp-magnitude/initial.pth {tickets}/pp-irs/epoch_{last}.pth '
        "--labels 'S+P '{70,80,90,95}' %' 'SuperTickets '{70,80,90,95}' %' "
        '--out predictions.png'
    )


SECTIONS = (
    Section(
        'Table 1',
        'Two-in-one training, progressive pruning (PP) and iterative reactivation (IR) one after '
        'the other, beside first searching and then pruning (S+P). The paper has COCO, too.',
        **matrix('ladder', 'tiny_imagenet', 'lspet', 'camvid', 'toy'),
        tables=(1,),
        instead=' One run on the toy streets is in [its README](../configs/ablations/README.md).',
    ),
    Section(
        'Tables 2 and 8, Figure 8',
        'A ticket of other data is fine-tuned on the target: as it is, with masks at random places '
        '(RP), and with fresh weights (RR-Init). S+P on the target is by magnitude; the paper has '
        'S+P by gradient, too. Configs of other pairs of data sets, for the ticket as it is, are '
        'in [transfer](../configs/transfer/README.md).',
        **matrix('transfer', 'camvid', 'toy'),
        tables=(2, 8),
    ),
    Section(
        'Tables 3 to 6',
        'SuperTickets beside networks of other authors, on ImageNet, Cityscapes, ADE20K and COCO. '
        'Where the paper gives no ratio, p is empty.',
        (
            mim('mmpretrain', 'imagenet/supertickets-p50_8xb32-350e_imagenet-224x224.py'),
            mim('mmseg', 'cityscapes/supertickets-p50_8xb4-430e_cityscapes-512x1024.py'),
            mim('mmseg', 'ade20k/supertickets-p80_8xb8-200e_ade20k-512x512.py'),
            mim('mmpose', 'coco_keypoint/supertickets-p80_8xb48-210e_coco-256x192.py'),
        ),
        (
            'mim train mmpretrain '
            'configs/tiny_imagenet/supertickets-p90-slim_64b-13e_tiny-imagenet-48x48.py',
            'mim train mmseg configs/camvid/supertickets-p90-slim_8b-40e_camvid-192x256.py',
            'mim train mmpose configs/lspet/supertickets-p90-slim_16b-14e_lspet-coco17-96x96.py',
        ),
        tables=(3, 4, 5, 6),
        instead=' The published recipes have not been trained; scores of the small ones are in '
        '[results](results.md). Other networks have not been trained on small data.',
    ),
    Section(
        'Tables 7 and 9',
        'A ticket with masks at random places (RP), or trained again from other weights: fresh '
        'ones (RR-Init), the first of its training (LT-Init), early (ELT-Init) or late ones '
        '(LLT-Init). Table 7 has a ratio of 0.8, too: `--ratio 0.8 0.9`.',
        **matrix('rewind', 'tiny_imagenet', 'lspet', 'camvid', 'toy'),
        tables=(7, 9),
    ),
    Section(
        'Table 10',
        'Speed of a ticket on a GPU and on a simulated sparse accelerator, beside other networks. '
        'The first command measures on a CPU, and the second one computes for an accelerator; the '
        'column of the GPU has no command. NAME is a training of the ticket.',
        (
            f'{LATENCY}/epoch_430.pth --size 512x1024 --stock all',
            f'{FLOPS}/epoch_430.pth {ACCELERATOR}',
        ),
        (
            f'{LATENCY}/epoch_40.pth --size 512x1024',
            f'{FLOPS}/epoch_40.pth {ACCELERATOR}',
        ),
        tables=(10,),
        instead=' What was measured on a CPU is in [deployment](deployment.md).',
    ),
    Section(
        'Figures 2 and 3',
        'Two-in-one training beside S+P by several criteria, over the ratio.',
        **matrix('criteria', 'camvid', 'toy', ratios=PAPERS_RATIOS),
    ),
    Section(
        'Figures 4 to 6',
        'SuperTickets and S+P, each without and with retraining, over the ratio. S+P is by '
        'magnitude here; the paper has random places and gradients, too.',
        **matrix('sweep', 'tiny_imagenet', 'lspet', 'camvid', 'toy'),
    ),
    Section(
        'Figure 7',
        'Table 1 over the ratio. The command leaves its results where that of Table 1 does: keep '
        'those first.',
        **matrix('ladder', 'camvid', 'toy', ratios=PAPERS_RATIOS, outcome='ladder-ratios'),
    ),
    Section(
        'Figure 9',
        'The architecture that the search has found: branches, kernels, width.',
        ('python tools/report.py work_dirs/NAME',),
        ('python tools/report.py work_dirs/NAME',),
        instead=' It is drawn on the page that the tool writes about any training.',
    ),
    Section(
        'Figures 10 to 12',
        'Predictions beside the truth, for segmentation and for poses: S+P and SuperTickets at '
        'four ratios. The commands come after those of Figures 4 to 6, which leave the tickets.',
        (pictures('cityscapes', 'hr-supernet_8xb4-430e_cityscapes-512x1024', 430, 'seed0/'),),
        (
            pictures('camvid', 'hr-supernet-slim_8b-40e_camvid-192x256', 40),
            pictures('lspet', 'hr-supernet-slim_16b-14e_lspet-aic14-96x96', 14),
            pictures('tiny_imagenet', 'hr-supernet-slim_64b-13e_tiny-imagenet-48x48', 13),
            pictures('toy', 'hr-supernet-slim_8b-30e_toy-streets-128x256', 30),
        ),
        instead=' Any checkpoints of one model can be drawn so; `make demo` draws its ticket.',
    ),
)

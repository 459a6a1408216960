"""The metrics of a task, in the order of the paper's tables."""

import pytest

from st_mm.analysis.metrics import task_metrics


@pytest.mark.parametrize(
    ('measured', 'first', 'names'),
    [
        (('aAcc', 'mIoU', 'mAcc'), 'mIoU', ['mIoU', 'mAcc', 'aAcc']),
        (('aAcc', 'mIoU', 'mAcc'), 'aAcc', ['aAcc', 'mIoU', 'mAcc']),
        (('accuracy/top5', 'accuracy/top1'), None, ['top-1', 'top-5']),
        (
            ('PCK', 'coco/AP', 'coco/AP .5', 'coco/AP (L)', 'coco/AP (M)', 'coco/AR', 'coco/AR .5'),
            'coco/AP',
            ['AP', 'AP_M', 'AP_L', 'AR', 'PCK'],
        ),
        (('mDice', 'aAcc'), 'mDice', ['mDice', 'aAcc']),
        (('aAcc',), 'mIoU', ['aAcc']),
    ],
)
def test_task_metrics(measured: tuple, first: str | None, names: list[str]) -> None:
    assert [metric.name for metric in task_metrics(measured, first)] == names

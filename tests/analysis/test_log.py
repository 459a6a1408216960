"""The log of mmengine, line by line: as it is written here, and as its logger writes it."""

from pathlib import Path

import pytest

from st_mm.analysis.log import Event, Scores, Step, last_step, read_line

START = '2026/11/25 08:31:28 - mmengine - INFO - '


@pytest.mark.parametrize(
    ('line', 'found'),
    [
        (
            'Epoch(train) [16][10/25]  base_lr: 1.5756e-02 lr: 1.5756e-02  eta: 0:08:52  '
            'loss: 0.5507  decode.loss_ce: 0.5506',
            Step(16, 10, 25, 0.5507),
        ),
        ('Epoch(train)   [2][ 5/100]  lr: 0.1', Step(2, 5, 100)),
        (
            'Epoch(val) [14][7/7]    aAcc: 75.0000  mIoU: 20.1800  data_time: 0.0151  time: 0.2',
            Scores(14, {'aAcc': 75.0, 'mIoU': 20.18}),
        ),
        (
            'Epoch(val) [3][2/2]    PCK: 0.5000  coco/AP .5: 0.2500  coco/AP (M): -1.0000',
            Scores(3, {'PCK': 0.5, 'coco/AP .5': 0.25, 'coco/AP (M)': -1.0}),
        ),
        ('Epoch(val) [14][5/7]    eta: 0:00:01  time: 0.1', None),
        ('prune at epoch 14 to a ratio of 0.7\n', Event('prune at epoch 14 to a ratio of 0.7')),
        ('Saving checkpoint at 14 epochs', None),
    ],
)
def test_a_line(line: str, found: object) -> None:
    assert read_line(START + line) == found


def test_the_last_step() -> None:
    lines = ['Epoch(train) [1][1/4]  loss: 2.0', 'Epoch(train) [3][2/4]  loss: 1.0', 'Saving']
    step = last_step('\n'.join(START + line for line in lines))
    assert step == Step(3, 2, 4, 1.0)
    assert step.epochs == 2.5
    assert last_step('nothing yet') is None


def test_a_real_log(ticket_run: Path) -> None:
    [log] = ticket_run.glob('*/*.log')
    found = [read_line(line) for line in log.read_text().splitlines()]
    steps = [each for each in found if isinstance(each, Step)]
    assert [(step.epoch, step.iteration) for step in steps] == [
        (epoch, iteration) for epoch in range(1, 7) for iteration in (1, 2)
    ]
    assert all(step.loss for step in steps)
    scores = [each for each in found if isinstance(each, Scores)]
    assert [score.epoch for score in scores] == [3, 6]
    assert all(score.metrics.keys() == {'aAcc', 'mIoU', 'mAcc'} for score in scores)
    events = [each.text.split()[0] for each in found if isinstance(each, Event)]
    assert set(events) == {'search', 'prune', 'reactivate', 'masks'}

# Masks that go on learning at every step, soft; configs add when they are chosen anew.
learning = dict(type='PruneHook', straight_through='soft', calibration_batches=0, by_epoch=False)

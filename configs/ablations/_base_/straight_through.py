# Masks that go on learning at every step, soft, and are chosen anew every few iterations.
learning = dict(type='PruneHook', straight_through='soft', calibration_batches=0, by_epoch=False)

"""What bounds the steps of an optimizer: the gradient, or its learning rate alone."""

from torch.optim import ASGD, SGD, Optimizer

PROPORTIONAL = (SGD, ASGD)


def proportional(optimizer: Optimizer) -> bool:
    """Whether a gradient of twice the size makes a step of twice the size: SGD and its heirs.

    All others count as normalizing: Adam and its family, RMSprop, Adagrad, LAMB, LARS, Lion and so
    on divide a gradient by its own size, so that their learning rate bounds a step.

    Args:
        optimizer (Optimizer): The optimizer, or a ``ZeroRedundancyOptimizer`` around one.
    """
    return isinstance(getattr(optimizer, 'optim', optimizer), PROPORTIONAL)

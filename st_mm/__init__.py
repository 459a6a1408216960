"""SuperTickets for OpenMMLab: search and prune a network while it trains.

Importing the package makes a config's ``custom_imports = dict(imports=['st_mm'])`` work: it
checks the mm packages, applies the runtime fixes, and registers the models and the hooks.
"""

from .requirements import check_requirements
from .version import __version__

check_requirements()  # first: what follows imports mmengine and mmcv

from . import compat  # noqa: E402 - see above

compat.apply()  # before anything can import torchvision or mmcv.ops

from . import hooks, hub, models, optim, rewind, units  # noqa: E402 - see above
from .config_path import config_path  # noqa: E402 - see above

hub.let_mmengine_load_weights()
hub.let_inferencers_find_models()

__all__ = [
    '__version__',
    'check_requirements',
    'compat',
    'config_path',
    'hooks',
    'hub',
    'models',
    'optim',
    'rewind',
    'units',
]

"""Former name of :mod:`st_mm.units.stock`, kept for one release."""

import warnings

from st_mm.units.stock import *  # noqa: F403

warnings.warn(
    'st_mm.models.stock is now st_mm.units.stock; the next release drops the old name',
    FutureWarning,
    stacklevel=2,
)

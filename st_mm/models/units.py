"""Former name of :mod:`st_mm.units.owner`, kept for one release."""

import warnings

from st_mm.units.owner import *  # noqa: F403

warnings.warn(
    'st_mm.models.units is now st_mm.units.owner; the next release drops the old name',
    FutureWarning,
    stacklevel=2,
)

"""``st_mm://NAME.pth``: weights that ship with st_mm, wherever mmengine takes a checkpoint."""

from typing import Any

from mmengine.runner import CheckpointLoader

from .models import SCHEME, weights_path


def let_mmengine_load_weights() -> None:
    """Teach mmengine's loader the scheme; a second call changes nothing."""
    CheckpointLoader.register_scheme(SCHEME, load_from_st_mm, force=True)


def load_from_st_mm(filename: str, map_location: Any = None) -> Any:
    """Load weights that ship with st_mm.

    Args:
        filename (str): ``st_mm://NAME.pth``.
        map_location (Any): As of ``torch.load``. Defaults to None.

    Raises:
        ValueError: If no weights of that name ship with st_mm.
    """
    return CheckpointLoader.load_checkpoint(str(weights_path(filename)), map_location)

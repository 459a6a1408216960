"""Where the configs that come with st_mm are, for those who inherit them from elsewhere."""

from pathlib import Path


def config_path(name: str) -> str:
    """Absolute path of a config of st_mm.

    mmengine resolves ``_base_ = 'pkg::path'`` for its own packages alone, but it evaluates the
    expression behind ``_base_``, so that a config anywhere can say
    ``_base_ = __import__('st_mm').config_path('camvid/NAME.py')``.

    Args:
        name (str): Path below ``configs/``, such as ``'_base_/models/hr_supernet_seg.py'``.

    Returns:
        str: The path, in the checkout or in the installed package.

    Raises:
        FileNotFoundError: If there is no such config.
    """
    package = Path(__file__).resolve().parent
    folders = [package / '.mim' / 'configs', package.parent / 'configs']
    for folder in folders:
        if (folder / name).is_file():
            return str(folder / name)
    raise FileNotFoundError(f'st_mm has no config {name}; look into {folders[0]} for those it has')

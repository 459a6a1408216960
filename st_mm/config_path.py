"""Where the configs of st_mm are, for configs elsewhere that inherit them."""

from pathlib import Path


def config_path(name: str) -> str:
    """Return the absolute path of a config of st_mm.

    mmengine resolves ``_base_ = 'pkg::path'`` only for its own packages. But it evaluates the
    expression after ``_base_``, so a config anywhere can say
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

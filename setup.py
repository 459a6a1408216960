"""Ship configs, tools, weights and the model index inside the package, as `st_mm/.mim`.

That is where mim looks for them. Everything else about the package is in pyproject.toml.
"""

import shutil
from pathlib import Path

from setuptools import setup
from setuptools.command.build_py import build_py

ROOT = Path(__file__).parent.resolve()
SHIPPED = ('configs', 'tools', 'weights', 'model-index.yml')


class BuildWithMim(build_py):
    def run(self):
        super().run()
        # An editable install uses the source tree itself, so there the links follow every edit.
        package = ROOT / 'st_mm' if self.editable_mode else Path(self.build_lib) / 'st_mm'
        fill(package / '.mim', link=self.editable_mode)


def fill(mim: Path, link: bool) -> None:
    if mim.exists():
        shutil.rmtree(mim)  # removes links, not what they point to
    mim.mkdir(parents=True)
    for name in SHIPPED:
        source, target = ROOT / name, mim / name
        if not source.exists():
            raise FileNotFoundError(f'{source} is missing, and mim needs it: restore it.')
        if link:
            try:
                target.symlink_to(Path('../..') / name, target_is_directory=source.is_dir())
                continue
            except OSError:  # Windows lets only administrators and developers make links
                pass
        if source.is_dir():
            shutil.copytree(source, target, ignore=shutil.ignore_patterns('__pycache__'))
        else:
            shutil.copy2(source, target)


setup(cmdclass={'build_py': BuildWithMim})

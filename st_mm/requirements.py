"""Which versions of the mm packages st_mm works with, checked when it is imported.

st_mm does not install them: ``pip install st_mm`` into a working environment leaves it as it is.
"""

from dataclasses import dataclass
from importlib import metadata

from packaging.specifiers import SpecifierSet


@dataclass(frozen=True)
class Requirement:
    """One module that can be imported, and the distributions that can provide it.

    Args:
        module (str): Name in an import.
        distributions (dict[str, str]): Supported versions by the name of the distribution. If
            none is installed, the error names the first.
        optional (bool): Whether st_mm works without it. Defaults to False.
        pip_options (str): Options that pip needs for it. Defaults to ''.
    """

    module: str
    distributions: dict[str, str]
    optional: bool = False
    pip_options: str = ''

    def problems(self) -> list[str]:
        """Say what is wrong with the installed versions, each with the command that fixes it."""
        found = {name: installed_version(name) for name in self.distributions}
        wrong = [
            f'{name} {version} is installed, {self._supported(name)}'
            for name, version in found.items()
            if version and not self._supports(name, version)
        ]
        if not self.optional and not any(found.values()):
            wrong.append(f'{self.module} is not installed, {self._supported(self._default)}')
        return wrong

    @property
    def _default(self) -> str:
        return next(iter(self.distributions))

    def _supports(self, name: str, version: str) -> bool:
        return SpecifierSet(self.distributions[name]).contains(version, prereleases=True)

    def _supported(self, name: str) -> str:
        versions = self.distributions[name]
        return f'supported is {versions}: pip install {self.pip_options}"{name}{versions}"'


# `onedl-*` is the maintained fork of the mm packages: the same modules, other distributions.
REQUIREMENTS = (
    Requirement('torch', {'torch': '>=2.1'}),
    Requirement('mmengine', {'mmengine': '>=0.10,<1', 'onedl-mmengine': '>=0.10,<1'}),
    Requirement(
        'mmcv',
        {'mmcv-lite': '>=2.0.0,<2.2.0', 'mmcv': '>=2.0.0,<2.2.0', 'onedl-mmcv': '>=2.3,<3'},
    ),
    Requirement(
        'mmseg', {'mmsegmentation': '>=1,<2', 'onedl-mmsegmentation': '>=1,<2'}, optional=True
    ),
    Requirement(
        'mmpretrain', {'mmpretrain': '>=1,<2', 'onedl-mmpretrain': '>=1,<2'}, optional=True
    ),
    # mmpose declares chumpy, which it never imports and which does not build.
    Requirement('mmpose', {'mmpose': '>=1,<2'}, optional=True, pip_options='--no-deps '),
    Requirement('mmdet', {'mmdet': '>=3,<4', 'onedl-mmdetection': '>=3,<4'}, optional=True),
)


def check_requirements() -> None:
    """Check every package st_mm builds on.

    Raises:
        ImportError: If a required package is missing or an installed one is of an unsupported
            version; the message lists them all, each with the pip command that fixes it.
    """
    problems = [problem for requirement in REQUIREMENTS for problem in requirement.problems()]
    if problems:
        raise ImportError('st_mm cannot work in this environment:\n  ' + '\n  '.join(problems))


def installed_version(distribution: str) -> str | None:
    """Look up the version of a distribution; None where it is not installed."""
    try:
        return metadata.version(distribution)
    except metadata.PackageNotFoundError:
        return None

"""Names of tensors: under a module, renamed, by pattern, and in messages."""

from collections.abc import Iterable
from fnmatch import fnmatch


def under(name: str, keys: Iterable[str]) -> list[str]:
    """The keys of a module, or of a tensor itself."""
    return [key for key in keys if not name or key == name or key.startswith(f'{name}.')]


def renamed(key: str, name: str, source: str) -> str:
    """A key of one module under the name of another."""
    below = key.removeprefix(name).removeprefix('.') if name else key
    return '.'.join(each for each in (source, below) if each)


def hit(name: str, pattern: str) -> bool:
    """Whether a pattern names a tensor, or a module that it lies in."""
    return fnmatch(name, pattern) or fnmatch(name, f'{pattern}.*')


def tops(keys: Iterable[str]) -> list[str]:
    """The outermost modules of keys, in order."""
    return list(dict.fromkeys(key.split('.')[0] for key in keys))


def listed(names: Iterable[str]) -> str:
    """Names for a message, the first six of them."""
    found = [f"'{name}'" for name in names if name]
    more = f' and {len(found) - 6} more' if len(found) > 6 else ''
    return ', '.join(found[:6]) + more if found else 'none'

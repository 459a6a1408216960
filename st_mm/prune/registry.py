"""Building what a config names, in registries that only st_mm has."""

from collections.abc import Callable, Mapping
from inspect import signature
from typing import Any

from mmengine.registry import Registry


def build(cfg: Mapping[str, Any], registry: Registry) -> Any:
    """Build what a config names, in any default scope.

    The mm packages have no such registries, so mmengine's own function would warn in each of their
    scopes.

    Args:
        cfg (Mapping[str, Any]): ``type`` and the arguments.
        registry (Registry): Where to look the type up.

    Returns:
        Any: The instance.

    Raises:
        ValueError: If there is no such type in the registry, or an argument is out of its range.
    """
    if not isinstance(cfg, Mapping) or 'type' not in cfg:
        raise ValueError(f"a {registry.name} must be a dict with a 'type', got {cfg!r}")
    arguments = dict(cfg)
    name = arguments.pop('type')
    kind = name if name in registry.module_dict.values() else None
    if isinstance(name, str):
        kind = registry.get(name)
    if kind is None:
        names = ', '.join(registry.module_dict)
        raise ValueError(f'the type of a {registry.name} must be one of {names}, got {name!r}')
    return call(registry.name, kind, arguments)


def call(what: str, kind: Callable[..., Any], arguments: Mapping[str, Any]) -> Any:
    """Call a class with arguments out of a config.

    Args:
        what (str): What it makes, for the error.
        kind (type): The class.
        arguments (Mapping[str, Any]): The arguments.

    Returns:
        Any: The instance.

    Raises:
        ValueError: If an argument is missing or unknown.
    """
    try:
        signature(kind).bind(**arguments)
    except TypeError as error:
        raise ValueError(
            f'a {what} must have arguments that it takes: {error}, got {dict(arguments)!r}'
        ) from error
    return kind(**arguments)

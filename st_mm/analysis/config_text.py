"""The config that a checkpoint carries, read without running it.

mmengine writes it as Python: a name, an equals sign, and a value of dicts, lists and plain values.
Just that is read here. A type in it is looked up among what the libraries have registered;
mmengine would import whatever it names.
"""

import ast
import importlib
import math
from collections.abc import Iterator, Mapping
from typing import Any, TypeGuard

from mmengine.config import Config
from mmengine.config.utils import MODULE2PACKAGE
from mmengine.registry import Registry
from mmengine.utils import get_object_from_string

LONGEST = 2_000_000  # characters; a config has some ten thousand
DEEPEST = 60
ADVICE = 'give the config by --config FILE, or run the one in the checkpoint by --trust'
NUMBERS = dict(inf=math.inf, nan=math.nan)  # as Python writes them
SCOPES = {'mmengine', *MODULE2PACKAGE}


def read_config(text: str) -> Config:
    """Read the text of a config, without running it.

    Args:
        text (str): What mmengine's ``Config.pretty_text`` has written.

    Returns:
        Config: The config.

    Raises:
        ValueError: If there is something else in it than names and plain values.
    """
    if len(text) > LONGEST:
        raise ValueError(f'it has {len(text)} characters: {ADVICE}')
    try:
        tree = ast.parse(text)
    except (SyntaxError, ValueError, RecursionError, MemoryError) as error:
        raise ValueError(f'it is not Python ({error}): {ADVICE}') from error
    found = {}
    for statement in tree.body:
        target = statement.targets[0] if isinstance(statement, ast.Assign) else None
        if not isinstance(statement, ast.Assign) or not isinstance(target, ast.Name):
            raise ValueError(f'line {statement.lineno} does more than name a value: {ADVICE}')
        found[target.id] = _value(statement.value)
    try:
        return Config(found)
    except Exception as error:  # names that mmengine keeps for itself
        raise ValueError(f'it is not a config ({error}): {ADVICE}') from error


def _value(node: ast.expr, depth: int = 0) -> Any:
    """The value of a literal; ``dict(name=value)`` is one."""
    if depth > DEEPEST:
        raise ValueError(f'line {node.lineno} is nested too deep: {ADVICE}')
    if isinstance(node, ast.Constant) and node.value is not ...:
        return node.value
    if isinstance(node, ast.List | ast.Tuple | ast.Set):
        values = [_value(child, depth + 1) for child in node.elts]
        return dict(List=list, Tuple=tuple, Set=set)[type(node).__name__](values)
    if isinstance(node, ast.Dict) and all(node.keys):
        keys = [_value(key, depth + 1) for key in node.keys if key]
        values = [_value(child, depth + 1) for child in node.values]
        if all(isinstance(key, str | int | float | bool | None) for key in keys):
            return dict(zip(keys, values, strict=True))
    if _is_dict(node):
        inner = dict(_value(node.args[0], depth + 1)) if node.args else {}
        return inner | {str(k.arg): _value(k.value, depth + 1) for k in node.keywords}
    if isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.USub):
        number = _value(node.operand, depth + 1)
        if isinstance(number, int | float):
            return -number
    if isinstance(node, ast.Name) and node.id in NUMBERS:
        return NUMBERS[node.id]
    raise ValueError(f'line {node.lineno} is not a plain value: {ADVICE}')


def _is_dict(node: ast.expr) -> TypeGuard[ast.Call]:
    """Whether it is ``dict(name=value, ...)``, or ``dict({1: value, ...})``."""
    if not isinstance(node, ast.Call) or len(node.args) > 1:
        return False
    if not all(isinstance(argument, ast.Dict) for argument in node.args):
        return False
    named = isinstance(node.func, ast.Name) and node.func.id == 'dict'
    return named and all(keyword.arg for keyword in node.keywords)


def check_types(config: Mapping[str, Any]) -> None:
    """Refuse a config whose model names something else than registered classes.

    A name without a dot is looked up by mmengine among what is registered. One with dots may be
    ``scope.name``, or the full name of anything that can be imported.

    Args:
        config (Mapping[str, Any]): A config that :func:`read_config` has read.

    Raises:
        ValueError: Naming the first type that is not registered.
    """
    scope = config.get('default_scope') or 'mmengine'
    if scope not in SCOPES:
        raise ValueError(f'its default_scope is {scope!r}, which is not an mm library: {ADVICE}')
    for name in _types([config.get('model'), config.get('data_preprocessor')]):
        package, dot, rest = name.partition('.')
        if dot and (package not in SCOPES or not _is_registered(package, rest, name)):
            raise ValueError(f'its model names {name!r}, which is not registered: {ADVICE}')


def foreign_imports(config: Mapping[str, Any]) -> list[str]:
    """Name the modules that a config imports (``custom_imports``), but those of st_mm and mm.

    Args:
        config (Mapping[str, Any]): A config that :func:`read_config` has read.

    Returns:
        list[str]: The names, in the order of the config.
    """
    imports = config.get('custom_imports')
    names = imports.get('imports') if isinstance(imports, Mapping) else None
    names = [names] if isinstance(names, str) else names if isinstance(names, list | tuple) else []
    known = SCOPES | {'st_mm'}
    return [n for n in names if isinstance(n, str) and n.partition('.')[0] not in known]


def _is_registered(package: str, rest: str, name: str) -> bool:
    """Whether a name is that of a registered class: ``scope.name``, or the full one."""
    try:
        module = importlib.import_module(f'{package}.registry')
    except ImportError:
        return False
    registries = [entry for entry in vars(module).values() if isinstance(entry, Registry)]
    for registry in registries:
        registry.import_from_location()
    registered = [registry.module_dict for registry in registries]
    if '.' not in rest:
        return any(rest in entries for entries in registered)
    found = get_object_from_string(name)
    last = rest.rpartition('.')[2]
    return found is not None and any(entries.get(last) is found for entries in registered)


def _types(node: Any) -> Iterator[str]:
    """Every type in a config, and the shorthands of mm that are types as well."""
    if isinstance(node, Mapping):
        if 'type' in node:
            if not isinstance(node['type'], str):
                raise ValueError(f'its model has a type {node["type"]!r}, not a name: {ADVICE}')
            yield node['type']
        node = list(node.values())
    if isinstance(node, list | tuple):
        for child in node:
            yield from _types(child)

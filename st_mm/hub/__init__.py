"""The models of st_mm by name, for our tools, for mmengine's loader and for the inferencers."""

from .loading import let_mmengine_load_weights
from .lookup import let_inferencers_find_models
from .models import (
    SCHEME,
    Model,
    config_or_path,
    find,
    models,
    root,
    weights_or_path,
    weights_path,
)

__all__ = [
    'SCHEME',
    'Model',
    'config_or_path',
    'find',
    'let_inferencers_find_models',
    'let_mmengine_load_weights',
    'models',
    'root',
    'weights_or_path',
    'weights_path',
]

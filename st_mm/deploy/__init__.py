"""The way out of the framework: a ticket as a smaller, faster, equal network."""

from .engine.runtime import Engine, load

__all__ = ['Engine', 'load']

"""Sweeps: one run for each combination of some values, told apart by name, continued and compared.

New here: what is told about the points of a sweep.
"""

from .points import expand

__all__ = ["expand"]

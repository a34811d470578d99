"""Versions of what made a result, whether it was installed or is only on the path."""

from importlib import import_module, metadata

MODULES = {"megatron-core": "megatron.core"}
"""Modules whose name is not that of their distribution with underscores."""


def versions(*distributions: str) -> dict[str, str]:
    """By the name of each distribution, such as "d2plm-megatron". Raises ImportError when one of them is not here."""
    return {name: _version(name) for name in distributions}


def _version(name: str) -> str:
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        module = import_module(MODULES.get(name, name.replace("-", "_")))
        return str(module.__version__)

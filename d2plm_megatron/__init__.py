"""Generative protein language models, trained on Megatron-core.

What notebooks need is here, and imported when it is asked for: to import the package alone takes no time.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from d2plm_megatron.config import Recipe
    from d2plm_megatron.inference.model import TrainedModel
    from d2plm_megatron.runs.metrics import metrics
    from d2plm_megatron.training.run import train

__version__ = "0.1.0"
__all__ = ["Recipe", "TrainedModel", "metrics", "train"]

_ROOMS = {"Recipe": "config", "TrainedModel": "inference.model", "metrics": "runs.metrics", "train": "training.run"}


def __getattr__(name: str) -> Any:
    if name not in _ROOMS:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_ROOMS[name]}"), name)


def __dir__() -> list[str]:
    return sorted([*globals(), *__all__])

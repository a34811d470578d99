"""A recipe: everything that says what a run is, in frozen dataclasses that refuse what cannot work.

Every field carries its help text; `python recipes/NAME.py --help` prints them all. Checks name the key as a user would
type it (`train.max_steps`), the value, and what is allowed.

New here: a key of a recipe, a size of the model, a check between keys.
"""

from d2plm_megatron.config.checks import at_least, between, nearest_multiple, one_of, option
from d2plm_megatron.config.data import Data, Source
from d2plm_megatron.config.model import MODEL_SIZES, Model
from d2plm_megatron.config.objective import (
    OBJECTIVES,
    Absorbing,
    FlowMatching,
    MaskedLM,
    MetricFlow,
    Objective,
    Timed,
)
from d2plm_megatron.config.own_objective import register
from d2plm_megatron.config.recipe import Recipe
from d2plm_megatron.config.schedules import parse_schedule
from d2plm_megatron.config.training import EMA, Optimizer, Parallel, Profile, Track, Train, Validation

__all__ = [
    "EMA",
    "MODEL_SIZES",
    "OBJECTIVES",
    "Absorbing",
    "Data",
    "FlowMatching",
    "MaskedLM",
    "MetricFlow",
    "Model",
    "Objective",
    "Optimizer",
    "Parallel",
    "Profile",
    "Recipe",
    "Source",
    "Timed",
    "Track",
    "Train",
    "Validation",
    "at_least",
    "between",
    "nearest_multiple",
    "one_of",
    "option",
    "parse_schedule",
    "register",
]

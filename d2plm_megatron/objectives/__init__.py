"""What the encoder learns. Pure mathematics: no model, rank, step or file is known here.

New here: an objective, a loss, a schedule, a source of noise, what is learnt from a teacher.
"""

from typing import Any

from d2plm_megatron import config
from d2plm_megatron.objectives.absorbing import AbsorbingDiffusion
from d2plm_megatron.objectives.flow_matching import FlowMatching
from d2plm_megatron.objectives.metric_flow import MetricFlow
from d2plm_megatron.objectives.mlm import MaskedLanguageModel
from d2plm_megatron.objectives.objective import Objective
from d2plm_megatron.objectives.process import FROM_MASKS, PathProcess, Process


def build(options: config.Objective) -> Objective:
    """The objective that a recipe asks for: what training needs. Raises ValueError when its numbers cannot work."""
    if hasattr(options, "build"):  # an own objective
        return _own(options, "build", ("corrupt", "loss"))
    match options:
        case config.Absorbing():
            return AbsorbingDiffusion.of(options)
        case config.FlowMatching():
            return FlowMatching.of(options)
        case config.MetricFlow():
            return MetricFlow.of(options)
        case config.MaskedLM():
            return MaskedLanguageModel(options)
    raise ValueError(_lacks(options, "build"))


def build_process(options: config.Objective) -> Process:
    """The process of a recipe's objective: what evaluation and generation need. Raises what `build` raises."""
    if hasattr(options, "build_process"):
        process = _own(options, "build_process", ("path", "likelihoods"))
        if "elbo" not in process.likelihoods():
            raise ValueError(f'objective.name={options.name}: there is no "elbo" among the likelihoods of its process')
        return process
    match options:
        case config.Absorbing():
            return PathProcess(AbsorbingDiffusion.of(options).path)
        case config.FlowMatching():
            return PathProcess(FlowMatching.of(options).path)
        case config.MetricFlow():
            return PathProcess(MetricFlow.of(options).path)
        case config.MaskedLM():
            return PathProcess(FROM_MASKS, {"masked": MaskedLanguageModel(options)})
    raise ValueError(_lacks(options, "build_process"))


def _own(options: Any, method: str, members: tuple[str, ...]) -> Any:
    """What a method of an own objective's options makes. Raises ValueError unless it has these members."""
    made = getattr(options, method)()
    if missing := [name for name in members if not hasattr(made, name)]:
        raise ValueError(
            f"objective.name={options.name}: what {type(options).__name__}.{method}() returns has no {missing[0]}"
        )
    return made


def _lacks(options: config.Objective, method: str) -> str:
    return f"objective.name={options.name}: its class {type(options).__name__} has no {method}()"

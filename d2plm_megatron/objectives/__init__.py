"""What the encoder learns. Pure mathematics: no model, rank, step or file is known here.

New here: an objective, a loss, a schedule, a source of noise, what is learnt from a teacher.
"""

from d2plm_megatron import config
from d2plm_megatron.objectives.absorbing import AbsorbingDiffusion
from d2plm_megatron.objectives.flow_matching import FlowMatching
from d2plm_megatron.objectives.mlm import MaskedLanguageModel
from d2plm_megatron.objectives.objective import Objective


def build(options: config.Objective) -> Objective:
    """The objective that a recipe asks for. Raises ValueError when its numbers cannot work."""
    match options:
        case config.Absorbing():
            return AbsorbingDiffusion.of(options)
        case config.FlowMatching():
            return FlowMatching.of(options)
        case config.MaskedLM():
            return MaskedLanguageModel(options)
    raise ValueError(f"objective.name={options.name!r}: allowed are {', '.join(config.OBJECTIVES)}")

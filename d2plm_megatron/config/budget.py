"""How many tokens are worth training on, and how long that takes: arithmetic on published laws and figures."""

from dataclasses import dataclass

from d2plm_megatron.config.hardware import Gpu
from d2plm_megatron.config.model import Model
from d2plm_megatron.config.sizing import training_flops

TYPICAL_LENGTH = 300
"""Tokens of a protein where there are no data to ask: about UniRef50's mean."""

MFU_RANGE = (0.3, 0.5)
"""Shares of a GPU's peak, slow and fast, that the time of a run is stated for: assumed, not measured here."""


@dataclass(frozen=True)
class ScalingLaw:
    """Parameters N = a C^p and tokens D = b C^q that are best for C operations, by fits to trained models."""

    a: float
    p: float
    b: float
    q: float
    fitted_parameters: tuple[float, float]
    source: str

    def tokens(self, num_parameters: float) -> float:
        """D where N is the number of parameters."""
        return self.b * (num_parameters / self.a) ** (self.q / self.p)


MASKED_LM = ScalingLaw(
    a=6.19e-8,
    p=0.776,
    b=2.02e6,
    q=0.230,
    fitted_parameters=(3.5e6, 10.7e9),
    source="Cheng et al. 2024 (NeurIPS; arXiv:2411.02142, bioRxiv 2024.06.06.597716), MLM",
)
"""The fit to profiles of equal operations of masked language models on proteins, with C = 6 N D.

Theirs mask 15% and read 5 to 200 billion tokens of UniRef and metagenomes, each once.
"""

LAWS = {"mlm": MASKED_LM}
"""By objective, where one was fitted."""


def compute_optimal_tokens(num_parameters: int, objective: str) -> float:
    """The tokens for which a model of this size is the best that the same operations can buy, by Cheng et al. 2024.

    They fitted laws to masked and to causal language models of proteins. No law is known for absorbing diffusion or
    flow matching on proteins. Those learn from masked or corrupted proteins by the same encoder, so they are given the
    law of masked language models, which is an extrapolation; `caveat` says so.

    Args:
        num_parameters: of the encoder.
        objective: its name in recipes, such as mlm.
    """
    return LAWS.get(objective, MASKED_LM).tokens(num_parameters)


def caveat(num_parameters: int, objective: str) -> str:
    """Why the law may not hold for a model of this size and objective; empty where it was fitted to the like."""
    smallest, largest = MASKED_LM.fitted_parameters
    found = [] if objective in LAWS else [f"extrapolated to {objective}"]
    if not smallest <= num_parameters <= largest:
        found.append(f"outside of the {smallest / 1e6:.1f} M to {largest / 1e9:.1f} B parameters of the fit")
    return ", ".join(found)


def seconds_for(
    tokens: float, model: Model, length: float, gpu: Gpu, num_gpus: int, mfu: float, precision: str = "bf16"
) -> float:
    """Seconds that a training takes.

    Args:
        tokens: to train on, without padding.
        model: that is trained.
        length: tokens of a typical protein, which attention costs depend on.
        gpu: kind of all GPUs.
        num_gpus: of the run.
        mfu: share of their peak that is reached, between 0 and 1.
        precision: of the matrix products, bf16 or fp32.
    """
    operations = training_flops(model, round(tokens), round(tokens * length))
    return operations / (gpu.tflops(precision) * 1e12 * num_gpus * mfu)

"""From a trained model and a request to a FASTA file."""

from pathlib import Path

from d2plm_megatron.console import note
from d2plm_megatron.files import write_text
from d2plm_megatron.inference.model import TrainedModel
from d2plm_megatron.inference.spread import shared_progress
from d2plm_megatron.sampling.config import Samples, SamplingConfig


def generate(model: TrainedModel, config: SamplingConfig, output: Path) -> Samples:
    """Generates the proteins and writes them."""
    seen = model.checkpoint.recipe.data.max_length_residues
    if config.longest > seen and model.processes.is_main:
        note(f"{config.longest:,} residues were asked for, and training saw proteins of {seen:,} at most")
    with shared_progress("generating", config.num_sequences, "proteins", model.processes) as advance:
        samples = model.sample(config, advance)
    if model.processes.is_main:
        origin = _origin(model, config)
        records = (f">generated_{i + 1:06d} {origin}\n{s}\n" for i, s in enumerate(samples.sequences))
        write_text(output, "".join(records))
    return samples


def _origin(model: TrainedModel, config: SamplingConfig) -> str:
    """Where proteins come from, for their headers: all that decides what they are, beside the machine."""
    return (
        f"checkpoint_step={model.checkpoint.state['progress']['step']} weights={model.weights} seed={config.seed} "
        f"sampler=exact steps={config.num_steps} temperature={config.temperature:g}"
    )

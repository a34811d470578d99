"""Embeddings of given proteins, in one pass over packs of them."""

from pathlib import Path

import numpy as np

from d2plm_megatron.batch import TokenBatch
from d2plm_megatron.console import note
from d2plm_megatron.inference import readouts
from d2plm_megatron.inference.model import TrainedModel
from d2plm_megatron.inference.spread import shared_progress
from d2plm_megatron.scoring.embeddings import Shape, write_embeddings
from d2plm_megatron.scoring.given import Given, read_given
from d2plm_megatron.scoring.stream import Part, ask_each


def embed(model: TrainedModel, given: Given, layer: int, shape: Shape, output: Path, tokens_per_pack: int) -> None:
    """Writes the hidden states of each protein's residues, or their mean; see TrainedModel.embed."""

    def ask(pack: TokenBatch) -> list[np.ndarray]:
        states_TH = model.hidden_states(readouts.as_it_is(pack, model.path, None), layer)
        found = readouts.by_protein(pack, states_TH)
        return [(states.mean(0) if shape.mean else states).astype(shape.numpy) for states in found]

    seen, longest = model.checkpoint.recipe.data.max_length_residues, max(given.lengths)
    if longest > seen and model.processes.is_main:
        note(f"{longest:,} residues go through the model as one, and training saw proteins of {seen:,} at most")
    parts = (Part.of(name, residues) for name, residues in read_given(given.path))
    with shared_progress("embedding", len(given.ids), "proteins", model.processes) as advance:
        found = ask_each(model, parts, ask, tokens_per_pack, advance)
        if not model.processes.is_main:
            for _ in found:
                pass
            return
        with write_embeddings(output, given, shape, _origin(model, layer)) as write:
            for name, values in found:
                write(name, values)


def _origin(model: TrainedModel, layer: int) -> dict[str, str]:
    checkpoint = model.checkpoint
    return {
        "checkpoint": str(checkpoint.path),
        "step": str(checkpoint.state["progress"]["step"]),
        "weights": model.weights,
        "precision": model.precision,
        "layer": str(layer % (checkpoint.recipe.model.num_layers + 1)),
    }

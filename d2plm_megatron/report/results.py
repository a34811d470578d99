"""All that a report tells about a run, as values: gathered once, then printed, drawn and saved."""

from dataclasses import dataclass
from pathlib import Path
from shlex import quote
from typing import Any

from d2plm_megatron.config.sizing import num_parameters
from d2plm_megatron.evaluation.samples.collection import Collection, compare, novelty_numbers, summary_numbers
from d2plm_megatron.evaluation.samples.novelty import Novelty
from d2plm_megatron.report.run_record import RunRecord, read_evaluation


@dataclass(frozen=True)
class Results:
    """What was found; None for what there was nothing to find in.

    Attributes:
        run: the run itself.
        evaluation: as `d2plm evaluate` wrote it.
        samples: the generated proteins.
        reference: real proteins to compare them with.
        novelty: of the samples against the reference.
    """

    run: RunRecord
    evaluation: dict[str, Any] | None
    samples: Collection | None
    reference: Collection | None
    novelty: Novelty | None

    @property
    def likelihoods(self) -> dict[str, dict[str, Any]]:
        """The perplexities of the evaluation, with their errors, by name; none without one."""
        return self.evaluation["likelihoods"] if self.evaluation is not None else {}

    @property
    def checkpoints(self) -> dict[str, int]:
        """Steps of the checkpoints that were evaluated and that the samples are from, where they are known."""
        steps = {
            "evaluation": self.evaluation["step"] if self.evaluation else None,
            "samples": self.samples.step if self.samples else None,
        }
        return {what: step for what, step in steps.items() if step is not None}

    @property
    def unigram_perplexity(self) -> float | None:
        """Of the held-out proteins, as evaluated; else counted, where they can be read; else None."""
        if self.evaluation is not None:
            return float(self.evaluation["unigram_perplexity"])
        return self.run.unigram_perplexity()

    @property
    def left_out(self) -> list[str]:
        """What the report cannot show, and the command that makes it."""
        run, held_out = quote(str(self.run.path)), quote(self.run.recipe.data.validation or "PREFIX")
        commands = {
            "evaluation": f"d2plm evaluate {run} --data {held_out}",
            "generation": f"d2plm generate {run}",
            "report": f"d2plm report {run} --reference FASTA",
        }
        absent = {
            "the learning curve (no metrics.jsonl in the run)": not self.run.metrics,
            f"perplexity (no evaluation; make one with: {commands['evaluation']})": self.evaluation is None,
            f"generated proteins (no samples; make some with: {commands['generation']})": self.samples is None,
            f"novelty and families (no --reference; give real proteins with: {commands['report']})": (
                self.samples is not None and self.reference is None
            ),
        }
        return [text for text, is_absent in absent.items() if is_absent]


def gather(run: Path, samples: Path | None, evaluation: Path | None, reference: Path | None) -> Results:
    """Reads everything and compares samples with reference. Raises ValueError or OSError for what cannot be read."""
    record = RunRecord.read(run)
    evaluated = read_evaluation(evaluation) if evaluation else None
    generated = Collection.read(samples) if samples else None
    real = Collection.read(reference) if reference else None
    novelty = compare(generated, real) if generated and real else None
    return Results(record, evaluated, generated, real, novelty)


def numbers(results: Results) -> dict[str, Any]:
    """The results as JSON: shares and identities from 0 to 1, entropies in nats, lengths in residues."""
    result: dict[str, Any] = {"run": {**_run_numbers(results.run), "checkpoints": results.checkpoints}}
    if results.evaluation is not None:
        result["evaluation"] = results.evaluation
    for name, collection in (("samples", results.samples), ("reference", results.reference)):
        if collection is not None:
            result[name] = {"file": str(collection.path), **summary_numbers(collection.summary)}
    if results.novelty is not None and results.reference is not None and results.samples is not None:
        result["novelty"] = novelty_numbers(results.novelty, results.samples, results.reference)
    return result


def _run_numbers(run: RunRecord) -> dict[str, Any]:
    return {
        "name": run.recipe.name,
        "objective": run.recipe.objective.name,
        "parameters": num_parameters(run.recipe.model),
        **run.trained,
        "last_activity": run.last_activity,
        "versions": run.state["versions"] if run.state else None,
    }

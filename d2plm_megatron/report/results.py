"""All that a report tells about a run or about samples, as values: gathered once, then printed, drawn and saved."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from shlex import quote
from typing import Any

from d2plm_megatron.config.sizing import num_parameters
from d2plm_megatron.console import note
from d2plm_megatron.evaluation.samples.collection import Collection, compare, novelty_numbers, summary_numbers
from d2plm_megatron.evaluation.samples.novelty import Novelty
from d2plm_megatron.report.beside import Beside, look_beside
from d2plm_megatron.report.evaluation_record import Evaluation, read_evaluation
from d2plm_megatron.report.judgement_record import Judgement
from d2plm_megatron.report.run_record import RunRecord


@dataclass(frozen=True)
class Results:
    """What was found; None for what there was nothing to find in.

    Attributes:
        run: the run itself; None where samples alone are reported.
        evaluation: as `d2plm evaluate` wrote it.
        samples: the generated proteins.
        reference: real proteins to compare them with.
        novelty: of the samples against the reference.
        judgement: of the samples, as `d2plm judge` wrote it.
        beside: what else was found.
    """

    run: RunRecord | None
    evaluation: Evaluation | None
    samples: Collection | None
    reference: Collection | None
    novelty: Novelty | None
    judgement: Judgement | None
    beside: Beside

    @property
    def name(self) -> str:
        """What the report is about."""
        if self.run is not None:
            return self.run.recipe.name
        return self.samples.path.name if self.samples is not None else ""

    @property
    def checkpoints(self) -> dict[str, int]:
        """Steps of the checkpoints that were evaluated and that the samples are from, where they are known."""
        steps = {
            "evaluation": self.evaluation.numbers["step"] if self.evaluation else None,
            "samples": self.samples.step if self.samples else None,
        }
        return {what: step for what, step in steps.items() if step is not None}

    @property
    def unigram_perplexity(self) -> float | None:
        """Of the held-out proteins, as evaluated; else counted, where they can be read; else None."""
        if self.evaluation is not None:
            return self.evaluation.unigram
        return self.run.unigram_perplexity() if self.run else None

    @property
    def is_judgement_old(self) -> bool:
        """Whether the samples are no longer those that were judged: there are more of them, or fewer."""
        if self.judgement is None or self.samples is None:
            return False
        return bool(self.judgement.numbers["proteins"]["records"] != len(self.samples.proteins))

    @property
    def left_out(self) -> list[str]:
        """What the report cannot show, and the command that makes it."""
        return [f"{what} ({why}: {command})" if command else f"{what} ({why})" for what, why, command in _absent(self)]


def _absent(results: Results) -> list[tuple[str, str, str]]:
    """What is absent, why, and the command that makes it."""
    absent = []
    target = quote(str(results.run.path if results.run else results.samples.path if results.samples else ""))
    samples = quote(str(results.samples.path)) if results.samples else ""
    if results.run is not None:
        held_out = quote(results.run.recipe.data.validation or "PREFIX")
        if not results.run.metrics:
            absent.append(("the learning curve", "no metrics.jsonl in the run", ""))
        if results.evaluation is None:
            absent.append(("perplexity", "no evaluation; make one with", f"d2plm evaluate {target} --data {held_out}"))
        if results.samples is None:
            absent.append(("generated proteins", "no samples; make some with", f"d2plm generate {target}"))
    if results.samples is not None and results.judgement is None:
        command = f"d2plm judge {samples} --reference NATURAL"
        absent.append(("a judgement of the samples", "not judged; judge them with", command))
    if results.samples is not None and results.reference is None:
        command = f"d2plm report {target} --reference FASTA"
        absent.append(("novelty and families", "no --reference; give real proteins with", command))
    return absent


def gather(
    run: Path | None,
    samples: Path | None,
    evaluation: Path | None,
    reference: Path | None,
    named: Sequence[Path] = (),
) -> Results:
    """Reads everything and compares samples with reference. Raises ValueError or OSError for what cannot be read.

    Args:
        run: folder of a run; None for samples alone.
        samples: FASTA.
        evaluation: JSON of `d2plm evaluate`.
        reference: FASTA of real proteins.
        named: other files to show, or folders of scored assays.
    """
    record = RunRecord.read(run) if run else None
    evaluated = read_evaluation(evaluation) if evaluation else None
    beside = look_beside(run, samples, named)
    generated = Collection.read(samples) if samples else None
    judgement = beside.judgement_of(samples) if samples else None
    for other in beside.judgements:
        if other is not judgement:
            note(f"{other.path}: is of {other.samples}, which this report is not about; it is left out")
    real = Collection.read(reference) if reference else None
    novelty = compare(generated, real) if generated and real else None
    return Results(record, evaluated, generated, real, novelty, judgement, beside)


def numbers(results: Results) -> dict[str, Any]:
    """The results as JSON: shares and identities from 0 to 1, entropies in nats, lengths in residues."""
    result: dict[str, Any] = {}
    if results.run is not None:
        result["run"] = {**_run_numbers(results.run), "checkpoints": results.checkpoints}
    if results.evaluation is not None:
        result["evaluation"] = results.evaluation.numbers
    for name, collection in (("samples", results.samples), ("reference", results.reference)):
        if collection is not None:
            result[name] = {"file": str(collection.path), **summary_numbers(collection.summary)}
    if results.novelty is not None and results.reference is not None and results.samples is not None:
        result["novelty"] = novelty_numbers(results.novelty, results.samples, results.reference)
    if results.judgement is not None:
        result["judgement"] = {**results.judgement.numbers, "nearest": None}
    if results.beside.comparisons:
        result["comparisons"] = [list(found.differences) for found in results.beside.comparisons]
    if results.beside.assays:
        result["assays"] = [
            {"assay": one.assay, "mutants": one.mutants, "spearman": {k: list(v[:3]) for k, v in one.methods.items()}}
            for one in results.beside.assays
        ]
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

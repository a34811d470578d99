"""The main numbers of a report in a table, on the screen."""

from typing import Any

from rich.table import Table

from d2plm_megatron.console import one_line, show
from d2plm_megatron.report import formatting
from d2plm_megatron.report.cards import cards
from d2plm_megatron.report.results import Results, numbers


def print_report(results: Results) -> None:
    """Prints the main numbers, what they mean, and what is left out."""
    found = numbers(results)
    table = Table(title=results.name, show_header=False)
    rows = _run_rows(found["run"]) if results.run is not None else {}
    if results.evaluation is not None:
        rows |= _evaluation_rows(results)
    if results.samples is not None:
        rows |= _sample_rows(found)
    if results.novelty is not None:
        rows |= _novelty_rows(found["novelty"], found["samples"]["proteins"])
    for name, value in rows.items():
        table.add_row(name, value)
    show(table)
    for card in cards(results).values():
        print(one_line(f"{card.title}: {card.value}, {card.word}"))
    for text in results.left_out:
        print(f"left out: {text}")


def _run_rows(found: dict[str, Any]) -> dict[str, str]:
    return {
        "objective": formatting.objective(found["objective"]),
        "parameters": f"{found['parameters']:,}",
        "trained": f"{found['steps']:,} steps, {found['tokens']:,} tokens",
        **({"checkpoints": of} if (of := formatting.of_checkpoints(found["checkpoints"])) else {}),
    }


def _evaluation_rows(results: Results) -> dict[str, str]:
    assert results.evaluation is not None
    own, floors = results.evaluation.perplexities, results.evaluation.floors
    rows = {f"perplexity ({name})": formatting.with_error(*found) for name, found in own.items()}
    rows |= {f"perplexity ({name} of training)": formatting.with_error(*found) for name, found in floors.items()}
    return {**rows, "perplexity (unigram, no context)": f"{results.unigram_perplexity:.2f}"}


def _sample_rows(found: dict[str, Any]) -> dict[str, str]:
    samples, reference = found["samples"], found.get("reference")
    beside = f" (reference {reference['entropy']:.3f})" if reference else ""
    return {
        "generated": f"{samples['proteins']:,} proteins, {samples['distinct']:,} distinct",
        "lengths": f"{samples['shortest']:,} to {samples['longest']:,} residues",
        "entropy of the residues": f"{samples['entropy']:.3f} nats{beside}",
    }


def _novelty_rows(found: dict[str, Any], num_samples: int) -> dict[str, str]:
    shuffled, natural = found["median_identity_shuffled"], found["median_identity_reference"]
    families = [name for name, count in found["families"].items() if count]
    return {
        "identity to nearest reference": (
            f"{formatting.percent(found['median_identity'])} median, "
            f"{formatting.percent(found['highest_identity'])} highest"
        ),
        "the same, shuffled samples": f"{formatting.percent(shuffled)} median",
        "the same, references among themselves": f"{formatting.percent(natural)} median",
        "recognised (identity above chance)": (
            f"{found['recognised']:,} of {num_samples:,}, above {formatting.percent(found['chance_identity'])}"
        ),
        "families among them": f"{len(families):,} of {len(found['families']):,}",
        "copies of a reference": f"{found['copies']:,}",
    }

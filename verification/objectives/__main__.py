"""Objectives compared at equal tokens.

    python -m verification.objectives --input uniref90.fasta.gz

Trains every row of rows.py with several seeds on the real proteins without homologs between the sides, and on simulated
families; measures all on the same held-out proteins and noise; has the samples of each judged by n-grams and by a model
of other proteins. The same command goes on after it was stopped, with more seeds and other rows, too. What else was
asked for is noted in OUTPUT/request.json, so that no table has results of two requests.
"""

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Annotated, Any

import typer

from benchmarks.machine import machine
from d2plm_megatron.console import progress, run
from d2plm_megatron.cores import available_cores
from d2plm_megatron.data.checksums import samples_of
from d2plm_megatron.runs.requested import differences, write_request
from verification.objectives.corpora import Corpus, real, simulated
from verification.objectives.rows import ROWS, TOKENS_OF_STEP, by_name
from verification.objectives.table import print_table
from verification.objectives.trials import Trial, train_judge


def main(
    source: Annotated[Path | None, typer.Option("--input", help="FASTA of some thousand real proteins")] = None,
    output: Annotated[Path, typer.Option(help="folder for data and runs")] = Path("runs/objectives"),
    steps: Annotated[int, typer.Option(min=1, help=f"of {TOKENS_OF_STEP:,} tokens, for every model")] = 1000,
    seeds: Annotated[int, typer.Option(min=1, help="of each row")] = 3,
    samples: Annotated[int, typer.Option(min=8, help="proteins that each model generates")] = 128,
    judged: Annotated[int | None, typer.Option(min=0, help="seeds whose samples are judged; else all")] = None,
    only: Annotated[str, typer.Option(help="only rows whose names hold this")] = "",
    proteins: Annotated[int, typer.Option(min=100, help="to simulate")] = 6000,
) -> None:
    """Trains models with every objective at equal tokens, and prints how good each is, with the spread over seeds."""
    rows = by_name(only) if only else ROWS
    given = samples_of([source]) if source is not None else None
    _begin(output, {"steps": steps, "samples": samples, "proteins": proteins, "input": given})
    corpora = {"simulated families": simulated(output / "simulated", proteins)}
    if source is not None:
        corpora = {"real proteins": real(source, output / "real"), **corpora}
    for title, corpus in corpora.items():
        asked = [samples if judged is None or seed < judged else 0 for seed in range(seeds)]
        trials = [Trial(row, seed, corpus, steps, asked[seed]) for seed in range(seeds) for row in rows]
        _measure(title, corpus, trials, steps)
        print_table(f"{title}, {steps * TOKENS_OF_STEP:,} tokens, {seeds} seeds", trials)
    print(machine("torch", "megatron-core"))


def _begin(output: Path, request: dict[str, Any]) -> None:
    """Notes the request. Raises ValueError where there are results of another one, or anything else."""
    path = output / "request.json"
    differ = differences(path, request)
    if not path.exists() and output.exists() and any(output.iterdir()):
        differ = "there is no request.json"
    if differ:
        raise ValueError(f"{output}: holds results of another request ({differ}); repeat that one, or give --output")
    output.mkdir(parents=True, exist_ok=True)
    write_request(path, request)


def _measure(title: str, corpus: Corpus, trials: list[Trial], steps: int) -> None:
    """All trials, one on each core."""
    judge = train_judge(corpus, steps)
    with ThreadPoolExecutor(available_cores()) as pool, progress(title, len(trials), "models") as advance:
        for _ in pool.map(lambda trial: trial.measure(judge), trials):
            advance(1)


if __name__ == "__main__":
    run(main)

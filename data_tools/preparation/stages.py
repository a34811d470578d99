"""From raw proteins to training data, in stages whose results wait on disk, so that a kill costs little.

    clean       each raw block of the inputs becomes a clean block, in a file of its own, by any process
    outcomes    duplicates and held-out proteins are marked, in a byte per protein
    homologs    MMseqs2 compares proteins with those that are held out from them, one group of blocks at a time
    write       each block's parts of the splits are appended to the final files, in the order of the blocks

The work is in OUTPUT/.work until all is done. Nothing depends on how many processes there are.
"""

import math
import shutil
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import Any

import numpy as np

from d2plm_megatron.console import note, progress
from d2plm_megatron.files import publish
from d2plm_megatron.proteins import mmseqs

from ..formats.proteins_lmdb import data_file
from .clean_blocks import Cleaned, CleanTask, clean_block
from .cleaning import Tally
from .hold_out import TRAINING
from .homologs import Comparison, are_hits, comparisons, find_homologs, numbers_with, read_hits, sequences_with
from .manifest import manifest, plot_splits, write_manifest
from .outcomes import are_outcomes, count_outcomes, mark_homologs, write_outcomes
from .plan import Plan, begin_or_resume
from .raw_blocks import blocks_of
from .splits import SPLITS, SplitCounts, SplitTask, SplitWriter, split_block, splits_of
from .workers import ordered_map

_BLOCKS_PER_GROUP = 128
FILES = (
    *(f"{split}.{ending}" for split in SPLITS for ending in ("lmdb", "bin", "idx", "checksums.json")),
    *("rejected.tsv", "histograms.png", "manifest.json"),
)
"""What is left in the folder in the end; the files of a split that is not wanted are missing."""


class Preparation:
    """One preparation into a folder, which `run` carries out.

    It continues work that was begun with the same plan, or with another one as far as that serves this plan, too.
    Raises ValueError if the work there does not serve it or if the folder holds prepared data, and what the stages
    raise.
    """

    def __init__(self, plan: Plan, output: Path, workers: int) -> None:
        self.plan, self.output, self.workers = plan, output, workers
        self.work = output / ".work"
        self._mmseqs = _mmseqs_version() if plan.homology else None
        self._comparisons = comparisons(plan.rules.hold_out) if plan.homology else []
        if (output / "manifest.json").exists():
            raise ValueError(f"{output} holds prepared data already; remove it, or name another --output")
        begin_or_resume(self.work, plan, self._mmseqs)

    def run(self) -> dict[str, Any]:
        """Does what is left to do, and returns the manifest."""
        cleaned = self._clean()
        tallies = _tallies(cleaned)
        self._check_inputs(tallies)
        blocks = [self._block(number) for number in range(len(cleaned))]
        sizes = [one.num_proteins for one in cleaned]
        starts = np.concatenate(([0], np.cumsum(sizes))).tolist()
        self._decide(blocks, sizes, starts)
        results = self.work / "results"
        shutil.rmtree(results, ignore_errors=True)
        results.mkdir()
        counts = self._write(results, blocks, cleaned, starts)
        plot_splits(results / "histograms.png", counts)
        removed = count_outcomes(self.work / "outcomes-final")
        done = manifest(self.plan, results, tallies, removed, counts, self._mmseqs, self.workers)
        write_manifest(results / "manifest.json", done)
        ready = sorted(results.iterdir(), key=lambda path: path.name == "manifest.json")
        publish((path, self.output / path.name) for path in ready)
        shutil.rmtree(self.work)
        return done

    def _block(self, number: int) -> Path:
        return self.work / "blocks" / f"{number:08d}.npz"

    def _clean(self) -> list[Cleaned]:
        total = sum(data_file(path).stat().st_size for path in self.plan.inputs)
        raw_blocks = (raw for path in self.plan.inputs for raw in blocks_of(path, self.plan.layout))
        tasks = (CleanTask(raw, self._block(number), self.plan.rules) for number, raw in enumerate(raw_blocks))
        cleaned = []
        with progress("cleaning", total=total, unit="bytes") as advance:
            for one in ordered_map(clean_block, tasks, self.workers):
                cleaned.append(one)
                advance(one.num_bytes)
        return cleaned

    def _check_inputs(self, tallies: dict[Path, Tally]) -> None:
        with self._given_up():
            for path, tally in tallies.items():
                tally.check(path)

    def _decide(self, blocks: list[Path], sizes: list[int], starts: list[int]) -> None:
        """Writes the outcomes, at first without homologs and then with them."""
        outcomes, final = self.work / "outcomes", self.work / "outcomes-final"
        if not are_outcomes(outcomes, starts[-1]):
            write_outcomes(outcomes, blocks, sizes, self.plan.rules.hold_out)
        if are_outcomes(final, starts[-1]):
            return
        with self._given_up():
            self._check_splits(outcomes, f"has such a hash; {self._advice_for_few()}")
        if not self._comparisons:
            mark_homologs(final, outcomes, [])
            return
        for one in self._comparisons:
            marked = final if one is self._comparisons[-1] else self.work / f"outcomes-{one.name}"
            if not are_outcomes(marked, starts[-1]):
                hits = self._find_homologs(one, outcomes, blocks, starts)
                mark_homologs(marked, outcomes, (read_hits(path)["number"] for path in hits), one.outcome)
            outcomes = marked
        self._point_out_homologs(final)
        try:
            names = " or ".join(one.name for one in reversed(self._comparisons))
            self._check_splits(
                final,
                f"that resembles no {names} protein; are they one family? try --no-homology (the cleaned proteins "
                f"are kept for it in {self.work}; to give up, remove that folder)",
            )
        except ValueError:
            final.unlink()
            raise

    def _find_homologs(self, one: Comparison, outcomes: Path, blocks: list[Path], starts: list[int]) -> list[Path]:
        """The files of hits, one of each group of blocks."""
        targets, options = self.work / f"{one.name}.fasta", self.plan.homology
        assert options
        mmseqs.write_numbered(targets, sequences_with([one.targets], outcomes, blocks, 0))
        groups = range(0, len(blocks), _BLOCKS_PER_GROUP)
        with progress(f"MMseqs2, {one.name}", total=len(groups), unit="groups") as advance:
            for group in groups:
                stop = min(group + _BLOCKS_PER_GROUP, len(blocks))
                if not are_hits(self._hits(one, group), starts[group], starts[stop]):
                    numbers = numbers_with(one.queries, outcomes, starts[group], starts[stop])
                    sequences = sequences_with(one.queries, outcomes, blocks[group:stop], starts[group])
                    find_homologs(self._hits(one, group), numbers, sequences, targets, options, self.workers)
                advance(1)
        return [self._hits(one, group) for group in groups]

    def _point_out_homologs(self, outcomes: Path) -> None:
        """Tells when held-out proteins take most of the others away, as they do from few families."""
        found = count_outcomes(outcomes)
        homologs = sum(int(found[one.outcome]) for one in self._comparisons)
        if homologs > found[TRAINING]:
            note(
                f"{homologs:,} of {homologs + found[TRAINING]:,} training proteins resemble a held-out protein and "
                "are left out; for a few families give a higher --min-sequence-identity, --split-by cluster, or "
                "--no-homology"
            )

    def _check_splits(self, outcomes: Path, why: str) -> None:
        """Raises ValueError if a split that is wanted is empty."""
        found = count_outcomes(outcomes)
        for name, outcome in splits_of(self.plan.rules.hold_out).items():
            if not found[outcome]:
                raise ValueError(f"no protein is left for {name}, of {int(found.sum()):,}: none {why}")

    def _advice_for_few(self) -> str:
        """What to change when a split is empty; with so many proteins it is by chance in less than 1% of all cases."""
        hold_out = self.plan.rules.hold_out
        smallest = min(filter(None, (hold_out.fraction, hold_out.test, 1 - hold_out.fraction - hold_out.test)))
        enough = f" ({math.ceil(5 / smallest):,} different ones are enough)" if smallest < 1 else ""
        anew = "" if hold_out.by == "id" else ", or --split-by id if they are one side of an earlier split"
        return f"give another --validation{' or --test' * bool(hold_out.test)}, or more proteins{enough}{anew}"

    @contextmanager
    def _given_up(self) -> Iterator[None]:
        """Removes the work when the block raises ValueError, because none of it will serve once the input changes."""
        try:
            yield
        except ValueError:
            shutil.rmtree(self.work)
            with suppress(OSError):
                self.output.rmdir()  # if nothing else is in it
            raise

    def _hits(self, one: Comparison, block_number: int) -> Path:
        return self.work / f"hits-{one.name}-{block_number // _BLOCKS_PER_GROUP:06d}.npy"

    def _write(
        self, folder: Path, blocks: list[Path], cleaned: list[Cleaned], starts: list[int]
    ) -> dict[str, SplitCounts]:
        tasks = (
            SplitTask(
                block=block,
                source=str(one.source),
                outcomes=self.work / "outcomes-final",
                start=start,
                hits=tuple((one, self._hits(one, number)) for one in self._comparisons),
                cut_at=self.plan.cut_at,
            )
            for number, (block, one, start) in enumerate(zip(blocks, cleaned, starts, strict=False))
        )
        with (
            ExitStack() as stack,
            (folder / "rejected.tsv").open("w", encoding="utf-8") as rejected,
            progress("writing", total=starts[-1], unit="proteins") as advance,
        ):
            rejected.write("input\trecord\tid\treason\tdetail\n")
            wanted = splits_of(self.plan.rules.hold_out)
            writers = {name: stack.enter_context(SplitWriter(folder, name)) for name in wanted}
            for (parts, lines), one in zip(ordered_map(split_block, tasks, self.workers), cleaned, strict=True):
                for name, writer in writers.items():
                    writer.add(parts[name])
                rejected.write(lines)
                advance(one.num_proteins)
            return {name: writer.counts for name, writer in writers.items()}


def _mmseqs_version() -> str:
    try:
        return mmseqs.version()
    except ValueError as error:
        advice = "or go without by --no-homology, which leaves relatives of validation in training"
        raise ValueError(f"{error}, {advice}") from None


def _tallies(cleaned: list[Cleaned]) -> dict[Path, Tally]:
    tallies: dict[Path, Tally] = {}
    for one in cleaned:
        tallies.setdefault(one.source, Tally()).add(one.tally)
    return tallies

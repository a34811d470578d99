"""From raw proteins to training data, in stages whose results wait on disk, so that a kill costs little.

    clean       each piece of the inputs becomes a clean block, in a file of its own, by any process
    fates       duplicates and sides: a byte per protein
    homologs    MMseqs2 searches training proteins against validation, a group of blocks at a time
    write       the blocks' shares of the two sides, one after the other, into the final files

The work is in OUTPUT/.work until all is done. Nothing depends on how many processes there are.
"""

import shutil
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import Any

import numpy as np

from d2plm_megatron.console import note, progress
from d2plm_megatron.files import publish
from d2plm_megatron.proteins.alphabet import LETTER_OF_ID
from d2plm_megatron.proteins.fasta import write_fasta
from d2plm_megatron.proteins.mmseqs import are_hits, mmseqs_version, read_hits, search

from ..formats.proteins_lmdb import data_file
from .clean_blocks import Cleaned, CleanTask, clean_block, read_block
from .cleaning import Tally
from .manifest import checksum, describe_side, draw, versions, write_manifest
from .outcomes import (
    DUPLICATE,
    HOMOLOG,
    TRAINING,
    VALIDATION,
    are_fates,
    count_fates,
    mark_homologs,
    read_fates,
    write_fates,
)
from .plan import Plan, claim
from .raw_blocks import left_out, pieces_of
from .splits import SIDES, Side, SideTask, SideWriter, share_out
from .workers import ordered_map

_BLOCKS_PER_GROUP = 128
FILES = (
    *(f"{side}.{ending}" for side in SIDES for ending in ("lmdb", "bin", "idx", "checksums.json")),
    *("rejected.tsv", "histograms.png", "manifest.json"),
)
"""What is left in the folder, of which those of an empty side are missing."""


class Preparation:
    """One preparation into a folder, run by `run`.

    Work that was begun with another plan is gone on with as far as it serves this one, too. Raises ValueError if it
    does not, or if the folder holds prepared data, and what the stages raise.
    """

    def __init__(self, plan: Plan, output: Path, workers: int) -> None:
        self.plan, self.output, self.workers = plan, output, workers
        self.work = output / ".work"
        self._mmseqs = mmseqs_version() if plan.homology else None
        if (output / "manifest.json").exists():
            raise ValueError(f"{output} holds prepared data already; remove it, or name another --output")
        claim(self.work, plan, self._mmseqs)

    def run(self) -> dict[str, Any]:
        """Does what is left to do; returns the manifest."""
        cleaned = self._clean()
        blocks = [self._block(number) for number in range(len(cleaned))]
        sizes = [one.num_proteins for one in cleaned]
        starts = np.concatenate(([0], np.cumsum(sizes))).tolist()
        self._decide(blocks, sizes, starts)
        results = self.work / "results"
        shutil.rmtree(results, ignore_errors=True)
        results.mkdir()
        sides = self._write(results, blocks, cleaned, starts)
        draw(results / "histograms.png", sides)
        manifest = self._manifest(results, cleaned, sides)
        write_manifest(results / "manifest.json", manifest)
        ready = sorted(results.iterdir(), key=lambda path: path.name == "manifest.json")
        publish((path, self.output / path.name) for path in ready)
        shutil.rmtree(self.work)
        return manifest

    def _block(self, number: int) -> Path:
        return self.work / "blocks" / f"{number:08d}.npz"

    def _clean(self) -> list[Cleaned]:
        total = sum(data_file(path).stat().st_size for path in self.plan.inputs)
        pieces = (piece for path in self.plan.inputs for piece in pieces_of(path, self.plan.layout))
        tasks = (CleanTask(piece, self._block(number), self.plan.rules) for number, piece in enumerate(pieces))
        cleaned = []
        with progress("cleaning", total=total, unit="bytes") as advance:
            for one in ordered_map(clean_block, tasks, self.workers):
                cleaned.append(one)
                advance(one.num_bytes)
        with self._given_up():
            for path, tally in _tallies(cleaned).items():
                tally.check(path)
        return cleaned

    def _decide(self, blocks: list[Path], sizes: list[int], starts: list[int]) -> None:
        """Writes the fates, those of homologs last."""
        fates, final = self.work / "fates", self.work / "fates-final"
        if not are_fates(fates, sum(sizes)):
            write_fates(fates, blocks, sizes, self.plan.rules.split)
        if are_fates(final, sum(sizes)):
            return
        with self._given_up():
            self._check_sides(fates, "by chance, of so few; give another --validation, or more proteins")
        if self.plan.homology is None:
            mark_homologs(final, fates, [])
            return
        targets = self.work / "validation.fasta"
        write_fasta(targets, self._numbered(fates, blocks, starts, VALIDATION, renumber=True))
        groups = range(0, len(blocks), _BLOCKS_PER_GROUP)
        with progress("MMseqs2", total=len(groups), unit="groups") as advance:
            for group in groups:
                hits, some = self._hits(group), slice(group, group + _BLOCKS_PER_GROUP)
                if not are_hits(hits, starts[group], starts[min(group + _BLOCKS_PER_GROUP, len(blocks))]):
                    queries = self._numbered(fates, blocks[some], starts[some], TRAINING)
                    search(hits, queries, targets, self.plan.homology, self.workers)
                advance(1)
        mark_homologs(final, fates, (read_hits(self._hits(group))["number"] for group in groups))
        self._point_out_homologs(final)
        try:
            self._check_sides(final, "that resembles no validation protein; are they one family? try --no-homology")
        except ValueError:
            final.unlink()
            raise

    def _point_out_homologs(self, fates: Path) -> None:
        """Tells when validation takes most of training away, as it does from few families."""
        found = count_fates(fates)
        homologs, compared = int(found[HOMOLOG]), int(found[HOMOLOG] + found[TRAINING])
        if 2 * homologs > compared:
            note(
                f"{homologs:,} of {compared:,} training proteins resemble a validation protein and are left out; for a "
                "few families give a higher --min-sequence-identity, --split-by cluster, or --no-homology"
            )

    def _check_sides(self, fates: Path, why: str) -> None:
        """Raises ValueError if a side that is wanted is empty."""
        found = count_fates(fates)
        for name, fate in SIDES.items():
            if not found[fate] and (fate == TRAINING or self.plan.rules.split.share):
                raise ValueError(f"no protein is left for {name}, of {int(found.sum()):,}: none {why}")

    @contextmanager
    def _given_up(self) -> Iterator[None]:
        """Removes the work when the block raises ValueError: with what has to change, none of it would serve."""
        try:
            yield
        except ValueError:
            shutil.rmtree(self.work)
            with suppress(OSError):
                self.output.rmdir()  # if nothing else is in it
            raise

    def _hits(self, block_number: int) -> Path:
        return self.work / f"hits-{block_number // _BLOCKS_PER_GROUP:06d}.npy"

    def _numbered(
        self, fates: Path, blocks: list[Path], starts: list[int], fate: int, renumber: bool = False
    ) -> Iterator[tuple[str, str]]:
        """(number, sequence) of the proteins with a fate: numbers of all that passed cleaning, or anew from 0."""
        given = 0
        for block, start in zip(blocks, starts, strict=False):
            ids, lengths = read_block(block, "ids", "lengths")
            ends = np.cumsum(lengths, dtype=np.int64)
            for number in np.flatnonzero(read_fates(fates, start, len(ends)) == fate).tolist():
                residues = ids[ends[number - 1] if number else 0 : ends[number]]
                yield str(given if renumber else start + number), residues.tobytes().translate(LETTER_OF_ID).decode()
                given += 1

    def _write(self, folder: Path, blocks: list[Path], cleaned: list[Cleaned], starts: list[int]) -> dict[str, Side]:
        tasks = (
            SideTask(
                block=block,
                source=str(one.source),
                fates=self.work / "fates-final",
                start=start,
                hits=self._hits(number) if self.plan.homology else None,
                cut_at=self.plan.cut_at,
            )
            for number, (block, one, start) in enumerate(zip(blocks, cleaned, starts, strict=False))
        )
        names = list(SIDES) if self.plan.rules.split.share else ["train"]
        with (
            ExitStack() as stack,
            (folder / "rejected.tsv").open("w", encoding="utf-8") as rejected,
            progress("writing", total=starts[-1], unit="proteins") as advance,
        ):
            rejected.write("input\trecord\tid\treason\tdetail\n")
            writers = {name: stack.enter_context(SideWriter(folder, name)) for name in names}
            for (shares, lines), one in zip(ordered_map(share_out, tasks, self.workers), cleaned, strict=True):
                for name, writer in writers.items():
                    writer.add(shares[name])
                rejected.write(lines)
                advance(one.num_proteins)
            return {name: writer.side for name, writer in writers.items()}

    def _manifest(self, results: Path, cleaned: list[Cleaned], sides: dict[str, Side]) -> dict[str, Any]:
        sources = [data_file(path) for path in self.plan.inputs]
        files = sorted(path for path in results.iterdir())
        sums = list(ordered_map(checksum, [*sources, *files], min(self.workers, len(sources) + len(files))))
        removed = count_fates(self.work / "fates-final").tolist()
        tallies = _tallies(cleaned)
        return {
            "inputs": [
                {
                    "path": str(path),
                    "bytes": source.stat().st_size,
                    "sha256": total,
                    "records": tallies[path].read,
                    "mended": dict(sorted(tallies[path].notes.items())),
                    "rejected": dict(sorted(tallies[path].skipped.items())),
                    "left_out": left_out(path, self.plan.layout),
                }
                for path, source, total in zip(self.plan.inputs, sources, sums, strict=False)
            ],
            "parameters": self.plan.describe(),
            "versions": versions() | ({"mmseqs2": self._mmseqs} if self._mmseqs else {}),
            "fates": {
                "read": sum(tally.read for tally in tallies.values()),
                "rejected": sum(tally.skipped.total() for tally in tallies.values()),
                "duplicates": removed[DUPLICATE],
                **({"homologs of validation": removed[HOMOLOG]} if self.plan.homology else {}),
                **{name: side.proteins for name, side in sides.items()},
            },
            "sides": {name: describe_side(side) for name, side in sides.items()},
            "files": {
                p.name: {"bytes": p.stat().st_size, "sha256": s}
                for p, s in zip(files, sums[len(sources) :], strict=True)
            },
        }


def _tallies(cleaned: list[Cleaned]) -> dict[Path, Tally]:
    tallies: dict[Path, Tally] = {}
    for one in cleaned:
        tallies.setdefault(one.source, Tally()).absorb(one.tally)
    return tallies

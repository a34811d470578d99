"""What there is to do about mutants, found out and checked before a model is opened."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from d2plm_megatron.data.checksums import samples_of
from d2plm_megatron.files import check_outputs, stem_of
from d2plm_megatron.proteins.tables import check_suffix
from d2plm_megatron.runs.requested import differences
from d2plm_megatron.scoring.assays import Assay, read_wild_type
from d2plm_megatron.scoring.options import DRAWS
from d2plm_megatron.scoring.proteingym import SUMMARY, Reference, of_file, open_folder, read_reference

METHODS = MASKED, WILD_TYPE, ELBO = "masked", "wild-type", "elbo"
COLUMNS = {MASKED: "masked_marginal", WILD_TYPE: "wild_type_marginal", ELBO: "elbo_difference"}
"""The methods, and the columns that they fill."""
ERROR = "elbo_difference_error"

SETTINGS, MEANS = "settings.json", "summary.json"
"""What a folder of scores holds beside them: what was asked for, and the means of what came of it."""


@dataclass(frozen=True)
class Request:
    """How mutants are scored.

    Attributes:
        methods: of COLUMNS; none for the one that suits the model.
        draws: of noise, for the ELBO; None where nothing is said.
        seed: of that noise.
        longest: residues that a model is shown at once.
        tokens_per_pack: that go through it at once.
    """

    methods: tuple[str, ...]
    draws: int | None
    seed: int
    longest: int
    tokens_per_pack: int

    @property
    def num_draws(self) -> int:
        """Those of the ELBO."""
        return self.draws or DRAWS

    @property
    def columns(self) -> list[str]:
        """What is filled beside the table's own columns."""
        return [*(COLUMNS[method] for method in self.methods), *[ERROR] * (ELBO in self.methods and self.num_draws > 1)]


@dataclass(frozen=True)
class Work:
    """Tables of mutants to score, and a heat map to draw.

    Attributes:
        assays: none, one, or those of a folder.
        output: the table to write, or of a folder the folder; None without assays.
        is_folder: of assays.
        wild_type: of the heat map, letters.
        offset: how far positions are ahead of the wild type's.
        heat_map: the PNG to write; None for none.
    """

    assays: tuple[tuple[Reference, Assay], ...]
    output: Path | None
    is_folder: bool
    wild_type: str | None
    offset: int
    heat_map: Path | None

    @classmethod
    def of(
        cls,
        input: Path | None,
        wild_type: str | None,
        output: Path | None,
        reference_file: Path | None,
        score_column: str | None,
        offset: int,
        heat_map: Path | None,
    ) -> "Work":
        """Opens what the options of the command name. Raises ValueError for what does not fit together."""
        if input is None and (heat_map is None or wild_type is None):
            raise ValueError("what is to be scored? give --input, or --heat-map and --wild-type")
        letters = None if wild_type is None else read_wild_type(wild_type)
        of_table = {"output": output, "reference-file": reference_file, "score-column": score_column}
        if input is None and (idle := next((name for name, given in of_table.items() if given is not None), None)):
            raise ValueError(f"--{idle}: goes with --input, which is missing")
        if input is None:
            return cls((), None, False, letters, offset, heat_map)
        references = None if reference_file is None else read_reference(reference_file)
        if input.is_dir():
            if letters or heat_map:
                raise ValueError(f"{input}: a folder has many wild types; --wild-type and --heat-map are of one table")
            assays = open_folder(input, references, score_column, offset)
            return cls(tuple(assays), output or input.with_name(f"{input.name}_scored"), True, None, offset, None)
        reference = of_file(input, references) if references else None
        letters = letters or (reference.wild_type if reference else None)
        assay = Assay.open(input, letters, score_column, offset)
        name = stem_of(input)
        own = reference or Reference(name, input.name, None, name, "")
        written = output or input.with_name(f"{name}.scored.csv")
        return cls(((own, assay),), written, False, assay.wild_type, offset, heat_map)

    def told(self) -> dict[str, Any]:
        """All that decides what is scored, as JSON, with a checksum of a sample of each table."""
        tables = samples_of(assay.path for _, assay in self.assays)
        of_assays = {
            f"{one.name}.{key}": value
            for one, assay in self.assays
            for key, value in (
                ("table", [str(assay.path.resolve()), tables[str(assay.path)]]),
                ("wild_type", assay.wild_type),
                ("score_column", assay.score_column),
            )
        }
        return {"offset": self.offset, **of_assays}

    def check(self, kept: Iterable[Path], told: Mapping[str, Any], overwrite: bool) -> None:
        """Raises ValueError, before any work, for outputs that cannot be written, or a row that is wrong.

        Args:
            kept: files that no command may replace.
            told: all that decides what is written; a folder that was begun so is gone on with.
            overwrite: replace what is there.
        """
        outputs = [self.heat_map, self.heat_map.with_suffix(".csv")] if self.heat_map else []
        if self.heat_map and self.heat_map.suffix != ".png":
            raise ValueError(f"--heat-map {self.heat_map}: a picture ends in .png")
        if self.output and not self.is_folder:
            check_suffix(self.output)
            outputs.append(self.output)
        kept = [*kept, *(assay.path for _, assay in self.assays)]
        check_outputs(outputs, kept, overwrite)
        if self.output and self.is_folder:
            self._check_folder(self.output, kept, told, overwrite)
        for _, assay in self.assays:
            _ = assay.content

    def tables(self, folder: Path) -> list[Path]:
        """The tables of a folder, one of each assay."""
        return [folder / f"{reference.name}.csv" for reference, _ in self.assays]

    def _check_folder(self, folder: Path, kept: Iterable[Path], told: Mapping[str, Any], overwrite: bool) -> None:
        if folder.exists() and not folder.is_dir():
            raise ValueError(f"{folder}: is a file; name a folder to write into")
        begun = (folder / SETTINGS).exists()
        results = [*self.tables(folder), folder / SUMMARY, folder / MEANS]
        check_outputs([*results, folder / SETTINGS], kept, overwrite or begun)
        if not overwrite and (differ := differences(folder / SETTINGS, told)):
            raise ValueError(f"{folder}: begun by another request ({differ}); name another folder, or give --overwrite")

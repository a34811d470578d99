"""What there is to do about mutants, found out and checked before a model is opened."""

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from d2plm_megatron.files import check_outputs
from d2plm_megatron.proteins.tables import check_suffix
from d2plm_megatron.scoring.assays import Assay, read_wild_type
from d2plm_megatron.scoring.proteingym import Reference, of_file, open_folder, read_reference

METHODS = MASKED, WILD_TYPE, ELBO = "masked", "wild-type", "elbo"


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
        name = input.name.split(".")[0]
        own = reference or Reference(name, input.name, None, name, "")
        written = output or input.with_name(f"{name}.scored.csv")
        return cls(((own, assay),), written, False, assay.wild_type, offset, heat_map)

    def check(self, kept: Iterable[Path]) -> None:
        """Raises ValueError, before any work, for outputs that cannot be written, or a row that is wrong.

        Args:
            kept: files that no command may replace.
        """
        outputs = [self.heat_map, self.heat_map.with_suffix(".csv")] if self.heat_map else []
        if self.heat_map and self.heat_map.suffix != ".png":
            raise ValueError(f"--heat-map {self.heat_map}: a picture ends in .png")
        if self.output and not self.is_folder:
            check_suffix(self.output)
            outputs.append(self.output)
        elif self.output and self.output.exists() and not self.output.is_dir():
            raise ValueError(f"{self.output}: is a file; name a folder to write into")
        check_outputs(outputs, [*kept, *(assay.path for _, assay in self.assays)])
        for _, assay in self.assays:
            _ = assay.content

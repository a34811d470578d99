"""How well proteins are predicted to fold, by a command of the user's such as a wrapper of ESMFold.

The contract: `COMMAND` has `{input}` and `{output}` in it. It reads the FASTA file {input}, and writes the CSV file
{output} with the columns id and plddt: a line for every id, once, with the mean pLDDT of that protein, 0 to 100. It
ends with exit code 0. Nothing else is run, and nothing is downloaded here.
"""

import math
import shlex
import subprocess
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np

from d2plm_megatron.console import one_line
from d2plm_megatron.proteins.fasta import write_fasta
from d2plm_megatron.proteins.tables import read_table

_PLACES = ("{input}", "{output}")


def check_fold(command: str) -> None:
    """Raises ValueError where the command names no input or output, or cannot be split into words."""
    for place in _PLACES:
        if place not in command:
            raise ValueError(f"--fold {command!r}: {place} is not in it; write COMMAND {{input}} {{output}}")
    try:
        shlex.split(command)
    except ValueError as error:
        raise ValueError(f"--fold {command!r}: {error}") from None


def plddt(command: str, proteins: dict[str, str]) -> np.ndarray:
    """The pLDDT of proteins, given as letters by id, in their order, float64 [n].

    Raises ValueError with the last line of the command's stderr where it fails, and naming what is wrong in its CSV.
    """
    with TemporaryDirectory() as folder:
        paths = Path(folder, "proteins.fasta"), Path(folder, "plddt.csv")
        write_fasta(paths[0], proteins.items())
        _run(command, *paths)
        try:
            return _read(paths[1], list(proteins))
        except ValueError as error:
            raise ValueError(f"--fold: {str(error).replace(str(paths[1]), 'its CSV')}") from None


def _run(command: str, source: Path, output: Path) -> None:
    words = [word.replace("{input}", str(source)).replace("{output}", str(output)) for word in shlex.split(command)]
    try:
        done = subprocess.run(words, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, check=False)
    except OSError as error:
        raise ValueError(f"--fold: {words[0]} cannot be run: {(error.strerror or str(error)).lower()}") from None
    if done.returncode:
        said = one_line((done.stderr.decode("utf-8", "replace").strip().splitlines() or [""])[-1])
        raise ValueError(f"--fold: {words[0]} ended with exit code {done.returncode}: {said}")
    if not output.is_file():
        raise ValueError(f"--fold: {words[0]} ended well and wrote no {{output}}; it must be a CSV of id and plddt")


def _read(path: Path, ids: list[str]) -> np.ndarray:
    found, asked = dict[str, float](), set(ids)
    for line in read_table(path, ["id", "plddt"]):
        name = line.values["id"]
        if name in found or name not in asked:
            raise ValueError(
                f"{line.where}: id {name} is there {'twice' if name in found else 'and was not asked for'}"
            )
        found[name] = _number(line.where, line.values["plddt"])
    missing = next((name for name in ids if name not in found), None)
    if missing is not None:
        raise ValueError(f"{path}: id {missing} is not in it, which has {len(found)} of {len(ids)}")
    return np.array([found[name] for name in ids])


def _number(where: str, text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not 0 <= value <= 100:
        raise ValueError(f"{where}: plddt {text!r}; expected a number from 0 to 100")
    return value

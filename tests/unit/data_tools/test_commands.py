import subprocess
import sys
from pathlib import Path
from types import ModuleType
from typing import get_args, get_type_hints

import pytest
import typer

from d2plm_megatron.data.indexed_writer import IndexedWriter
from d2plm_megatron.proteins.alphabet import encode
from data_tools import cluster, download, fasta_to_lmdb, inspect_indexed, lmdb_to_indexed, merge, prepare, simulate
from data_tools.formats.lmdb_writer import LmdbWriter

COMMANDS = [prepare, download, fasta_to_lmdb, lmdb_to_indexed, merge, inspect_indexed, cluster, simulate]


@pytest.mark.parametrize("module", COMMANDS)
def test_every_option_is_explained(module, command):
    app = typer.Typer(add_completion=False)
    app.command()(module.main)
    options = typer.main.get_command(app).params
    assert all(option.help for option in options)
    code, out, _ = command(module.main, "--help")
    assert code == 0
    assert all(option.opts[-1] in out for option in options if option.opts[-1].startswith("--"))


def test_no_command_loads_torch_or_what_only_pictures_need():
    imports = ", ".join(module.__name__ for module in COMMANDS)
    code = f"import sys, {imports}; sys.exit(bool({{'torch', 'megatron', 'matplotlib'}} & set(sys.modules)))"
    assert subprocess.run([sys.executable, "-c", code], cwd=Path(__file__).parents[3]).returncode == 0


ABSURD = (
    "-1",
    "0",
    "3",
    "1e20",
    "1e-300",
    "9" * 20,
    "9" * 5000,
    "-" + "9" * 20,
    "nan",
    "inf",
    "-inf",
    "0x10",
    "",
    "4/2",
)
PROTEINS = "".join(f">p{number}\n{'MKTVRQGAV' * (number + 1)}\n" for number in range(40))


def words_of(module: ModuleType, folder: Path) -> tuple[object, ...]:
    """What the command needs besides the option that is tried."""
    source = folder / "x.fasta"
    source.write_text(PROTEINS)
    with LmdbWriter(folder / "x.lmdb") as lmdb, IndexedWriter(folder / "x-1-of-1") as indexed:
        lmdb.add("p", "MKT")
        indexed.add(encode("MKT"))
    return {
        prepare: ("--input", source, "--output", folder / "out", "--no-homology", "--workers", 1, "--long", "split"),
        fasta_to_lmdb: ("--input", source, "--output", folder / "y.lmdb"),
        lmdb_to_indexed: ("--input", folder / "x.lmdb", "--output", folder / "y"),
        merge: ("--output", folder / "x"),
        inspect_indexed: (folder / "x-1-of-1",),
        simulate: ("--output", folder / "y.fasta"),
        download: ("uniref50", "--output", folder / "raw", "--mirror", "nowhere"),
    }[module]


def numbers_of(module: ModuleType) -> list[str]:
    """The options of a command that are numbers, or hold them."""
    types = {name: {kind, *get_args(kind)} for name, kind in get_type_hints(module.main).items()}
    names = [name for name, kinds in types.items() if kinds & {int, float} or name in ("shard", "mmseqs_memory")]
    return [f"--{name.replace('_', '-')}" for name in names]


@pytest.mark.parametrize(
    ("module", "option"), [(module, option) for module in COMMANDS for option in numbers_of(module)]
)
def test_absurd_numbers_end_in_a_line(module, option, command, tmp_path):
    taken = 0
    for number, value in enumerate(ABSURD):
        folder = tmp_path / str(number)
        folder.mkdir()
        code, _, err = command(module.main, *words_of(module, folder), option, value)
        assert code in (0, 2)
        assert code == 0 or (err.startswith("error: ") and err.count("\n") == 1 and len(err) < 2_000), value
        taken += code == 0
    assert taken < len(ABSURD) - 5

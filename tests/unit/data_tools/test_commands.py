import subprocess
import sys
from pathlib import Path

import pytest
import typer

from data_tools import cluster, download, fasta_to_lmdb, inspect_indexed, lmdb_to_indexed, merge, prepare, simulate

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


def test_no_command_needs_torch():
    imports = ", ".join(module.__name__ for module in COMMANDS)
    code = f"import sys, {imports}; sys.exit('torch' in sys.modules or 'megatron' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], cwd=Path(__file__).parents[3]).returncode == 0

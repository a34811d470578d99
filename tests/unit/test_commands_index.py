"""python -m d2plm_megatron lists every command with what it does."""

import re
import subprocess
import sys
from pathlib import Path

from d2plm_megatron.__main__ import commands

ROOT = Path(__file__).parents[2]


def test_the_index_has_every_command_and_recipe() -> None:
    found = dict(commands())
    modules = {Path(call.removeprefix("python ")) for call in found if "recipes/" in call}
    assert modules == {path.relative_to(ROOT) for path in (ROOT / "recipes").glob("[a-z]*.py")}
    for module in ("data_tools.prepare", "d2plm_megatron.checkpoint", "d2plm_megatron.report"):
        assert f"python -m {module}" in found
    assert "python -m verification.tiny_worker" not in found  # torchrun calls it, and no user
    assert all(re.match(r"\S.*\S", says) for says in found.values())


def test_it_is_printed_without_torch() -> None:
    code = "import sys, d2plm_megatron.__main__ as index; index.main(); assert not {'torch', 'rich'} & set(sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert "python -m data_tools.prepare " in done.stdout

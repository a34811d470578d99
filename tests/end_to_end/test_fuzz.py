"""Whatever is damaged is refused clearly, or read as it was: a small share of what verification/fuzz.py tries."""

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]


def test_no_reader_is_fooled_by_damage() -> None:
    command = [sys.executable, "-m", "verification.fuzz", "--rounds", "22", "--seed", "1000"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout[-4000:] + done.stderr[-2000:]
    assert "failures" in done.stdout

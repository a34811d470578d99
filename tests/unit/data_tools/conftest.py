import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from d2plm_megatron import console


@pytest.fixture
def command(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Callable[..., tuple[int, str, str]]:
    """Runs a command as from the command line: (exit code, stdout, stderr)."""

    def run(main: Callable[..., None], *arguments: object) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["command", *map(str, arguments)])
        monkeypatch.setenv("COLUMNS", "200")
        with pytest.raises(SystemExit) as ended:
            console.run(main)
        captured = capsys.readouterr()
        return int(ended.value.code or 0), captured.out, captured.err

    return run


@pytest.fixture
def refused(command: Callable[..., tuple[int, str, str]], tmp_path: Path) -> Callable[..., str]:
    """Runs a command that must refuse: exit code 2, one line on stderr, no file changed; returns the line."""

    def run(main: Callable[..., None], *arguments: object, folder: Path = tmp_path) -> str:
        before = contents(folder)
        code, _, err = command(main, *arguments)
        assert code == 2
        assert err.startswith("error: ") and err.count("\n") == 1
        assert contents(folder) == before
        return err

    return run


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A folder on a disk of 64 KiB."""
    folder = tmp_path / "small_disk"
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", str(folder)]
    if sys.platform != "linux" or subprocess.run(mount, capture_output=True, check=False).returncode:
        pytest.skip("needs the right to mount a small disk")
    yield folder
    subprocess.run(["umount", str(folder)], check=True)


def contents(folder: Path) -> dict[Path, bytes | None]:
    return {path: path.read_bytes() if path.is_file() else None for path in folder.rglob("*")}

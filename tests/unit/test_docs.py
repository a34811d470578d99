"""The pages are built without a warning, their links lead somewhere, and every block is run or says why not."""

import re
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

import d2plm_megatron
from d2plm_megatron.config.other_names import RENAMED
from tests.pages import OWN_TESTS, PAGES, ROOT, RUN, blocks, runnable

LONGEST_README = 150


def _sphinx(source: Path, output: Path) -> subprocess.CompletedProcess[str]:
    options = ["-m", "sphinx", "-b", "html", "--fail-on-warning", "--keep-going", "--quiet", "-c", str(ROOT / "docs")]
    return subprocess.run(
        [sys.executable, *options, str(source), str(output)], cwd=ROOT, capture_output=True, text=True, timeout=120
    )


def test_pages_are_built_without_a_warning(tmp_path: Path) -> None:
    done = _sphinx(ROOT / "docs", tmp_path)
    assert done.returncode == 0, done.stderr
    for page in (ROOT / "docs").glob("*.md"):
        assert (tmp_path / f"{page.stem}.html").exists()
    assert "optimizer.weight_decay" in (tmp_path / "options.html").read_text(encoding="utf-8")


def test_links_that_lead_nowhere_fail_the_build(tmp_path: Path) -> None:
    source = tmp_path / "source"
    source.mkdir()
    wrong = ["[x](gone.md)", "[x](#lost)", "[x](other.md#missing)", "```{toctree}\nabsent\n```"]
    (source / "index.md").write_text("\n\n".join(["# Title", "[right](other.md#there)", *wrong]))
    (source / "other.md").write_text("---\norphan: true\n---\n\n# Other\n\n## There\n")
    done = _sphinx(source, tmp_path / "built")
    assert done.returncode != 0
    warnings = done.stderr.strip().splitlines()
    assert len(warnings) == len(wrong), done.stderr  # the link that is right is none of them
    assert all(any(name in line for line in warnings) for name in ("gone", "lost", "missing", "absent"))


@pytest.mark.parametrize("page", ["README.md", "CONTRIBUTING.md", "CHANGELOG.md"])
def test_links_of_pages_on_the_front_lead_somewhere(page: str) -> None:
    """Sphinx checks those of docs."""
    for path, anchor in re.findall(r"\]\((?!https?:)([^)#]*)#?([^)]*)\)", (ROOT / page).read_text(encoding="utf-8")):
        target = ROOT / (path or page)
        assert target.exists(), path
        headings = re.findall(r"^#+ (.*)$", target.read_text(encoding="utf-8"), re.MULTILINE) if anchor else []
        names = [re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-") for heading in headings]
        assert not anchor or anchor in names, f"{path}#{anchor}"


def test_readme_is_short() -> None:
    assert len((ROOT / "README.md").read_text(encoding="utf-8").splitlines()) <= LONGEST_README


@pytest.mark.parametrize("page", PAGES)
def test_every_block_is_run_or_says_why_not(page: str) -> None:
    found = list(blocks(page))  # or it raises
    assert all(block.reason or page in OWN_TESTS or block in runnable(page) for block in found if block.language in RUN)


@pytest.mark.parametrize(
    ("block", "message"),
    [
        ("```sh\nls\n```", "x.md:3: sh is run by no test"),
        ("```console\n$ ls\n```", "console is run by no test"),
        ("```\nmake test\n```", "holds a command"),
        ("    make test\n", "holds a command"),
        ("```text\n$ python recipes/demo.py\n```", "holds a command"),
        ("```bash no-test:\nls\n```", "say after no-test: why"),
        ("```bash notest: slow\nls\n```", "notest: slow: write no-test: and the reason"),
    ],
)
def test_block_that_nothing_runs_is_refused(block: str, message: str) -> None:
    with pytest.raises(ValueError, match=re.escape(message)):
        list(blocks("x.md", f"# Title\n\n{block}"))


def test_blocks_are_read_as_a_reader_sees_them() -> None:
    text = (
        "# Title\n\n- in a list\n\n  ```bash\n  ls \\\n    -l  # all\n  ```\n\n```bash no-test: needs a GPU\nls\n```\n"
    )
    first, second = blocks("x.md", text)
    assert (first.line, first.reason, first.commands()) == (5, "", ["ls   -l"])
    assert (second.reason, second.commands()) == ("needs a GPU", ["ls"])


def test_pages_with_a_test_of_their_own_have_it() -> None:
    for page, test in OWN_TESTS.items():
        if (ROOT / page).exists():
            assert Path(page).name in (ROOT / test).read_text(encoding="utf-8"), f"{test} runs {page}"


def test_citation_is_complete() -> None:
    """The keys that the format, version 1.2.0, asks for; and the version is that of the package."""
    cited = yaml.safe_load((ROOT / "CITATION.cff").read_text(encoding="utf-8"))
    assert {"cff-version", "message", "title", "authors"} <= cited.keys()
    assert cited["version"] == d2plm_megatron.__version__
    assert all("name" in author for author in cited["authors"])


def test_changelog_has_every_key_that_was_renamed() -> None:
    log = (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")
    missing = [old for old, new in RENAMED.items() if f"| `{old}` | `{new}` |" not in log]
    assert not missing, missing

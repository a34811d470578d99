"""The pages for users, and the blocks of code in them: each is run by a test, or says why not.

The blocks of bash and Python are run by end_to_end/test_pages.py, unless the line that opens them goes on with the
reason why they cannot be, as in "```bash no-test: needs a cluster".
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from markdown_it import MarkdownIt

ROOT = Path(__file__).parents[1]
PAGES = ("README.md", "CONTRIBUTING.md", *sorted(f"docs/{path.name}" for path in (ROOT / "docs").glob("*.md")))
OWN_TESTS = {
    "docs/own_objective.md": "tests/end_to_end/test_own_objective.py",
    "docs/python.md": "tests/end_to_end/test_python_page.py",
    "docs/weights.md": "tests/end_to_end/test_weights_page.py",
}
"""Pages whose blocks are run by a test of their own."""

RUN = ("bash", "python")
NOT_CODE = re.compile(r"|text|yaml|json|toml|html|\{[\w-]+\}")
MARKER = "no-test:"

_A_COMMAND = re.compile(r"[$> ]*(python3?|d2plm|torchrun|srun|sbatch|make|pip|git|mmseqs|import|from \S+ import)\b ")


@dataclass(frozen=True)
class Block:
    """A block of code.

    page    its file, from the root of the repository
    line    of the file, on which the block is opened
    language    the first word after the fence
    reason  why it is not run; "" where it is
    text    what it holds
    """

    page: str
    line: int
    language: str
    reason: str
    text: str

    def commands(self) -> list[str]:
        """The commands of a block of bash, one a line, without their comments."""
        lines = self.text.replace("\\\n", "").splitlines()
        return [command for line in lines if (command := re.sub(r"(^|\s+)#.*", "", line))]


def blocks(page: str, text: str | None = None) -> Iterator[Block]:
    """The blocks of a page, or of a text in its place. Raises ValueError for one that nobody runs or excuses."""
    text = (ROOT / page).read_text(encoding="utf-8") if text is None else text
    for token in MarkdownIt().parse(text):
        if token.type in ("fence", "code_block"):
            assert token.map is not None
            language, _, more = token.info.strip().partition(" ")
            marked = more.startswith(MARKER)
            block = Block(page, token.map[0] + 1, language, more.removeprefix(MARKER).strip(), token.content)
            if problem := _problem(block, more, marked):
                raise ValueError(f"{page}:{block.line}: {problem}")
            yield block


def _problem(block: Block, more: str, marked: bool) -> str | None:
    if block.language not in RUN and not NOT_CODE.fullmatch(block.language):
        return f"{block.language} is run by no test: write {' or '.join(RUN)}, or text for what is no code"
    if block.language not in RUN and any(map(_A_COMMAND.match, block.text.splitlines())):
        return "holds a command: open it with ```bash, or with ```bash no-test: and the reason"
    if marked and not block.reason:
        return "say after no-test: why it cannot be run"
    if block.language in RUN and more and not marked and block.page not in OWN_TESTS:
        return f"{more}: write no-test: and the reason, or nothing"
    return None


def runnable(page: str) -> list[Block]:
    """The blocks of a page that test_pages.py runs."""
    own = page in OWN_TESTS
    return [] if own else [block for block in blocks(page) if block.language in RUN and not block.reason]

"""What people see of a command: one line for an error, a bar with a rate for long work, tables."""

import errno
import importlib.metadata
import os
import re
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import typer
from rich.console import Console, RenderableType
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    SpinnerColumn,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)
from typer.core import TyperCommand

from d2plm_megatron import own_code
from d2plm_megatron.own_code import TRACEBACK_VARIABLE

console = Console(stderr=True, highlight=False)

WAIT_FOR_MAIN_SECONDS = 5

_PACKAGE = "d2plm-megatron"
_INTERRUPTED = 130
_MENDABLE = (ValueError, OSError, EOFError, ModuleNotFoundError)
_LONGEST_WORD, _LONGEST_LINE = 300, 1_500
_UsageError: Any = typer.BadParameter.__base__  # it has no public name of its own


class _Command(TyperCommand):
    """A command whose list options take several values at once: `--input a b c` is `--input a --input b --input c`."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        lists = {name for option in self.params if getattr(option, "multiple", False) for name in option.opts}
        spread: list[str] = []
        option = ""
        for word in args:
            if word.startswith("-"):
                option = name if (name := word.partition("=")[0]) in lists else ""
            elif option and spread[-1] != option:
                spread.append(option)
            spread.append(word)
        return super().parse_args(ctx, spread)


def run(
    *commands: Callable[..., Any],
    program: str | None = None,
    words: Sequence[str] | None = None,
    advise: Callable[[str], str | None] = lambda option: None,
) -> None:
    """Runs a command with its arguments read from the command line by its type hints; ends the process.

    Of several, the one that the first argument names. An option that is a list takes one or more values.

    Args:
        commands: functions whose parameters typer can read.
        program: what the help calls the command; None for the name of the file that runs.
        words: of the command line, after the command; None for all of this process.
        advise: says what to write instead of an option that there is none of; None where it does not know.

    What a user can mend (ValueError, OSError, a missing optional package, a wrong option) ends in one line on stderr
    and exit code 2; set D2PLM_TRACEBACK=1 to see where it came from.
    """
    app = typer.Typer(
        add_completion=False,
        pretty_exceptions_enable=False,
        rich_markup_mode=None,
        context_settings={"help_option_names": ["-h", "--help"]},
    )
    for command in commands:
        app.command(cls=_Command)(command)
    with errors_as_one_line():
        try:
            code = app(args=words, prog_name=program, standalone_mode=False)
        except _UsageError as error:
            if advice := advise(getattr(error, "option_name", "")):
                raise ValueError(f"{error.message}; {advice}") from error
            raise ValueError(f"{error.format_message()} (--help explains the options)") from error
        except typer.Abort as error:  # typer's word for these two
            raise error.__cause__ or KeyboardInterrupt from error
        if code == _INTERRUPTED:
            raise KeyboardInterrupt
    raise SystemExit(code or 0)


@contextmanager
def errors_as_one_line() -> Iterator[None]:
    """Turns errors that a user can mend into one line on stderr and exit code 2: all those in a file of the user's."""
    try:
        yield
    except Exception as error:
        own = own_code.told(error)
        if os.environ.get(TRACEBACK_VARIABLE) or not (own or isinstance(error, _MENDABLE)):
            raise
        if os.environ.get("RANK", "0") != "0":
            time.sleep(WAIT_FOR_MAIN_SECONDS)  # in which torchrun ends this process, if the main one has said the same
        print(f"error: {one_line(own) if own else describe(error)}", file=sys.stderr)
        raise SystemExit(2) from None
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        raise SystemExit(_INTERRUPTED) from None


def show(table: RenderableType, width: int | None = None) -> None:
    """Prints a table on stdout, as plain text: what looks like markup in it comes from a name or a file.

    Args:
        table: what to print.
        width: in characters, where there is no terminal to fill.
    """
    Console(width=None if sys.stdout.isatty() else width, markup=False, emoji=False, highlight=False).print(table)


def counted(number: int, noun: str) -> str:
    """A number with its noun: 1 pack, 2,000 packs, 3 processes."""
    return f"{number:,} {noun if number == 1 else noun + ('es' if noun.endswith('s') else 's')}"


def span(seconds: float) -> str:
    """A time in the unit that suits it: 90 seconds, 2.5 hours, 12.0 days."""
    for unit, length in (("days", 86_400), ("hours", 3600), ("minutes", 60)):
        if seconds >= 2 * length:
            return f"{seconds / length:,.1f} {unit}"
    return f"{seconds:,.0f} seconds"


def note(text: str) -> None:
    """Says on stderr, once for all processes, what a user may want to know and need not act on."""
    if os.environ.get("RANK", "0") == "0":
        print(f"note: {text}", file=sys.stderr, flush=True)


def describe(error: Exception) -> str:
    """The error in words, as one line of a sane length: for a system error its reason and the file."""
    if isinstance(error, ModuleNotFoundError) and error.name:
        return f"{error}{_how_to_get(error.name)}"
    if isinstance(error, OSError) and error.strerror:
        return one_line(f"{error.filename}: {reason(error)}" if error.filename else reason(error))
    return one_line(str(error))


def _how_to_get(module: str) -> str:
    """The extra of this package that brings a module, as a command to append to a message; nothing where none does."""
    try:
        requirements = importlib.metadata.requires(_PACKAGE) or ()
    except importlib.metadata.PackageNotFoundError:  # what runs is a checkout that was never installed
        return ""
    for requirement in requirements:
        name, _, marker = requirement.partition(";")
        extra = re.search(r"extra == ['\"](\w+)['\"]", marker)
        if extra and re.match(r"[\w-]+", name)[0].replace("-", "_") == module.partition(".")[0]:  # type: ignore[index]
            return f"; pip install '{_PACKAGE}[{extra[1]}]'"
    return ""


def one_line(text: str) -> str:
    """Text with words of others in it, fit for the screen.

    Long words and long lines lose their middle, white space becomes a space, and what does not print its escape.
    """
    words = (_clipped(word, _LONGEST_WORD) for word in _clipped(text, 10 * _LONGEST_LINE).split())
    printable = (c if c.isprintable() else c.encode("unicode_escape").decode() for c in " ".join(words))
    return _clipped("".join(printable), _LONGEST_LINE)


def _clipped(text: str, longest: int) -> str:
    tail = longest // 3
    return text if len(text) <= longest else f"{text[: longest - tail]}...{text[-tail:]}"


def reason(error: OSError) -> str:
    """Of a system error, without the file: the system's words, or those that the program has put in their place."""
    if error.errno is None or error.strerror != os.strerror(error.errno):
        return error.strerror or str(error)
    return "no space left on the device" if error.errno == errno.ENOSPC else error.strerror.lower()


@contextmanager
def progress(description: str, total: int | None = None, unit: str = "") -> Iterator[Callable[[int], None]]:
    """A progress bar on stderr with count, rate and estimate; yields a function that advances it.

    Without a terminal nothing is drawn.
    """
    columns = (
        SpinnerColumn(),
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn(unit + " {task.fields[rate]}"),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=console, disable=not console.is_terminal) as bar:
        task = bar.add_task(description, total=total, rate="")

        def advance(amount: int = 1) -> None:
            bar.advance(task, amount)
            speed = bar.tasks[0].finished_speed or bar.tasks[0].speed
            if speed:
                bar.update(task, rate=f"{speed:,.0f}/s")

        yield advance

import sys
from pathlib import Path
from typing import Annotated

import pytest
import typer
from hypothesis import given
from hypothesis import strategies as st
from rich.table import Table

from d2plm_megatron.console import counted, describe, one_line, run, show


def ended(monkeypatch: pytest.MonkeyPatch, *words: str) -> int:
    def main(
        inputs: Annotated[list[Path], typer.Option("--input")],
        number: Annotated[int, typer.Option(min=1)] = 1,
        flag: bool = False,
    ) -> None:
        print(*inputs, number, flag)
        if number == 7:
            raise KeyboardInterrupt
        if number == 8:
            raise ValueError(f"x: {'M' * 10_000_000}\n\x1b[31m; do that")

    monkeypatch.setattr(sys, "argv", ["command", *words])
    with pytest.raises(SystemExit) as end:
        run(main)
    return int(end.value.code or 0)


@pytest.mark.parametrize(
    "words",
    ["--input a b c --number 3", "--input a --input b --number 3 --input c", "--number 3 --input=a b --input c"],
)
def test_an_option_that_is_a_list_takes_one_or_more_values(monkeypatch, capsys, words):
    assert ended(monkeypatch, *words.split()) == 0
    assert capsys.readouterr().out == "a b c 3 False\n"


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ("--input a --number 1e20", "--number"),
        ("--input a --number 0", "--number"),
        ("--input a --number -3", "--number"),
        ("--number 3", "Missing option '--input'"),
        ("--input a --flag b", "unexpected extra argument"),
        ("--inptu a", "--inptu"),
    ],
)
def test_a_wrong_option_is_one_line(monkeypatch, capsys, words, message):
    assert ended(monkeypatch, *words.split()) == 2
    err = capsys.readouterr().err
    assert err.startswith("error: ") and err.count("\n") == 1
    assert message in err and "--help" in err


def test_an_interrupt_and_an_endless_message_are_one_line(monkeypatch, capsys):
    assert ended(monkeypatch, "--input", "a", "--number", "7") == 130
    assert capsys.readouterr().err == "interrupted\n"
    assert ended(monkeypatch, "--input", "a", "--number", "8") == 2
    err = capsys.readouterr().err
    assert err.startswith("error: x: MMM") and err.endswith("; do that\n") and len(err) < 500
    assert err.count("\n") == 1 and "\x1b" not in err


@given(st.text(max_size=3_000), st.integers(1, 200))
def test_a_line_is_bounded_and_prints(text, times):
    line = one_line(text * times)
    assert len(line) <= 1_503
    assert line.isprintable()


@pytest.mark.parametrize(
    ("module", "hint"),
    [
        ("transformers", "; pip install 'd2plm-megatron[dev]'"),
        ("datasets.utils", "; pip install 'd2plm-megatron[dev]'"),
        ("wandb", "; pip install 'd2plm-megatron[track]'"),
        ("hypothesis_of_mine", ""),
    ],
)
def test_a_missing_module_is_named_with_the_extra_that_brings_it(module, hint):
    error = ModuleNotFoundError(f"No module named '{module}'", name=module)
    assert describe(error) == f"No module named '{module}'{hint}"


def test_tables_are_plain_text(capsys):
    table = Table(title="run [red] :A:")
    table.add_column("[track]")
    table.add_row("cubic:A:B [/bold]")
    show(table)
    printed = capsys.readouterr().out
    assert "run [red] :A:" in printed and "[track]" in printed and "cubic:A:B [/bold]" in printed


def test_numbers_with_their_nouns():
    assert [counted(1, "pack"), counted(0, "pack"), counted(2_000, "process")] == [
        "1 pack",
        "0 packs",
        "2,000 processes",
    ]


def test_a_line_of_plain_words_stays_as_it_is():
    assert one_line("no space left on the device, ß 'x'") == "no space left on the device, ß 'x'"

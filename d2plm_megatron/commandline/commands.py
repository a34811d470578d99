"""All commands by name. Each is found and imported when it is called, so that none pays for another."""

import ast
import sys
from collections.abc import Sequence
from importlib import import_module
from importlib.machinery import ModuleSpec
from importlib.util import find_spec
from pathlib import Path

import d2plm_megatron
from d2plm_megatron.config.checks import nearest
from d2plm_megatron.console import errors_as_one_line, run

PROGRAM = "d2plm"
COMMANDS = {
    "download": "data_tools.download",
    "simulate": "data_tools.simulate",
    "prepare": "data_tools.prepare",
    "inspect": "data_tools.inspect_indexed",
    "recipes": "commandline.recipes",
    "rehearse": "rehearsal.__main__",
    "train": "commandline.train",
    "evaluate": "evaluation.__main__",
    "judge": "evaluation.judge",
    "generate": "generation.__main__",
    "score": "scoring.__main__:score",
    "mutations": "scoring.__main__:mutations",
    "embed": "scoring.__main__:embed",
    "launch": "launchers.__main__",
    "report": "report.__main__",
    "metrics plot": "runs.__main__:plot",
    "metrics samples": "tracking.__main__:samples",
    "checkpoint inspect": "checkpoint.__main__:inspect",
    "checkpoint verify": "checkpoint.__main__:verify",
    "checkpoint strip": "checkpoint.__main__:strip",
    "checkpoint consolidate": "checkpoint.__main__:consolidate",
    "sweep show": "launchers.sweep.show",
    "data cluster": "data_tools.cluster",
    "data merge": "data_tools.merge",
    "data fasta-to-lmdb": "data_tools.fasta_to_lmdb",
    "data lmdb-to-indexed": "data_tools.lmdb_to_indexed",
}
"""Where each command is: its module, as from the package, and its function, which is `main` unless another is named.

A function `advise` beside it says what to write instead of an option that there is none of.
"""

HEADLINE = """\
Protein language models on Megatron-core, on a laptop or a cluster: absorbing
diffusion, discrete flow matching, masked language modelling. To begin with:

    d2plm prepare --input proteins.fasta --output data/mine --validation 0.05
    d2plm train absorbing_tiny data.train=data/mine/train data.validation=data/mine/validation name=mine
    d2plm generate runs/mine --num-sequences 64 --length 100:200

All commands:
"""


def main() -> None:
    """Runs the command that the first words of the command line name, or lists the commands; ends the process."""
    words = sys.argv[1:]
    with errors_as_one_line():
        if words == ["--version"]:
            print(f"{PROGRAM} {d2plm_megatron.__version__}")
        elif name := _called(words):
            _run(name, words[len(name.split()) :])
        else:
            print(_index(words[0] if words and words[0] in _groups() else None))


def summary(name: str) -> str:
    """The first line of what a command says of itself, read from its file without running it."""
    module, _, function = COMMANDS[name].partition(":")
    origin = _spec(module).origin
    assert origin is not None
    tree = ast.parse(Path(origin).read_text(encoding="utf-8"))
    [found] = [part for part in tree.body if isinstance(part, ast.FunctionDef) and part.name == (function or "main")]
    return (ast.get_docstring(found) or "").partition("\n")[0]


def _called(words: Sequence[str]) -> str | None:
    """The command that is called; None where only help is asked for. Raises ValueError for one that there is not."""
    asked = not words or words[0] in ("-h", "--help")
    in_group = bool(words) and words[0] in _groups()
    if asked or (in_group and words[1:2] in ([], ["-h"], ["--help"])):
        return None
    name = " ".join(words[: 2 if in_group else 1])
    if name in COMMANDS:
        return name
    near = nearest(name, COMMANDS)
    raise ValueError(
        f"{name}: no such command{f'; did you mean {PROGRAM} {near}?' if near else ''} (see {PROGRAM} --help)"
    )


def _groups() -> set[str]:
    return {name.split()[0] for name in COMMANDS if " " in name}


def _index(group: str | None) -> str:
    rows = [(f"{PROGRAM} {name}", summary(name)) for name in COMMANDS if group in (None, name.split()[0])]
    width = max(len(call) for call, _ in rows)
    head = [HEADLINE] if group is None else []
    calls = [f"{call:{width}}  {says}" for call, says in rows]
    return "\n".join([*head, *calls, "", "Each explains its options with --help."])


def _run(name: str, words: Sequence[str]) -> None:
    path, _, function = COMMANDS[name].partition(":")
    module = import_module(_spec(path).name)
    advise = getattr(module, "advise", lambda option: None)
    run(getattr(module, function or "main"), program=f"{PROGRAM} {name}", words=words, advise=advise)


def _spec(module: str) -> ModuleSpec:
    """Where a module is: in the package, or in a checkout beside it."""
    for name in (f"{d2plm_megatron.__name__}.{module}", module):
        try:
            if found := find_spec(name):
                return found
        except ModuleNotFoundError:  # what it would be in
            continue
    raise ValueError(f"{module}: not installed; run `pip install .` in a checkout, or set PYTHONPATH to its folder")

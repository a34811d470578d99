"""The table of what proteins get alone and in company."""

from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from benchmarks.asking import difference, main, random_letters
from d2plm_megatron import Recipe, train
from d2plm_megatron.config import Data, Model, Train


def test_a_row_for_each_method(
    write_proteins: Callable[..., Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = train(
        Recipe(
            output=str(tmp_path),
            model=Model(num_layers=1, hidden_size=32, num_attention_heads=2, ffn_hidden_size=64),
            data=Data(train=str(write_proteins([40] * 8)), max_length_residues=40, tokens_per_pack=64),
            train=Train(max_steps=1, precision="fp32", global_batch_tokens=64),
        )
    )
    capsys.readouterr()
    threads = torch.get_num_threads()
    main(run, proteins=3, repeats=1)
    torch.set_num_threads(threads)
    printed = capsys.readouterr().out
    rows = {line.split()[1]: line.split() for line in printed.splitlines() if line.startswith("│")}
    assert rows.keys() == {"embed", "log_probs", "perplexity"}
    assert all(float(row[5]) < 1e-3 * float(row[3]) for row in rows.values())
    assert "torch 2" in printed


def test_differences_are_seen() -> None:
    assert len(set(random_letters(3))) == 3 and random_letters(3) == random_letters(3)
    assert difference([1.0, 2.0], [1.0, 2.5]) == 0.5

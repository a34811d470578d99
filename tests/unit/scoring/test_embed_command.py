"""Embeddings in files, by the readers of others, against what a model gives when it is asked at once."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from pyarrow import parquet
from safetensors import safe_open

from d2plm_megatron.inference.model import TrainedModel
from d2plm_megatron.scoring import embeddings
from d2plm_megatron.scoring.__main__ import embed
from d2plm_megatron.scoring.embeddings import Shape
from d2plm_megatron.scoring.given import Given

PROTEINS = {"one": "MKTVRQGLLAGVSERTIDPK", "two/2": "LAGVSERTIDPKQNFYMHWCXB" * 2, "short": "m", "é": "GGSGGSWWY" * 5}


@pytest.fixture
def fasta(tmp_path: Path) -> Path:
    path = tmp_path / "x.fasta"
    path.write_text("".join(f">{name} of mine\n{letters}*\n" for name, letters in PROTEINS.items()))
    return path


def read(path: Path) -> dict[str, np.ndarray]:
    if path.suffix == ".parquet":
        return {row["id"]: np.array(row["embedding"]) for row in parquet.read_table(path).to_pylist()}
    with safe_open(path, "np") as found:
        return {name: found.get_tensor(name) for name in found.keys()}  # noqa: SIM118  (it has no iterator)


@pytest.mark.parametrize("suffix", embeddings.SUFFIXES)
@pytest.mark.parametrize(("layer", "mean", "dtype"), [(-1, False, "fp32"), (0, True, "fp32"), (1, False, "fp16")])
def test_a_file_holds_what_the_model_gives(
    layer: int, mean: bool, dtype: str, suffix: str, fasta: Path, trained: Callable[[str], Path], monkeypatch, capsys
) -> None:
    """In many packs and row groups, with the ids in order."""
    monkeypatch.setattr(embeddings, "_RESIDUES_AT_ONCE", 50)
    output = fasta.with_suffix(suffix)
    embed(trained("timed"), fasta, output, layer=layer, mean=mean, dtype=dtype, tokens_per_pack=48)
    found = read(output)
    with TrainedModel.open(trained("timed")) as model:
        expected = model.embed(list(PROTEINS.values()), layer=layer, mean=mean)
    assert sorted(found) == sorted(PROTEINS)
    for name, values in zip(PROTEINS, expected, strict=True):
        assert found[name].shape == values.shape
        assert np.allclose(found[name], values, rtol=2e-5, atol=2e-5 if dtype == "fp32" else 2e-3)
    assert f"4 proteins, [{'' if mean else 'residues, '}32], {dtype}" in capsys.readouterr().out


def test_types_are_those_that_were_asked_for(fasta: Path, trained: Callable[[str], Path]) -> None:
    for suffix in embeddings.SUFFIXES:
        embed(trained("absorbing"), fasta, fasta.with_suffix(suffix), dtype="fp16", mean=True)
    with safe_open(fasta.with_suffix(".safetensors"), "np") as found:
        assert found.get_tensor("one").dtype == np.float16
        assert found.metadata() == {**found.metadata(), "step": "12", "weights": "ema", "layer": "2"}
    schema = parquet.read_schema(fasta.with_suffix(".parquet"))
    assert str(schema.field("embedding").type) == "fixed_size_list<element: halffloat>[32]"


@pytest.mark.parametrize(
    ("text", "options", "message"),
    [
        ("", {}, "empty"),
        (">a\nMK\n>b\nMJ\n", {}, r"record b: 'J' at position 2 is no residue"),
        (">a\nMK\n>b\n\n", {}, "record b: no residue in it"),
        (">a\nMK\n>b\nMK\n>a x\nM\n", {}, "records 1 and 3 have the same id, a; give each its own"),
        (">a\nMK\n", {"layer": 3}, "--layer 3: must lie between -3 and 2"),
        (">a\nMK\n", {"dtype": "int8"}, "--dtype int8: allowed are fp32, fp16"),
        (">a\nMK\n", {"output": Path("x.csv")}, r"a table ends in .safetensors or .parquet"),
        (">__metadata__\nMK\n", {}, "the id __metadata__ cannot be a name"),
    ],
)
def test_what_cannot_be_embedded_is_one_line(text: str, options: dict, message: str, fasta: Path, trained) -> None:
    fasta.write_text(text)
    with pytest.raises(ValueError, match=message):
        embed(trained("absorbing"), fasta, **{"output": fasta.with_suffix(".safetensors"), **options})
    assert not fasta.with_suffix(".safetensors").exists()


def test_more_names_than_a_header_holds_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(embeddings, "_LARGEST_HEADER", 100)
    given = Given(tmp_path / "x.fasta", ("a", "b"), (3, 4))
    with pytest.raises(ValueError, match="the names of 2 proteins take 136 bytes"):
        embeddings.write_embeddings(tmp_path / "x.safetensors", given, Shape(8, False, "fp32"), {})

import csv
from itertools import product
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import save_file

from d2plm_megatron import config
from d2plm_megatron.config import OBJECTIVES, MetricFlow
from d2plm_megatron.proteins import distances
from d2plm_megatron.proteins.alphabet import CANONICAL_LETTERS as LETTERS

VECTORS = dict(zip("ACDEFGHIKLMNPQRSTVWY", np.random.default_rng(0).normal(size=(20, 3)), strict=True))


def write_csv(path: Path, vectors: dict[str, np.ndarray]) -> Path:
    with path.open("w", newline="") as file:
        csv.writer(file).writerows([["letter", "x", "y", "z"], *([key, *row] for key, row in vectors.items())])
    return path


def test_blosum62_by_hand_and_as_a_metric() -> None:
    """s(I, I) = 4, s(V, V) = 4, s(I, V) = 3, and W with 11 and -3."""
    table = distances.blosum62()
    assert table[LETTERS.index("I"), LETTERS.index("V")] == pytest.approx(np.sqrt(4 + 4 - 6))
    assert table[LETTERS.index("W"), LETTERS.index("V")] == pytest.approx(np.sqrt(11 + 4 + 6))
    assert (table == table.T).all() and (table.diagonal() == 0).all()
    assert (table[~np.eye(20, dtype=bool)] > 0).all()
    assert all(table[x, y] <= table[x, z] + table[z, y] + 1e-12 for x, y, z in product(range(20), repeat=3))
    centre = np.eye(20) - 1 / 20
    assert np.linalg.eigvalsh(-centre @ table**2 @ centre).min() > -1e-12  # points of a Euclidean space have it


@pytest.mark.parametrize("power", [0.5, 1.0, 2.0])
def test_powers_keep_the_mean_and_the_order(power: float) -> None:
    raised, table = np.array(distances.to_power(distances.blosum62(), power)), distances.blosum62()
    pairs = np.triu_indices(20, 1)
    assert raised[pairs].mean() == pytest.approx(1)
    assert raised[0, 1] / raised[2, 3] == pytest.approx((table[0, 1] / table[2, 3]) ** power)


@pytest.mark.parametrize("suffix", [".csv", ".safetensors"])
def test_a_table_of_embeddings_is_kept_as_its_distances(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"table{suffix}"
    if suffix == ".csv":
        write_csv(path, {"B": np.zeros(3), **VECTORS})
    else:
        save_file({"B": np.zeros(3), **VECTORS}, path)
    options = MetricFlow(distance=str(path))
    expected = np.array([[np.linalg.norm(VECTORS[a] - VECTORS[b]) for b in LETTERS] for a in LETTERS])
    expected /= expected[np.triu_indices(20, 1)].mean()
    np.testing.assert_allclose(np.array(options.distances()), expected, rtol=2e-3, atol=0)
    path.unlink()
    assert MetricFlow(distance=options.distance) == options  # as a saved recipe has it
    write_csv(tmp_path / "other.csv", {**VECTORS, "W": np.ones(3)})
    assert MetricFlow(distance=str(tmp_path / "other.csv")) != options


BAD = {
    "nothing": ({}, "table.csv: there is no embedding of L; the 20"),
    "no W": ({key: row for key, row in VECTORS.items() if key != "W"}, "table.csv: there is no embedding of W; the 20"),
    "twice": ({**VECTORS, "I": VECTORS["V"]}, "table.csv: V and I have the same embedding, so that nothing could tell"),
    "short": ({**VECTORS, "V": np.ones(2)}, "table.csv: all embeddings must be of one length"),
    "nan": ({**VECTORS, "V": np.array([0, np.nan, 1])}, "table.csv: an embedding has a number that is not finite"),
    "word": (
        {**VECTORS, "V": np.array(["1", "one", "2"])},
        "table.csv, line 19: after the letter V all must be",
    ),
}


@pytest.mark.parametrize("name", BAD)
def test_what_is_wrong_in_a_table_is_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    vectors, words = BAD[name]
    write_csv(tmp_path / "table.csv", vectors)
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ValueError) as refusal:
        MetricFlow(distance="table.csv")
    assert str(refusal.value).startswith(f"objective.distance={words}") and "\n" not in str(refusal.value)


def test_files_that_are_none(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"^objective\.distance=blosum26: cannot be read \(No such file"):
        MetricFlow(distance="blosum26")
    (tmp_path / "table.safetensors").write_bytes(b"\xff" * 40)
    with pytest.raises(ValueError, match=r"table\.safetensors: is no \.safetensors file, and a table as text must be"):
        MetricFlow(distance=str(tmp_path / "table.safetensors"))
    with pytest.raises(ValueError, match=r"needs model\.time_conditioning=true"):
        config.Recipe(objective=MetricFlow())
    assert OBJECTIVES["metric_flow"] is MetricFlow

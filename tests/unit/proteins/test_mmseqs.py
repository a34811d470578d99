"""MMseqs2 finds planted relatives, clusters them, and says what is wrong."""

import random
import shutil
from pathlib import Path

import numpy as np
import pytest

from d2plm_megatron.proteins import mmseqs
from d2plm_megatron.proteins.alphabet import CANONICAL_LETTERS
from d2plm_megatron.proteins.mmseqs import SearchOptions, cluster, search, write_numbered

needs_mmseqs = pytest.mark.skipif(shutil.which("mmseqs") is None, reason="needs MMseqs2")
STRICT = SearchOptions(min_sequence_identity=0.5, min_coverage=0.8, sensitivity=7.0)


def random_proteins(number: int, length: int = 100, seed: int = 0) -> list[str]:
    rng = random.Random(seed)
    return ["".join(rng.choices(CANONICAL_LETTERS, k=length)) for _ in range(number)]


def relative(sequence: str, changed: int) -> str:
    """The sequence with its first residues of every fifth place changed."""
    letters = list(sequence)
    for place in range(0, 5 * changed, 5):
        letters[place] = CANONICAL_LETTERS[CANONICAL_LETTERS.index(letters[place]) - 1]
    return "".join(letters)


@needs_mmseqs
def test_matches_name_query_and_target_by_number_with_identity_and_coverage(tmp_path: Path) -> None:
    targets = random_proteins(30)
    strangers = random_proteins(3, seed=1)
    queries = [strangers[0], relative(targets[7], 10), strangers[1], targets[20][:60], targets[3], strangers[2]]
    write_numbered(tmp_path / "queries.fasta", queries)
    write_numbered(tmp_path / "targets.fasta", targets)
    found = search(tmp_path / "queries.fasta", tmp_path / "targets.fasta", STRICT)
    assert found[["query", "target"]].tolist() == [(1, 7), (4, 3)]  # 60 of 100 residues are too little of the target
    assert found["identity"] == pytest.approx([0.9, 1.0], abs=0.02)
    assert found["query_coverage"].min() > 0.9 and found["e_value"].max() < 1e-10
    loose = search(tmp_path / "queries.fasta", tmp_path / "targets.fasta", SearchOptions(min_coverage=0.5))
    assert (3, 20) in loose[["query", "target"]].tolist()
    assert loose["target_coverage"][loose["query"] == 3] == pytest.approx(0.6, abs=0.01)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["queries.fasta", "targets.fasta"]


@needs_mmseqs
def test_a_limit_of_matches_ends_the_search_of_a_query(tmp_path: Path) -> None:
    [ancestor] = random_proteins(1)
    write_numbered(tmp_path / "queries.fasta", [ancestor])
    write_numbered(tmp_path / "targets.fasta", [relative(ancestor, changed) for changed in range(1, 9)])
    paths = tmp_path / "queries.fasta", tmp_path / "targets.fasta"
    assert len(search(*paths, STRICT)) == 8
    assert len(search(*paths, SearchOptions(min_sequence_identity=0.5, max_matches=1))) == 1


@needs_mmseqs
def test_clusters_are_the_planted_families(tmp_path: Path) -> None:
    ancestors = random_proteins(5)
    family = [number % 5 for number in range(30)]
    write_numbered(tmp_path / "x.fasta", [relative(ancestors[own], number // 5) for number, own in enumerate(family)])
    found = cluster(tmp_path / "x.fasta", 0.7)
    assert np.array_equal(found[found], found)  # a representative represents itself
    assert len(found) == 30 and len(set(found.tolist())) == 5
    assert all(family[representative] == own for representative, own in zip(found.tolist(), family, strict=True))
    assert [path.name for path in tmp_path.iterdir()] == ["x.fasta"]


@pytest.mark.parametrize(("queries", "targets"), [([], ["MKTVRQG"]), (["MKTVRQG"], []), ([], [])])
def test_without_a_protein_nothing_matches(tmp_path: Path, queries: list[str], targets: list[str]) -> None:
    write_numbered(tmp_path / "queries.fasta", queries)
    write_numbered(tmp_path / "targets.fasta", targets)
    assert len(search(tmp_path / "queries.fasta", tmp_path / "targets.fasta", STRICT)) == 0
    if not queries:
        assert len(cluster(tmp_path / "queries.fasta", 0.5)) == 0


@needs_mmseqs
def test_a_failure_is_told_in_its_words_and_leaves_nothing(tmp_path: Path) -> None:
    (tmp_path / "x.fasta").write_text("no FASTA\n")
    with pytest.raises(ValueError, match=r"mmseqs easy-search failed with exit code 1: .+"):
        search(tmp_path / "x.fasta", tmp_path / "x.fasta", STRICT)
    assert [path.name for path in tmp_path.iterdir()] == ["x.fasta"]


def test_without_mmseqs_says_how_to_install_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    write_numbered(tmp_path / "x.fasta", ["MKTVRQG"])
    for use in (mmseqs.version, lambda: search(tmp_path / "x.fasta", tmp_path / "x.fasta", STRICT)):
        with pytest.raises(ValueError, match="apt-get install mmseqs2"):
            use()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"min_sequence_identity": 2}, "--min-sequence-identity 2: expected 0 to 1"),
        ({"min_coverage": -0.1}, "--min-coverage -0.1: expected 0 to 1"),
        ({"sensitivity": 9}, "--sensitivity 9: expected 1 to 7.5"),
        ({"memory": "4 GB"}, "--mmseqs-memory 4 GB: expected a number"),
    ],
)
def test_refuses_options_that_cannot_be(options: dict[str, float], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        SearchOptions(**options)

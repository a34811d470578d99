import tempfile
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from d2plm_megatron.data.cluster_file import write_clusters
from d2plm_megatron.data.clusters import Clusters
from d2plm_megatron.data.draws import draw_members
from d2plm_megatron.rng import KeyedRng


def members_of(clusters: Clusters) -> list[list[int]]:
    [(members, sizes)] = clusters.pieces()
    return [own.tolist() for own in np.split(members, np.cumsum(sizes)[:-1])]


@settings(max_examples=40)
@given(st.lists(st.integers(-3, 9), min_size=1, max_size=50))
def test_clusters_are_those_written(cluster_of):
    with tempfile.TemporaryDirectory() as folder:
        clusters = Clusters(write_clusters(Path(folder, "p"), np.array(cluster_of)), len(cluster_of))
        found = members_of(clusters)
    names = sorted(set(cluster_of))
    assert len(clusters) == len(names)
    assert found == [[i for i, of in enumerate(cluster_of) if of == name] for name in names]


@pytest.fixture
def clusters(tmp_path) -> Clusters:
    """Of 1, 2, ..., 6 proteins, whose members are not neighbours."""
    cluster_of = np.random.default_rng(0).permutation(np.repeat(np.arange(6), np.arange(1, 7)))
    return Clusters(write_clusters(tmp_path / "p", cluster_of), 21)


def test_members_are_drawn_evenly_by_pass_and_cluster(clusters):
    passes = 600
    drawn = torch.stack([draw_members(clusters, torch.arange(6), KeyedRng(5, epoch)) for epoch in range(passes)])
    for cluster in range(6):
        members = members_of(clusters)[cluster]
        counts = np.bincount(drawn[:, cluster].numpy(), minlength=21)[members]
        assert counts.sum() == passes  # none but its own
        expected = passes / len(members)
        assert ((counts - expected) ** 2 / expected).sum() < 20.6  # at most 5 degrees of freedom, p = 0.001


def test_a_member_does_not_depend_on_what_is_drawn_with_it(clusters):
    rng = KeyedRng(5, 2)
    together = draw_members(clusters, torch.arange(6), rng)
    assert [int(draw_members(clusters, torch.tensor([number]), rng)) for number in range(6)] == together.tolist()
    assert torch.equal(draw_members(clusters, torch.arange(6).flip(0), rng), together.flip(0))


DAMAGES = {
    "other data": (np.array([0, 2, 4, 0, 1, 2, 3]), 5, "does not hold the clusters of 5 proteins"),
    "type": (np.array([0, 2, 0, 1], dtype=np.int32), 2, "does not hold the clusters of 2 proteins"),
    "first boundary": (np.array([1, 2, 0, 1]), 2, "does not hold"),
    "empty cluster": (np.array([0, 2, 2, 0, 1]), 2, "is damaged: some cluster has no members"),
    "boundaries that fall": (np.array([0, 3, 1, 2, 0, 1]), 2, "is damaged: some cluster has no members"),
    "member that does not exist": (np.array([0, 2, 7, 7]), 2, "is damaged: it names a protein that does not exist"),
}


@pytest.mark.parametrize(("array", "num_proteins", "message"), DAMAGES.values(), ids=DAMAGES.keys())
def test_what_is_no_clustering_of_the_data_is_refused(tmp_path, array, num_proteins, message):
    path = tmp_path / "p.clusters.npy"
    np.save(path, array)
    with pytest.raises(ValueError, match=message):
        clusters = Clusters(path, num_proteins)
        draw_members(clusters, torch.arange(len(clusters)), KeyedRng(0, 0))


def test_other_files_are_refused(tmp_path):
    path = tmp_path / "p.clusters.npy"
    with pytest.raises(FileNotFoundError, match=r"data_tools\.cluster makes it"):
        Clusters(path, 3)
    for content in (b"", b"cluster\tmember\n", np.lib.format.magic(1, 0)):
        path.write_bytes(content)
        with pytest.raises(ValueError, match=r"no \.npy file, or is cut off"):
            Clusters(path, 3)
    np.save(path, np.array([{}, {}]), allow_pickle=True)
    with pytest.raises(ValueError, match=r"no \.npy file"):
        Clusters(path, 1)


@pytest.mark.parametrize(
    "cluster_of", [np.array([]), np.array([0.5]), np.array([[1]])], ids=["none", "floats", "table"]
)
def test_write_refuses_what_are_no_cluster_numbers(tmp_path, cluster_of):
    with pytest.raises(ValueError, match="one integer per protein"):
        write_clusters(tmp_path / "p", cluster_of)
    assert not list(tmp_path.iterdir())

"""A run goes on with what it had: other data, another order or another objective are noticed, and named."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from d2plm_megatron.config import Absorbing, Data, FlowMatching, Model, Recipe, Train, Validation
from d2plm_megatron.data.cluster_file import write_clusters
from d2plm_megatron.data.stream import Position
from d2plm_megatron.parallel.processes import Processes
from d2plm_megatron.training.fingerprint import changes
from d2plm_megatron.training.trainer import Trainer


@pytest.fixture
def recipe(write_proteins: Callable[..., Path], tmp_path: Path) -> Recipe:
    return Recipe(
        output=str(tmp_path),
        model=Model(num_layers=1, hidden_size=32, num_attention_heads=2, ffn_hidden_size=64),
        data=Data(train=str(write_proteins([40] * 60)), max_length_residues=40, tokens_per_pack=64, window_proteins=32),
        train=Train(max_steps=3, precision="fp32", global_batch_tokens=128, save_every_steps=3),
        validation=Validation(every_steps=3, max_proteins=4),
    )


@pytest.fixture
def trained(recipe: Recipe, one_process: Processes) -> Recipe:
    Trainer.of(recipe, one_process).fit()
    return replace(recipe, train=replace(recipe.train, max_steps=4))


def with_data(recipe: Recipe, **changed: object) -> Recipe:
    return replace(recipe, data=replace(recipe.data, **changed))  # type: ignore[arg-type]


def refused(recipe: Recipe, processes: Processes) -> str:
    with pytest.raises(ValueError, match=r"this run was trained otherwise: .*; choose another name=") as error:
        Trainer.of(recipe, processes)
    assert "train.resume=changed" in str(error.value)
    return str(error.value).partition("otherwise: ")[2].partition("; choose")[0]


def test_the_same_data_elsewhere_are_the_same(
    trained: Recipe, write_proteins: Callable[..., Path], one_process: Processes
) -> None:
    moved = with_data(trained, train=str(write_proteins([40] * 60, name="moved")))
    assert Trainer.of(moved, one_process).progress.step == 3


def test_other_residues_of_the_same_sizes_are_others(
    trained: Recipe, write_proteins: Callable[..., Path], one_process: Processes
) -> None:
    other = with_data(trained, train=str(write_proteins([40] * 60, seed=1, name="other")))
    assert refused(other, one_process) == "data.train: other proteins"


def test_residues_that_have_changed_beside_old_checksums_are_others(trained: Recipe, one_process: Processes) -> None:
    path = Path(f"{trained.data.train}.bin")
    residues = path.read_bytes()
    path.write_bytes(bytes(reversed(residues)))
    assert refused(trained, one_process) == "data.train: other proteins"


def test_other_numbers_are_named(
    trained: Recipe, write_proteins: Callable[..., Path], one_process: Processes, tmp_path: Path
) -> None:
    more = str(write_proteins([40] * 61, name="more"))
    assert refused(with_data(trained, train=more), one_process) == "data.train: 60 proteins then, 61 now"
    two = f"{trained.data.train}:0.5 {more}:0.5"
    assert refused(with_data(trained, train=two), one_process) == "data.train: 1 corpora then, 2 now"
    clusters = tmp_path / "proteins.clusters.npy"
    write_clusters(clusters, np.arange(60) // 2)
    assert refused(with_data(trained, clusters=str(clusters)), one_process) == "data.train: other clusters"


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda recipe: replace(recipe, train=replace(recipe.train, seed=7)), "train.seed: was 0 and is 7"),
        (lambda recipe: with_data(recipe, window_proteins=16), "data.window_proteins: was 32 and is 16"),
        (lambda recipe: with_data(recipe, tokens_per_pack=128), "data.tokens_per_pack: was 64 and is 128"),
        (lambda recipe: with_data(recipe, max_length_residues=30), "data.max_length_residues: was 40 and is 30"),
        (
            lambda recipe: replace(recipe, objective=Absorbing(weight="linear")),
            "objective: weight was elbo and is linear",
        ),
        (
            lambda recipe: replace(recipe, objective=FlowMatching()),
            "objective: name was absorbing and is flow_matching, source was None and is mask, loss was None and is "
            "cross_entropy, posterior was None and is direct",
        ),
    ],
)
def test_what_decides_the_stream_is_compared(
    change: Callable[[Recipe], Recipe], words: str, trained: Recipe, one_process: Processes
) -> None:
    assert refused(change(trained), one_process) == words


def test_an_option_that_came_later_had_its_default() -> None:
    of_before = {name: value for name, value in vars(FlowMatching(source="uniform")).items() if name != "posterior"}
    same, other = (FlowMatching(source="uniform", posterior=posterior) for posterior in ("direct", "bayes"))
    assert changes({"objective": of_before}, {"objective": dict(vars(same))}) == {}
    words = changes({"objective": of_before}, {"objective": dict(vars(other))})
    assert words == {"objective": "posterior was direct and is bayes"}


def test_changed_lets_the_weights_go_on_with_the_data_anew(
    trained: Recipe, one_process: Processes, capsys: pytest.CaptureFixture[str]
) -> None:
    seed = replace(trained, train=replace(trained.train, seed=7, resume="changed"))
    trainer = Trainer.of(seed, one_process)
    assert (trainer.progress.step, trainer.progress.position) == (3, Position())
    assert "changed since: train.seed: was 0 and is 7; the data begin anew" in capsys.readouterr().out
    assert trainer.fit()
    assert Trainer.of(seed, one_process).progress.step == 4


def test_another_objective_keeps_its_place_in_the_data_and_forgets_the_best_loss(
    recipe: Recipe, one_process: Processes, capsys: pytest.CaptureFixture[str]
) -> None:
    recipe = with_data(recipe, validation=recipe.data.train)
    Trainer.of(recipe, one_process).fit()
    unchanged = Trainer.of(recipe, one_process).progress
    assert unchanged.best_loss < 4
    changed = replace(
        recipe, objective=Absorbing(weight="linear"), train=replace(recipe.train, max_steps=4, resume="changed")
    )
    progress = Trainer.of(changed, one_process).progress
    assert progress.position == unchanged.position != Position()
    assert progress.best_loss == float("inf")
    assert "the best validation loss is forgotten" in capsys.readouterr().out


def test_other_validation_data_are_no_other_run(
    recipe: Recipe, one_process: Processes, write_proteins: Callable[..., Path], capsys: pytest.CaptureFixture[str]
) -> None:
    Trainer.of(with_data(recipe, validation=recipe.data.train), one_process).fit()
    capsys.readouterr()
    other = with_data(recipe, validation=str(write_proteins([40] * 20, name="validation")))
    assert Trainer.of(other, one_process).progress.best_loss == float("inf")
    said = capsys.readouterr().out
    assert "changed since: data.validation: other proteins; the best validation loss is forgotten" in said
    assert "the data begin anew" not in said

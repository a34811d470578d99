"""Every layout trains the same: losses, gradients, weights, average and moments against one process."""

import pytest

from tests.distributed.conftest import Run, Train

OBJECTIVES = {
    "timed": [
        "model.time_conditioning=true",
        "objective=flow_matching",
        "objective.source=uniform",
        "objective.loss=generalised_kl",
    ],
    "absorbing": ["objective=absorbing"],
    "mlm": ["objective=mlm"],
    "esm": ["model=esm2_8m", "model.num_layers=2", "objective=mlm"],
    "bf16": ["train.precision=bf16"],
}
"""The first, with time conditioning and a loss that uses it, is what most easily goes wrong; it meets every layout."""

TWO = {
    "data": ["parallel.sharding=none"],
    "optimizer": ["parallel.sharding=optimizer"],
    "parameters": ["parallel.sharding=parameters"],
    "tensor": ["parallel.tensor=2"],
    "sequence": ["parallel.tensor=2", "parallel.sequence=true"],
    "pipeline": ["parallel.pipeline=2"],
}
FOUR = {
    "four_data": ["parallel.sharding=none"],
    "optimizer_tensor": ["parallel.tensor=2", "parallel.sharding=optimizer"],
    "optimizer_sequence": ["parallel.tensor=2", "parallel.sequence=true", "parallel.sharding=optimizer"],
    "parameters_tensor": ["parallel.tensor=2", "parallel.sharding=parameters"],
    "optimizer_pipeline": ["parallel.pipeline=2", "parallel.sharding=optimizer"],
    "tensor_pipeline": ["parallel.tensor=2", "parallel.pipeline=2"],
}
IN_PARALLEL = {
    "timed": [*TWO],
    "absorbing": ["parameters", "sequence"],
    "mlm": ["sequence", "pipeline"],
    "esm": ["parameters", "sequence", "pipeline"],
    "bf16": [*TWO],
}


@pytest.fixture(scope="module")
def runs(train: Train) -> dict[str, Run]:
    """All of them, as OBJECTIVE for one process and OBJECTIVE_LAYOUT for more; one launch per number of processes."""
    two = {
        f"{name}_{layout}": [*OBJECTIVES[name], *TWO[layout]] for name in IN_PARALLEL for layout in IN_PARALLEL[name]
    }
    four = {f"timed_{layout}": [*OBJECTIVES["timed"], *options] for layout, options in FOUR.items()}
    return {**train(1, OBJECTIVES), **train(2, two), **train(4, four)}


@pytest.mark.parametrize("layout", [*TWO, *FOUR])
def test_layout_trains_like_one_process(layout: str, runs: dict[str, Run]) -> None:
    run, alone = runs[f"timed_{layout}"], runs["timed"]
    assert len(alone.losses) == 6
    assert run.losses == pytest.approx(alone.losses, rel=1e-6)
    assert run.gradient_norms == pytest.approx(alone.gradient_norms, rel=1e-4)
    tensors, expected = run.tensors, alone.tensors
    assert tensors.keys() == expected.keys()
    for name, wanted in expected.items():
        difference = (tensors[name] - wanted).norm() / wanted.norm().clamp(min=1e-30)
        # Moments are gradients and their squares, which no step has evened out.
        assert difference < (1e-3 if name.startswith("exp_avg") else 1e-5), name


@pytest.mark.parametrize("objective", ["absorbing", "mlm", "esm"])
def test_objectives_and_heads_train_alike_in_parallel(objective: str, runs: dict[str, Run]) -> None:
    for layout in IN_PARALLEL[objective]:
        run = runs[f"{objective}_{layout}"]
        assert run.losses == pytest.approx(runs[objective].losses, rel=1e-6), layout
        assert run.gradient_norms == pytest.approx(runs[objective].gradient_norms, rel=1e-4), layout


def test_bf16_stays_close_in_every_layout(runs: dict[str, Run]) -> None:
    """Bf16 has 3 digits and layouts add up in another order; the losses, sums of many tokens, differ by far less."""
    for layout in TWO:
        assert runs[f"bf16_{layout}"].losses == pytest.approx(runs["bf16"].losses, rel=2e-3), layout

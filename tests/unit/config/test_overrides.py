import dataclasses
import os
import re
import string
import tempfile
import time
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from d2plm_megatron.config import (
    MODEL_SIZES,
    OBJECTIVES,
    Absorbing,
    Data,
    FlowMatching,
    MaskedLM,
    MetricFlow,
    Model,
    Optimizer,
    Recipe,
    Train,
)
from d2plm_megatron.config.overrides import from_yaml, keys_of, resolve, to_yaml

RECIPE = Recipe(name="parent", model=MODEL_SIZES["tiny"], optimizer=Optimizer(lr=3e-3))


def test_nothing_overridden_changes_nothing():
    assert resolve(RECIPE, []) == RECIPE
    special = replace(RECIPE, objective=FlowMatching(schedule="cubic:0:2"), model=Model(num_layers=7))
    assert resolve(special, []) == special


def test_values_of_every_type():
    found = resolve(
        RECIPE,
        ["train.max_steps=20", "optimizer.lr=1e-4", "ema.ramp=false", "data.train=/some/where",
         "optimizer.decay_steps=5000", "train.smoke_pack_tokens=null", "name=child", "train.precision=fp32"],
    )  # fmt: skip
    assert found == replace(
        RECIPE,
        name="child",
        data=Data(train="/some/where"),
        optimizer=Optimizer(lr=1e-4, decay_steps=5000),
        ema=replace(RECIPE.ema, ramp=False),
        train=Train(max_steps=20, precision="fp32", smoke_pack_tokens=None),
    )
    assert resolve(found, ["optimizer.decay_steps=null"]).optimizer.decay_steps is None
    assert resolve(found, ["optimizer.warmup_steps=0.02"]).optimizer.warmup_steps == 0.02
    assert repr(resolve(found, ["optimizer.warmup_steps=1e3"]).optimizer.warmup_steps) == "1000"


def test_several_corpora_as_typed_and_as_yaml(tmp_path):
    overrides = ["data.train=/a/uniref-50:0.7 b_2/x.y:0.3", "data.clusters=/a/uniref-50.clusters.npy"]
    found = resolve(RECIPE, overrides)
    assert found.data == Data(train="/a/uniref-50:0.7 b_2/x.y:0.3", clusters="/a/uniref-50.clusters.npy")
    assert [source.prefix for source in found.data.sources] == ["/a/uniref-50", "b_2/x.y"]
    (tmp_path / "recipe.yaml").write_text(to_yaml(found))
    assert from_yaml(tmp_path / "recipe.yaml") == found
    assert resolve(found, ["data.train=c", "data.clusters=null"]).data == Data(train="c")


@pytest.mark.parametrize("size", MODEL_SIZES)
def test_named_sizes(size):
    assert resolve(RECIPE, [f"model={size}"]) == replace(RECIPE, model=MODEL_SIZES[size])


def test_named_objectives_and_their_keys_in_any_order():
    for name, objective in OBJECTIVES.items():
        needed = ["model.time_conditioning=true"] if name == "metric_flow" else []
        assert resolve(RECIPE, [f"objective={name}", *needed]).objective == objective()
    for order in (1, -1):
        found = resolve(
            RECIPE, ["objective=mlm", "objective.mask_probability=0.2", "model=450m", "model.bias=true"][::order]
        )
        assert found.objective == MaskedLM(mask_probability=0.2)
        assert found.model == Model(bias=True)


def test_the_last_choice_counts():
    found = resolve(RECIPE, ["objective=mlm", "objective=flow_matching", "objective.loss=generalised_kl", "model=450m"])
    assert found.objective == FlowMatching(loss="generalised_kl")
    assert resolve(RECIPE, ["train.seed=1", "train.seed=2"]).train.seed == 2


def test_the_recipes_own_objective_keeps_what_is_not_overridden():
    recipe = replace(RECIPE, objective=FlowMatching(loss="generalised_kl"))
    found = resolve(recipe, ["objective.schedule=polynomial:2"])
    assert found.objective == FlowMatching(loss="generalised_kl", schedule="polynomial:2")
    assert resolve(recipe, ["objective=flow_matching"]).objective == FlowMatching()  # a choice starts afresh
    assert resolve(RECIPE, []).objective == Absorbing()  # and nothing is left of the recipe before


REFUSED = {
    "train.max_step=3": ["train.max_step: no such key; did you mean train.max_steps?"],
    "trian.max_steps=3": ["trian.max_steps: no such key; did you mean train.max_steps?"],
    "max_steps=3": ["max_steps: no such key; did you mean train.max_steps?"],
    "+train.max_steps=3": ["did you mean train.max_steps?"],
    "train.zzz=3": ["train.zzz: no such key; allowed are train.max_steps, train.global_batch_tokens, "],
    "model=450": ["model=450: allowed are tiny, 450m,", "did you mean 450m?"],
    "objective=flow_match": ["objective=flow_match: allowed are absorbing, ", "did you mean flow_matching?"],
    "objective.weight=elb0": ["objective.weight=elb0: allowed are elbo, uniform, linear", "did you mean elbo?"],
    "train.max_steps=0": ["train.max_steps=0: must lie between 1 and"],
    "train.max_steps=1e20": ["train.max_steps=100000000000000000000: must lie between 1 and"],
    "train.max_steps=many": ["train.max_steps=many: must be a whole number"],
    "train.max_steps=1.5": ["train.max_steps=1.5: must be a whole number"],
    "train.max_steps=inf": ["train.max_steps=inf: must be a whole number"],
    "train.max_steps=true": ["train.max_steps=true: must be a whole number"],
    "train.max_steps=null": ["train.max_steps=null: must be a whole number"],
    "train.max_steps=1,2": ["train.max_steps=1,2: several values are a sweep, and d2plm launch runs sweeps"],
    "objective=absorbing,mlm": ["objective=absorbing,mlm: several values are a sweep"],
    "train.precision=bf16,fp32": ["train.precision=bf16,fp32: several values are a sweep"],
    "optimizer.decay_steps=x": ["optimizer.decay_steps=x: must be a number or null"],
    "optimizer.warmup_steps=true": ["optimizer.warmup_steps=true: must be a number"],
    "train.smoke_pack_tokens=x": ["train.smoke_pack_tokens=x: must be a whole number or null"],
    "ema.ramp=maybe": ["ema.ramp=maybe: must be true or false"],
    "model.bias=-1": ["model.bias=-1: must be true or false"],
    "optimizer.lr=fast": ["optimizer.lr=fast: must be a number"],
    "optimizer.lr=inf": ["optimizer.lr=inf: must lie between 0.0 and 10.0"],
    "optimizer.lr=" + "9" * 4000: ["optimizer.lr=inf: must lie between 0.0 and 10.0"],
    "optimizer.lr=" + "9" * 5000: ["must be a number"],
    "parallel.tensor=3": ["parallel.tensor=3: must divide model.num_attention_heads=8"],
    "name=a\nb": ["name='a\\nb': must be one line"],
    "train": ["train: not an override; write key=value, for example train.max_steps=20"],
    "optimizer=adamw": ["optimizer: no such key, but a part of the recipe; its keys are optimizer.lr, "],
    "=3": ["no such key; allowed are name, output, data"],
}


@pytest.mark.parametrize("override", REFUSED)
def test_refusals_name_the_key_as_typed_in_one_line(override):
    with pytest.raises(ValueError) as refusal:
        resolve(RECIPE, ["train.seed=1", override, "data.window_proteins=9"])
    message = str(refusal.value)
    assert "\n" not in message
    assert all(part in message for part in REFUSED[override])


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (["objective.mask_fraction=0.5"], "objective.mask_fraction: belongs to objective=mlm, not to absorbing"),
        (["objective.source=mask"], "objective.source: belongs to objective=flow_matching, not to absorbing"),
        (
            ["objective.schedule=linear", "objective=mlm"],
            "objective.schedule: belongs to objective=absorbing or flow_matching or metric_flow, not to mlm",
        ),
    ],
)
def test_key_of_another_objective(overrides, message):
    with pytest.raises(ValueError) as refusal:
        resolve(RECIPE, overrides)
    assert str(refusal.value) == message


@pytest.mark.parametrize(
    "text",
    ["a=b", "[a", "é", "a,b", "a b (1).{x}", "~x", "0012", "1e3", "true", "'unclosed", "#1", "a&b;c|d", "[" * 100],
)
def test_a_text_is_what_was_typed(text):
    assert resolve(RECIPE, [f"output=x{text}"]).output == f"x{text}"
    assert resolve(RECIPE, [f"data.train={text}"]).data.train == text


def test_quotes_hold_a_text_and_the_home_is_where_the_shell_has_it(monkeypatch):
    monkeypatch.setenv("HOME", "/home/me")
    assert resolve(RECIPE, ["name='1e3=é'"]).name == "1e3=é"
    assert resolve(RECIPE, ["data.train=null"]).data.train is None
    assert resolve(RECIPE, ["data.train='null'"]).data.train == "null"
    assert resolve(RECIPE, ["data.train=~/a:0.5 ~/b:0.5"]).data.train == "/home/me/a:0.5 /home/me/b:0.5"
    assert resolve(RECIPE, ["data.train=a~/b"]).data.train == "a~/b"


def test_whole_numbers_and_flags_however_they_are_written():
    found = resolve(RECIPE, ["train.max_steps=1e5", "optimizer.lr=1", "track.wandb=1", "ema.ramp=FALSE"])
    assert (found.train.max_steps, found.optimizer.lr) == (100_000, 1.0)
    assert (found.track.wandb, found.ema.ramp) == (True, False)
    assert type(found.train.max_steps) is int and type(found.track.wandb) is bool


def test_every_key_has_its_value_and_help():
    keys = keys_of(RECIPE)
    assert keys["train.max_steps"] == (100_000, "optimizer steps")
    assert keys["optimizer.lr"][0] == 3e-3
    assert keys["name"][0] == "parent"
    assert all(key.count(".") == (key not in ("name", "output")) for key in keys)


names = st.text(string.ascii_letters + string.digits + " _-.:#'\"[]{}!&*?|>%@,é", min_size=1, max_size=12)
names = names.filter(lambda text: text not in (".", "..", "???"))
objectives = st.one_of(
    st.builds(Absorbing, schedule=st.sampled_from(["linear", "cosine"]), time_epsilon=st.floats(1e-9, 0.5)),
    st.builds(FlowMatching, schedule=st.sampled_from(["polynomial:2", "cubic:0:2"])),
    st.builds(MaskedLM, mask_probability=st.floats(0.001, 1)),
)
recipes = st.builds(
    Recipe,
    name=names,
    output=names,
    data=st.builds(Data, train=st.none() | names, window_proteins=st.integers(1, 1 << 20)),
    model=st.sampled_from([size for size in MODEL_SIZES.values() if not size.time_conditioning]),
    objective=objectives,
    optimizer=st.builds(
        Optimizer,
        lr=st.floats(0, 10),
        schedule=st.sampled_from(["cosine", "linear"]),
        warmup_steps=st.integers(0, 2000) | st.floats(0, 0.4),
        decay_steps=st.none() | st.integers(2000, 9999) | st.floats(0.5, 0.99),
    ),
    train=st.builds(Train, seed=st.integers(-5, 1 << 60), precision=st.sampled_from(["bf16", "fp32"])),
)


@settings(max_examples=40)
@given(recipes)
def test_yaml_brings_back_the_recipe(recipe):
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "recipe.yaml")
        path.write_text(to_yaml(recipe), encoding="utf-8")
        assert from_yaml(path) == recipe


def test_yaml_brings_back_an_objective_that_the_default_model_cannot_learn(tmp_path):
    recipe = Recipe(objective=MetricFlow(power=2.0), model=MODEL_SIZES["450m_time"])
    (tmp_path / "recipe.yaml").write_text(to_yaml(recipe), encoding="utf-8")
    assert from_yaml(tmp_path / "recipe.yaml") == recipe


@pytest.mark.parametrize("name", ["450m_time", "esm2_15b"])
def test_what_was_read_is_typed_and_frozen_and_can_be_overridden(tmp_path, name):
    path = tmp_path / "recipe.yaml"
    path.write_text(to_yaml(replace(RECIPE, model=MODEL_SIZES[name])))
    recipe = from_yaml(path)
    assert type(recipe.model) is Model and type(recipe.objective) is Absorbing
    with pytest.raises(dataclasses.FrozenInstanceError):
        recipe.model.num_layers = 3
    assert resolve(recipe, ["train.seed=7"]) == replace(recipe, train=Train(seed=7))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "objective.name=None: allowed are absorbing"),
        ("[1, 2]", "not a recipe"),
        ("a: [", "while parsing"),
        ("objective: {name: fm}", "objective.name=fm: allowed are absorbing, flow_matching, metric_flow, mlm"),
        ("objective: {name: mlm, schedule: linear}", "Key 'schedule' not in 'MaskedLM'"),
        ("objective: {name: mlm}\nfoo: 1", "Key 'foo' not in 'Recipe'"),
        ("objective: {name: mlm}\ntrain: {max_steps: x}", "could not be converted to Integer"),
    ],
)
def test_what_is_no_recipe_is_refused_with_its_path(tmp_path, text, message):
    path = tmp_path / "recipe.yaml"
    path.write_text(text)
    with pytest.raises(ValueError) as refusal:
        from_yaml(path)
    assert str(refusal.value).startswith(f"{path}: ") and message in str(refusal.value)
    assert "\n" not in str(refusal.value)


def refused(tmp_path: Path, text: str) -> str:
    path = tmp_path / "recipe.yaml"
    path.write_text(text)
    with pytest.raises(ValueError) as error:
        from_yaml(path)
    assert str(path) in str(error.value)
    assert "\n" not in str(error.value)
    return str(error.value)


def test_interpolations_carry_nothing_of_the_environment_into_what_is_written(tmp_path, monkeypatch):
    monkeypatch.setenv("SECRET_TOKEN", "hush")
    for text in ("${oc.env:SECRET_TOKEN}", "run-${oc.env:SECRET_TOKEN}", "${name}"):
        written = to_yaml(RECIPE).replace("name: parent", f"name: {text}")
        assert "is not resolved here" in refused(tmp_path, written)
        with pytest.raises(ValueError, match="is not resolved here") as error:
            resolve(RECIPE, [f"name='{text}'"])
        assert "hush" not in str(error.value)


def test_numbers_that_python_does_not_read_are_refused(tmp_path):
    path = tmp_path / "recipe.yaml"
    path.write_text(to_yaml(RECIPE).replace("max_steps: ", "max_steps: " + "9" * 5000))
    with pytest.raises(ValueError, match=r"^\S*recipe\.yaml"):
        from_yaml(path)


@pytest.mark.timeout(20)
def test_pipes_and_devices_are_not_waited_for(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "endless").symlink_to("/dev/zero")
    for path in (tmp_path / "pipe", tmp_path / "endless", tmp_path):
        with pytest.raises(ValueError, match="is no ordinary file"):
            from_yaml(path)


def test_yaml_bombs_are_refused_quickly(tmp_path):
    aliases = "a: &a [x, x, x, x, x, x, x, x, x]\n"
    for before, name in zip("abcdefghi", "bcdefghij", strict=True):
        aliases += f"{name}: &{name} [{', '.join(['*' + before] * 9)}]\n"
    deep = "name: " + "[" * 100_000
    large = "name: x\n" + "# " + "x" * (2 << 20)
    begun = time.perf_counter()
    assert "aliases and deep nesting" in refused(tmp_path, aliases)
    assert "aliases and deep nesting" in refused(tmp_path, deep)
    assert "bytes are too many" in refused(tmp_path, large)
    assert "recipe" in refused(tmp_path, "!!python/object/apply:os.system [echo]")
    (tmp_path / "recipe.yaml").write_bytes(b"name: \xff\xfe")
    with pytest.raises(ValueError, match=r"recipe\.yaml"):
        from_yaml(tmp_path / "recipe.yaml")
    assert time.perf_counter() - begun < 5


@pytest.mark.parametrize(
    ("written", "told"),
    [
        ("evaluate:\n  threshold: 0.1\n", "evaluate.threshold: it is called validation.min_delta now"),
        ("average:\n  decay: 0.9\n", "average.decay: it is called ema.decay now"),
        ("optimizer:\n  learning_rate: 1.0\n", "optimizer.learning_rate: it is called optimizer.lr now"),
    ],
)
def test_recipes_of_early_versions_are_answered_with_the_new_names(tmp_path, written, told):
    path = tmp_path / "recipe.yaml"
    path.write_text(written)
    with pytest.raises(ValueError, match=f"{re.escape(str(path))}: {re.escape(told)}"):
        from_yaml(path)

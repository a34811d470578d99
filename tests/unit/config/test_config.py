import dataclasses
import math
import re
import typing
from fractions import Fraction

import pytest

from d2plm_megatron.config import (
    EMA,
    MODEL_SIZES,
    OBJECTIVES,
    Absorbing,
    Data,
    FlowMatching,
    MaskedLM,
    Model,
    Objective,
    Optimizer,
    Parallel,
    Recipe,
    Source,
    Track,
    Train,
    Validation,
)

PARTS = [Data, Model, Absorbing, FlowMatching, MaskedLM, Optimizer, EMA, Train, Validation, Parallel, Track, Recipe]

REFUSED = [  # part, arguments, start of the message, what else it says
    (Data, {"max_length_residues": 0}, "data.max_length_residues=0:", "between 1 and"),
    (Data, {"window_proteins": 0}, "data.window_proteins=0:", "between 1 and"),
    (Data, {"tokens_per_pack": 1023}, "data.tokens_per_pack=1023:", "data.max_length_residues + 2 (1024)"),
    (Data, {"train": "a:1 b"}, "data.train=a:1 b:", "PREFIX:WEIGHT, with a weight above 0"),
    (Data, {"train": "a:1 b:0"}, "data.train=a:1 b:0:", "above 0"),
    (Data, {"train": "a:1 b:-2"}, "data.train=a:1 b:-2:", "above 0"),
    (Data, {"train": "a:1 b:nan"}, "data.train=a:1 b:nan:", "above 0"),
    (Data, {"train": "a:1 b:1/0"}, "data.train=a:1 b:1/0:", "above 0"),
    (Data, {"train": "a:1 b:1e99999999"}, "data.train=a:1 b:1e99999999:", "above 0"),
    (Data, {"train": "a:1 :2"}, "data.train=a:1 :2:", "PREFIX:WEIGHT"),
    (Data, {"train": "a:1 a:2"}, "data.train=a:1 a:2:", "names a twice"),
    (Data, {"clusters": "a.clusters.npy"}, "data.clusters=a.clusters.npy:", "none without data.train"),
    (Data, {"train": "a", "clusters": "b.clusters.npy"}, "data.clusters=b.clusters.npy:", "allowed: a.clusters.npy"),
    (Data, {"train": "a", "clusters": "a"}, "data.clusters=a:", "allowed: a.clusters.npy"),
    (Data, {"train": "a:1 b:1", "clusters": "c.npy"}, "data.clusters=c.npy:", "a.clusters.npy or b.clusters.npy"),
    (Model, {"num_layers": 0}, "model.num_layers=0:", "between 1 and"),
    (Model, {"activation": "gleu"}, "model.activation=gleu:", "allowed are swiglu, gelu; did you mean gelu?"),
    (Model, {"normalization": "layer"}, "model.normalization=layer:", "did you mean layernorm?"),
    (Model, {"head": "none"}, "model.head=none:", "allowed are linear, esm"),
    (Model, {"backend": "torhc"}, "model.backend=torhc:", "did you mean torch?"),
    (Model, {"num_attention_heads": 7}, "model.num_attention_heads=7:", "divide model.hidden_size=1024"),
    (Model, {"hidden_size": 48, "num_attention_heads": 16}, "model.hidden_size=48:", "= 3, must be even"),
    (Absorbing, {"name": "mlm"}, "objective.name=mlm:", "allowed are absorbing"),
    (Absorbing, {"schedule": "cosin"}, "objective.schedule=cosin:", "allowed are linear, cosine; did you mean cosine?"),
    (Absorbing, {"schedule": "polynomial:2"}, "objective.schedule=polynomial:2:", "allowed are linear, cosine"),
    (Absorbing, {"weight": "elb0"}, "objective.weight=elb0:", "did you mean elbo?"),
    (Absorbing, {"time_epsilon": 0.0}, "objective.time_epsilon=0.0:", "between 1e-09 and 0.5"),
    (FlowMatching, {"source": "masks"}, "objective.source=masks:", "did you mean mask?"),
    (FlowMatching, {"loss": "kl"}, "objective.loss=kl:", "cross_entropy, generalised_kl"),
    (FlowMatching, {"schedule": "polynomal:2"}, "objective.schedule=polynomal:", "did you mean polynomial?"),
    (FlowMatching, {"schedule": "polynomial"}, "objective.schedule=polynomial:", "write linear"),
    (FlowMatching, {"schedule": "cubic:1"}, "objective.schedule=cubic:1:", "write linear"),
    (FlowMatching, {"schedule": "cubic:a:b"}, "objective.schedule=cubic:a:b:", "cubic:0:2"),
    (FlowMatching, {"schedule": "linear:2"}, "objective.schedule=linear:2:", "write linear"),
    (FlowMatching, {"schedule": "polynomial:1e30"}, "objective.schedule=polynomial:1e30:", "between 0.01 and 100.0"),
    (FlowMatching, {"schedule": "polynomial:nan"}, "objective.schedule=polynomial:nan:", "between 0.01 and 100.0"),
    (FlowMatching, {"schedule": "cubic:1e300:-1e300"}, "objective.schedule=cubic:1e300:-1e300:", "must not fall"),
    (FlowMatching, {"schedule": "cubic:inf:nan"}, "objective.schedule=cubic:inf:nan:", "must not fall"),
    (FlowMatching, {"time_epsilon": 0.6}, "objective.time_epsilon=0.6:", "between"),
    (MaskedLM, {"mask_probability": 0.0}, "objective.mask_probability=0.0:", "between 0.001 and 1.0"),
    (MaskedLM, {"mask_fraction": 1.5, "random_fraction": -0.6}, "objective.mask_fraction=1.5:", "between 0.0 and 1.0"),
    (MaskedLM, {"random_fraction": -0.1}, "objective.random_fraction=-0.1:", "between 0.0 and 1.0"),
    (MaskedLM, {"random_fraction": 0.3}, "objective.mask_fraction + objective.random_fraction=1.1:", "between 0.0"),
    (Optimizer, {"lr": -1e-3}, "optimizer.lr=-0.001:", "between 0.0 and 10.0"),
    (Optimizer, {"lr": float("nan")}, "optimizer.lr=nan:", "between 0.0 and 10.0"),
    (Optimizer, {"decay_steps": 1999}, "optimizer.decay_steps=1999:", "at least 2000"),
    (Optimizer, {"decay_steps": 0.1, "warmup_steps": 0.2}, "optimizer.decay_steps=0.1:", "at least 0.2"),
    (Optimizer, {"warmup_steps": 1.5}, "optimizer.warmup_steps=1.5:", "or below 1, a fraction of train.max_steps"),
    (Optimizer, {"decay_steps": 2000.5}, "optimizer.decay_steps=2000.5:", "must be a whole number of steps"),
    (Optimizer, {"schedule": "linaer"}, "optimizer.schedule=linaer:", "did you mean linear?"),
    (Optimizer, {"min_lr_ratio": 1.1}, "optimizer.min_lr_ratio=1.1:", "between"),
    (Optimizer, {"beta2": 1.0}, "optimizer.beta2=1.0:", "between"),
    (EMA, {"decay": float("nan")}, "ema.decay=nan:", "between 0.0 and 1.0"),
    (Train, {"max_steps": 0}, "train.max_steps=0:", "between 1 and 1,000,000,000"),
    (Train, {"keep_last": 0}, "train.keep_last=0:", "between 1 and"),
    (Train, {"precision": "fp16"}, "train.precision=fp16:", "allowed are bf16, fp32"),
    (Train, {"resume": "always"}, "train.resume=always:", "allowed are auto, changed, never"),
    (Validation, {"patience": 0}, "validation.patience=0:", "between 1 and"),
    (Parallel, {"tensor": 0}, "parallel.tensor=0:", "between 1 and 1,024"),
    (Parallel, {"sharding": "params"}, "parallel.sharding=params:", "did you mean parameters?"),
    (Parallel, {"sequence": True}, "parallel.sequence=true:", "needs parallel.tensor of at least 2"),
    (Parallel, {"sharding": "parameters", "pipeline": 2}, "parallel.sharding=parameters:", "use optimizer"),
    (Recipe, {"name": "a/b"}, "name=a/b:", "the name of one folder"),
    (Recipe, {"name": ""}, "name=:", "must not be empty"),
    (Recipe, {"name": ".."}, "name=..:", "the name of one folder"),
    (Recipe, {"name": "é" * 101}, "name=é", "the name of one folder, of 200 bytes at most"),
    (Recipe, {"name": "a\nb"}, "name='a\\nb':", "one line of characters that print"),
    (Recipe, {"train": Train(global_batch_tokens=100_000)}, "train.global_batch_tokens=100000:", "multiple of "
     "data.tokens_per_pack=16384"),
    (Recipe, {"parallel": Parallel(tensor=3)}, "parallel.tensor=3:", "must divide model.num_attention_heads=16"),
    (Recipe, {"parallel": Parallel(pipeline=5)}, "parallel.pipeline=5:", "must divide model.num_layers=24"),
    (Recipe, {"objective": FlowMatching(source="uniform")}, "objective.source=uniform:", "model.time_conditioning"),
    (Recipe, {"objective": MaskedLM(), "model": MODEL_SIZES["450m_time"]}, "model.time_conditioning=true:", "mlm"),
    (Recipe, {"data": Data(tokens_per_pack=16383), "parallel": Parallel(tensor=2, sequence=True),
              "train": Train(global_batch_tokens=16383)}, "data.tokens_per_pack=16383:", "multiple of parallel.tensor"),
]  # fmt: skip


@pytest.mark.parametrize(("part", "arguments", "start", "hint"), REFUSED, ids=[row[2] for row in REFUSED])
def test_refusals_name_key_value_and_what_is_allowed(part, arguments, start, hint):
    with pytest.raises(ValueError, match="^" + re.escape(start) + ".*" + re.escape(hint)) as refusal:
        part(**arguments)
    assert "\n" not in str(refusal.value)


ABSURD = {
    int: [-(2**70), 2**70, 10**4000],
    float: [math.inf, -math.inf, math.nan, 1e300, -1.0],
    str: ["", "a\nb", "\x1b[31m", "\udce9"],
}


@pytest.mark.parametrize("part", PARTS)
def test_no_option_takes_what_could_never_be_meant(part):
    for name, kind in typing.get_type_hints(part).items():
        kinds = {*typing.get_args(kind)} or {kind}
        for value in (value for base in kinds for value in ABSURD.get(base, [])):
            with pytest.raises(ValueError, match=rf"(^|\.){name}=") as refusal:
                part(**{name: value})
            assert "\n" not in str(refusal.value)


@pytest.mark.parametrize("schedule", ["linear", "cosine", "polynomial:2", "polynomial:0.5", "cubic:0:2", "cubic:1.5:0"])
def test_schedules_of_flow_matching(schedule):
    assert FlowMatching(schedule=schedule).schedule == schedule


def test_edges_that_are_allowed():
    assert Data(max_length_residues=1022, tokens_per_pack=1024).tokens_per_pack == 1024
    assert MaskedLM(mask_fraction=0.9, random_fraction=0.1).mask_fraction == 0.9
    assert Optimizer(decay_steps=2000, warmup_steps=2000, clip_norm=0.0).decay_steps == 2000
    assert Optimizer(decay_steps=0.9, warmup_steps=2000).in_steps(500_000) == (2000, 450_000)
    assert Optimizer(decay_steps=5000, warmup_steps=0.02).in_steps(100_000) == (2000, 5000)
    assert Optimizer(warmup_steps=0).in_steps(7) == (0, 7)
    assert Recipe(objective=FlowMatching(source="uniform"), model=MODEL_SIZES["450m_time"]).parallel.tensor == 1
    assert Recipe(parallel=Parallel(tensor=16, pipeline=24)).parallel.pipeline == 24


@pytest.mark.parametrize("part", PARTS)
def test_frozen_and_every_field_explained(part):
    value = part()
    for field in dataclasses.fields(part):
        with pytest.raises(dataclasses.FrozenInstanceError):
            setattr(value, field.name, None)
        is_part = dataclasses.is_dataclass(getattr(value, field.name))
        assert is_part or len(field.metadata["help"]) > 5
    with pytest.raises(TypeError, match="positional"):
        part(1)


def test_objectives_are_found_by_their_names():
    assert {name: objective().name for name, objective in OBJECTIVES.items()} == {name: name for name in OBJECTIVES}
    assert all(issubclass(objective, Objective) for objective in OBJECTIVES.values())


@pytest.mark.parametrize(
    ("options", "sources"),
    [
        ({}, ()),
        ({"train": "my data/a"}, (Source(prefix="my data/a"),)),
        ({"train": "a:7"}, (Source(prefix="a:7"),)),
        (
            {"train": " /a/uniref50:0.7  /b/family:.3 "},
            (Source(prefix="/a/uniref50", share=Fraction(7, 10)), Source(prefix="/b/family", share=Fraction(3, 10))),
        ),
        (
            {"train": "a:2 b:1 c:1e0", "clusters": "c.clusters.npy ./a.clusters.npy"},
            (
                Source(prefix="a", share=Fraction(1, 2), clusters="./a.clusters.npy"),
                Source(prefix="b", share=Fraction(1, 4)),
                Source(prefix="c", share=Fraction(1, 4), clusters="c.clusters.npy"),
            ),
        ),
    ],
)
def test_corpora_with_exact_shares(options, sources):
    assert Data(**options).sources == sources

"""Names from other frameworks, and slips of the pen, are answered with the keys that there are."""

import re
from dataclasses import fields

import pytest

from d2plm_megatron.config import OBJECTIVES, Recipe
from d2plm_megatron.config.other_names import FOREIGN, RENAMED, advice_for
from d2plm_megatron.config.overrides import keys_of

KEYS = list(keys_of(Recipe()))


@pytest.mark.parametrize("advice", FOREIGN)
def test_advice_names_keys_that_there_are(advice):
    named = re.findall(r"\b[a-z]+\.[a-z_0-9]+", advice) + re.findall(r"^write (\w+)\b(?!\.)", advice)
    assert set(named) <= set(KEYS)
    assert named or not advice.startswith("write")


def test_new_names_are_there_and_old_ones_are_not():
    parts = {key.partition(".")[0] for key in KEYS}
    of_objectives = {f"objective.{item.name}" for kind in OBJECTIVES.values() for item in fields(kind)}
    assert set(RENAMED.values()) <= {*KEYS, *parts, *of_objectives}
    assert not set(RENAMED) & {*KEYS, *parts, *of_objectives}


def test_no_name_has_two_meanings():
    names = [name for words in FOREIGN.values() for name in words.split()]
    assert len(names) == len(set(names))


@pytest.mark.parametrize(
    ("typed", "advice"),
    [
        ("lr", "did you mean optimizer.lr?"),
        ("--max-lr", "write optimizer.lr"),
        ("learning_rate", "write optimizer.lr"),
        ("train.learning_rate", "write optimizer.lr"),
        ("optimizer.learning_rate", "it is called optimizer.lr now"),
        ("average.decay", "it is called ema.decay now"),
        ("evaluate.threshold", "it is called validation.min_delta now"),
        ("trainer.max_epochs", "write train.max_steps (--dry-run says how many times that shows the data)"),
        ("--batch-size", "write train.global_batch_tokens, the tokens of a step over all processes"),
        ("hidden_dim", "write model.hidden_size"),
        ("n_layers", "write model.num_layers"),
        ("optimizer.warmup", "write optimizer.warmup_steps"),
        ("warmup_ratio", "write optimizer.warmup_steps, which below 1 is a fraction of train.max_steps"),
        ("lr_scheduler_type", "write optimizer.schedule=cosine or optimizer.schedule=linear"),
        ("fp16", "write train.precision=bf16 or train.precision=fp32"),
        ("trainer.devices", "processes are counted by the launcher: torchrun --nproc-per-node 8, or srun"),
        ("model.dropout", "the encoder has no dropout"),
        ("modle.num_layer", "did you mean model.num_layers?"),
        ("validate.every_step", "did you mean validation.every_steps?"),
        ("optimizer.foo", None),
        ("optimizer", None),
        ("", None),
    ],
)
def test_what_to_write_instead(typed, advice):
    assert advice_for(typed, KEYS) == advice

"""JSON with a checksum of its own, and its schema."""

import json
import random
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from d2plm_megatron.runs import integrity
from d2plm_megatron.runs.integrity import Damaged

NUMBERS = st.integers() | st.floats(allow_nan=False)
VALUES = st.recursive(
    st.none() | st.booleans() | NUMBERS | st.text(), lambda x: st.lists(x) | st.dictionaries(st.text(), x)
)


@given(st.dictionaries(st.text().filter(lambda key: key != integrity.CHECKSUM), VALUES, max_size=5))
def test_what_was_sealed_is_read_back(values: dict[str, Any]) -> None:
    for indent in (None, 1):
        assert integrity.unsealed(json.dumps(integrity.sealed(values), indent=indent), "it") == values


def test_every_flipped_bit_is_harmless_or_damage() -> None:
    values = {"step": 40, "loss": 2.5, "name": "step_00000040", "position": {"epoch": 0, "pack": [1, 2]}}
    text = json.dumps(integrity.sealed(values), indent=1).encode()
    refused = 0
    for place in range(8 * len(text)):
        changed = bytearray(text)
        changed[place // 8] ^= 1 << place % 8
        try:
            assert integrity.unsealed(bytes(changed), "it") == values
        except Damaged as damage:
            refused += str(damage).startswith("it: damaged: ")
    assert refused > 6 * len(text)


@pytest.mark.parametrize(
    "text",
    ["", "[1]", "{}", "nonsense", b"\xff\xfe", "[" * 100_000, '{"a":' * 100_000, "1" * 10_000, '{"checksum": 1}'],
)
def test_anything_else_is_damage(text: str | bytes) -> None:
    with pytest.raises(Damaged, match=r"^it: damaged: "):
        integrity.unsealed(text, "it")


def test_random_bytes_are_damage() -> None:
    chance = random.Random(0)
    for _ in range(300):
        with pytest.raises(Damaged):
            integrity.unsealed(chance.randbytes(chance.randrange(60)), "it")


def test_file_that_is_missing_a_folder_or_too_large_is_damage(tmp_path: Path) -> None:
    with (tmp_path / "large").open("wb") as file:
        file.truncate(integrity.LARGEST_JSON_BYTES + 1)
    for path in (tmp_path / "nothing", tmp_path, tmp_path / "large"):
        with pytest.raises(Damaged, match=f"^{path}: damaged"):
            integrity.read_sealed(path, {})


def test_sealed_file_of_another_form_is_damage(tmp_path: Path) -> None:
    integrity.write_sealed(tmp_path / "one", {"step": 1})
    assert integrity.read_sealed(tmp_path / "one", {"step": int}) == {"step": 1}
    for schema in ({"step": str}, {"step": int, "more": int}):
        with pytest.raises(Damaged, match="it lacks what belongs there"):
            integrity.read_sealed(tmp_path / "one", schema)


@pytest.mark.parametrize(
    ("value", "schema", "expected"),
    [
        (1, int, True),
        (-1, int, False),
        (True, int, False),
        (1.0, int, False),
        (None, (float, None), True),
        ("a", (float, None), False),
        ([1, 2], [int], True),
        ([1, "2"], [int], False),
        ({"a": {"b": 1}}, {str: {"b": int}}, True),
        ({"a": {"c": 1}}, {str: {"b": int}}, False),
        ([], {}, False),
        ({"more": 1}, {}, True),
    ],
)
def test_schemas(value: Any, schema: Any, expected: bool) -> None:
    assert integrity.fits(value, schema) == expected

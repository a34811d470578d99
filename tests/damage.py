"""Input that somebody made, or something damaged: strategies of hypothesis for all tests that read files of others."""

import json

from hypothesis import strategies as st

json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.integers(10**17, 10**22) | st.floats() | st.text(max_size=9),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=6), inner, max_size=4),
    max_leaves=8,
)
"""Anything that JSON can say."""

_sequences = st.text("ACDEFGHIKLMNPQRSTVWY", min_size=1, max_size=12) | st.text(max_size=6) | json_values
_parts = st.lists(st.integers(-1, 3) | json_values, max_size=3) | json_values
_records = st.fixed_dictionaries({"sequence": _sequences}, optional={"id": json_values, "part": _parts})


def _as_bytes(value: object) -> bytes:
    return json.dumps(value, ensure_ascii=False).encode("utf-8", "surrogatepass")


@st.composite
def changed(draw: st.DrawFn, data: bytes) -> bytes:
    """Bytes that were cut, overwritten, or had some put in or taken out."""
    start = draw(st.integers(0, len(data)))
    stop = draw(st.integers(start, min(len(data), start + 16)))
    new = draw(st.binary(max_size=16) | st.sampled_from([b"", b"\0" * 8, b"\xff" * 8, b"\n>", b"\r"]))
    return draw(st.sampled_from([data[:start], data[:start] + new + data[stop:], data[:start] + new + data[start:]]))


lmdb_values = (
    _records.map(json.dumps).map(str.encode)
    | _records.map(_as_bytes)
    | json_values.map(_as_bytes)
    | st.binary(max_size=40)
    | _records.map(_as_bytes).flatmap(changed)
    | st.sampled_from(
        [b"[" * 50_000, b'{"sequence": ' + b"9" * 5_000 + b"}", b'{"a":' * 20_000, b"", b"\x80\x04K\x01."]
    )
)
"""What may stand in an LMDB in place of the JSON of a protein."""

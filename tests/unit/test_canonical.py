"""Which bytes are hashed."""

import hashlib
import json
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from thunderline.canonical import (
    Json,
    canonical_bytes,
    is_digest,
    new_hasher,
    parse_digest,
    sha256_hex,
    sha256_of_chunks,
)
from thunderline.errors import InvalidInput

DOCUMENTS = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53) + 1, 2**53 - 1) | st.floats(-1e15, 1e15) | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=20,
)


def test_keys_are_ordered_and_nothing_is_spaced() -> None:
    assert canonical_bytes({"b": [1, 2.5, "é"], "a": None}) == '{"a":null,"b":[1,2.5,"é"]}'.encode()


@given(DOCUMENTS)
def test_what_is_written_reads_back_to_the_same_bytes(value: Json) -> None:
    written = canonical_bytes(value)
    assert canonical_bytes(json.loads(written)) == written


@given(st.dictionaries(st.text(), st.integers(0, 9), min_size=2))
def test_the_order_of_keys_does_not_matter(value: dict[str, int]) -> None:
    assert canonical_bytes(dict(reversed(value.items()))) == canonical_bytes(value)


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf, 2**53 + 2, {"a": [math.nan]}])
def test_what_has_no_one_form_is_refused(value: Json) -> None:
    with pytest.raises(InvalidInput, match="cannot be written as canonical JSON"):
        canonical_bytes(value)


@given(st.lists(st.binary(), max_size=6))
def test_chunks_hash_as_their_whole(chunks: list[bytes]) -> None:
    whole = hashlib.sha256(b"".join(chunks)).hexdigest()
    running = new_hasher()
    for chunk in chunks:
        running.update(memoryview(chunk))
    assert sha256_of_chunks(chunks) == sha256_hex(b"".join(chunks)) == running.hexdigest() == whole


@pytest.mark.parametrize(
    "text", ["", "A" * 64, "a" * 63, "a" * 65, "g" * 64, f"{'a' * 64}\n", f"sha256:{'a' * 64}", "\u0661" * 64]
)
def test_anything_but_64_lowercase_hex_digits_is_no_digest(text: str) -> None:
    assert not is_digest(text)
    with pytest.raises(InvalidInput, match="sha256: expected 64 lowercase hex digits"):
        parse_digest(text)


def test_a_digest_is_returned_as_it_came() -> None:
    assert parse_digest("0f" * 32) == "0f" * 32

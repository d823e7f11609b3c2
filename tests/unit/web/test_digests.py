"""What a digest field announces."""

import base64
from hashlib import sha256

import pytest
from hypothesis import given
from hypothesis import strategies as st

from thunderline.errors import InvalidInput
from thunderline.web.digests import announced_by, announced_digest


def member(content: bytes) -> str:
    return f"sha-256=:{base64.b64encode(sha256(content).digest()).decode()}:"


ONE, TWO = member(b"one"), member(b"two")
HEX = sha256(b"one").hexdigest()


@pytest.mark.parametrize(
    "lines",
    [
        [ONE],
        [f"  {ONE}  "],
        [ONE.replace("sha-256", "SHA-256")],
        [f"sha-512=:AAAA:, {ONE}"],
        ["md5=:AAAA:", ONE],
        [f"{TWO}, {ONE}"],  # of two with one key the last counts
        [f"{ONE};extra=1"],
    ],
)
def test_the_sha256_among_the_members_counts(lines: list[str]) -> None:
    assert announced_digest(lines, "Repr-Digest") == HEX


@pytest.mark.parametrize("lines", [[], [""], ["sha-512=:AAAA:"], ["sha-2567=:AAAA:"], ["unixsum=1, md5=:x:"]])
def test_other_algorithms_announce_nothing(lines: list[str]) -> None:
    assert announced_digest(lines, "Repr-Digest") is None


@pytest.mark.parametrize(
    "line",
    [
        "sha-256",
        "sha-256=",
        "sha-256=:",
        "sha-256=::",
        "sha-256=:AAAA:",
        f"sha-256={HEX}",
        ONE[:-1],
        "sha-256=:%%%%:",
        "sha-256=:" + "A" * 45 + ":",
        f"{ONE}, sha-256",
    ],
)
def test_a_sha256_of_another_form_is_refused_by_its_fields_name(line: str) -> None:
    with pytest.raises(InvalidInput, match="Content-Digest: sha-256"):
        announced_digest([line], "Content-Digest")


def test_two_fields_must_agree() -> None:
    assert announced_by([("Repr-Digest", [ONE]), ("Content-Digest", [ONE])]) == HEX
    assert announced_by([("Repr-Digest", []), ("Content-Digest", [ONE])]) == HEX
    assert announced_by([("Repr-Digest", []), ("Content-Digest", [])]) is None
    with pytest.raises(InvalidInput, match="Repr-Digest and Content-Digest announce different bytes"):
        announced_by([("Repr-Digest", [ONE]), ("Content-Digest", [TWO])])


@given(st.lists(st.text(max_size=80), max_size=3))
def test_a_field_of_anything_is_read_or_refused(lines: list[str]) -> None:
    try:
        found = announced_digest(lines, "Repr-Digest")
    except InvalidInput:
        return
    assert found is None or len(found) == 64

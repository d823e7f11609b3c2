"""What a reference document must look like before a consumer believes it."""

import json
from datetime import UTC, datetime

import pytest

from thunderline.canonical import Json
from thunderline.consumer.watch import Wanted, parse_wanted
from thunderline.errors import InvalidInput

DIGEST = "ab" * 32


def document(**changes: Json) -> bytes:
    whole: dict[str, Json] = {
        "schema": "thunderline/reference/v1",
        "model": "m",
        "label": "prod",
        "seq": 7,
        "version": 3,
        "sha256": DIGEST,
        "size_bytes": 10,
        "format": "safetensors",
        "promoted_at": "2026-01-02T03:04:05.000000Z",
    }
    return json.dumps(whole | changes).encode()


def test_a_whole_document_is_read() -> None:
    assert parse_wanted(document(), model="m", label="prod") == Wanted(
        7, DIGEST, 10, "safetensors", 3, datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
    )


def test_fields_of_a_later_release_are_passed_over() -> None:
    assert parse_wanted(document(colour="blue"), model="m", label="prod").seq == 7


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"<html>502</html>", "reference"),
        (b"[]", "not a thunderline/reference/v1 document"),
        (document(schema="thunderline/reference/v9"), "is the URL right"),
        (document(model="other"), "expected m:prod, got 'other':'prod'"),
        (document(label="shadow"), "expected m:prod, got 'm':'shadow'"),
        (document(sha256="../../etc/passwd"), "reference.sha256"),
        (document(sha256=DIGEST.upper()), "reference.sha256"),
        (document(seq=-1), "reference.seq: expected a whole number, got -1"),
        (document(seq=True), "reference.seq: expected a whole number, got True"),
        (document(seq="7"), "reference.seq"),
        (document(size_bytes=1.5), "reference.size_bytes"),
        (document(version=None), "reference.version"),
        (document(promoted_at="yesterday"), "reference.promoted_at"),
        (document(promoted_at=None), "reference.promoted_at"),
        (document(padding="x" * (64 << 10)), "reference"),
    ],
)
def test_anything_else_is_refused_with_the_field(content: bytes, said: str) -> None:
    with pytest.raises(InvalidInput, match=said):
        parse_wanted(content, model="m", label="prod")

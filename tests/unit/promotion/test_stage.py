"""What words for stages, labels and addresses mean."""

import pytest

from thunderline.errors import InvalidInput
from thunderline.promotion.stage import (
    ByDigest,
    ByUri,
    ByVersion,
    Target,
    parse_address,
    parse_target,
    target_of,
)


@pytest.mark.parametrize(
    ("text", "ref", "stage"),
    [
        ("coop-chat-v2:prod", "coop-chat-v2:prod", "active"),
        ("coop-chat-v2#active", "coop-chat-v2:prod", "active"),
        ("coop-chat-v2:global", "coop-chat-v2:prod", "active"),
        ("coop-chat-v2:active", "coop-chat-v2:prod", "active"),
        ("m#canary", "m:staging", "staging"),
        ("m:staging", "m:staging", "staging"),
        ("m#shadow", "m:shadow", "shadow"),
        ("m:edge-eu", "m:edge-eu", None),
    ],
)
def test_every_word_for_a_stage_is_one_reference(text: str, ref: str, stage: str | None) -> None:
    assert (parse_target(text).ref, parse_target(text).stage) == (ref, stage)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "m",
        "m:",
        ":prod",
        "m#prod2",
        "m:Prod!",
        "../m:prod",
        "m:latest",
        "a/b:prod",
        "m:" + "x" * 64,
        "m\n:prod",
    ],
)
def test_what_names_no_reference_is_refused(text: str) -> None:
    with pytest.raises(InvalidInput):
        parse_target(text)


@pytest.mark.parametrize(
    ("text", "address"),
    [
        ("m@3", ByVersion("m", 3)),
        ("m@v12", ByVersion("m", 12)),
        ("m#active", Target("m", "prod", "active")),
        ("m:prod", Target("m", "prod", "active")),
        ("s3://bucket/a/b.pt", ByUri("s3://bucket/a/b.pt")),
        ("a" * 64, ByDigest("a" * 64)),
    ],
)
def test_an_address_is_what_people_write(text: str, address: object) -> None:
    assert parse_address(text) == address


@pytest.mark.parametrize("text", ["m", "m@0", "m@-1", "m@1.5", "file:///etc/passwd", "A" * 64, "a" * 63])
def test_what_is_no_address_is_refused(text: str) -> None:
    with pytest.raises(InvalidInput):
        parse_address(text)


def test_a_label_is_kept_under_its_stage() -> None:
    assert target_of("m", "production") == target_of("m", "prod")

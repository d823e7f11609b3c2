"""What an API key is."""

import pytest

from thunderline.identity.api_key import issue, key_id_of, matches


def test_a_key_is_recognised_by_its_digest_only() -> None:
    key = issue()
    assert key_id_of(key.text) == key.key_id
    assert matches(key.text, key.sha256)
    assert not matches(issue().text, key.sha256)
    assert key.text not in key.sha256


@pytest.mark.parametrize("damage", ["", "tl_", "x", "tl_" + "0" * 12 + "_" + "a" * 43 + "00000000"])
def test_what_is_no_key_has_no_id(damage: str) -> None:
    assert key_id_of(damage) is None


def test_a_mistyped_key_has_no_id() -> None:
    text = issue().text
    wrong = text[:20] + ("A" if text[20] != "A" else "B") + text[21:]
    assert key_id_of(wrong) is None

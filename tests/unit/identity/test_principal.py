"""Who asks, and what they may."""

from datetime import UTC, datetime, timedelta

import pytest

from thunderline.errors import NotPermitted
from thunderline.identity.principal import SCOPES, Principal
from thunderline.identity.records import StoredKey

NOW = datetime(2026, 1, 2, tzinfo=UTC)
SECOND = timedelta(seconds=1)


def stored(expires_at: datetime | None = None, revoked_at: datetime | None = None) -> StoredKey:
    return StoredKey("default", "0" * 12, "0" * 64, "ada", [], expires_at, revoked_at)


def test_a_caller_passes_with_exactly_the_right_asked_for() -> None:
    ada = Principal("default", "ada", frozenset({"files:read"}))
    ada.require("files:read")
    for other in (*(one for one in SCOPES if one != "files:read"), "files", "files:*", ""):
        with pytest.raises(NotPermitted, match=f"ada@default lacks the right {other}".replace("*", r"\*")):
            ada.require(other)


def test_a_caller_is_named_with_its_tenant() -> None:
    assert Principal("other", "eve", frozenset()).actor == "eve@other"


def test_rights_are_written_once_each() -> None:
    assert len(set(SCOPES)) == len(SCOPES)
    assert {"files:write", "files:read", "files:delete"} <= set(SCOPES)


def test_a_key_is_valid_until_it_ends_or_is_revoked() -> None:
    assert stored().is_valid(NOW)
    assert stored(expires_at=NOW + SECOND).is_valid(NOW)
    assert not stored(expires_at=NOW).is_valid(NOW)
    assert not stored(expires_at=NOW - SECOND).is_valid(NOW)
    assert not stored(revoked_at=NOW - SECOND).is_valid(NOW)
    assert not stored(expires_at=NOW + SECOND, revoked_at=NOW).is_valid(NOW)

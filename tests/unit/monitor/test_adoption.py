"""Who counts as having taken what a reference holds."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from thunderline.monitor.adoption import SILENT_AFTER, ConsumerState, adoption, has_adopted, is_silent

NOW = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
HELD, OTHER = "aa" * 32, "bb" * 32


def consumer(
    name: str = "c", sha256: str | None = HELD, state: str = "serving", **age: float
) -> ConsumerState:
    heard = NOW - timedelta(**age)
    return ConsumerState(name, "m", "prod", "events", state, sha256, 7, None, heard, heard)


@pytest.mark.parametrize(
    ("one", "expected"),
    [
        (consumer(), True),
        (consumer(sha256=OTHER), False),
        (consumer(sha256=None, state="starting"), False),
        (consumer(state="rejected"), False),
        (consumer(seconds=31), False),
    ],
)
def test_only_who_is_heard_of_and_serves_these_bytes_has_adopted(
    one: ConsumerState, *, expected: bool
) -> None:
    assert has_adopted(one, HELD, NOW) is expected


def test_silence_begins_after_three_heartbeats() -> None:
    one = consumer()
    assert not is_silent(one, one.last_seen + SILENT_AFTER)
    assert is_silent(one, one.last_seen + SILENT_AFTER + timedelta(microseconds=1))


def test_whose_seq_is_another_but_whose_bytes_are_the_same_has_adopted() -> None:
    assert has_adopted(replace(consumer(), seq=3), HELD, NOW)


def test_the_share_counts_stragglers_and_names_them() -> None:
    found = adoption(
        [consumer("new"), consumer("old", OTHER), consumer("gone", seconds=60), consumer("also new")],
        HELD,
        NOW,
    )
    assert (found.consumers, found.adopted, found.share) == (4, 2, 0.5)
    assert found.stragglers == ("old", "gone")


def test_where_nobody_consumes_there_is_no_share() -> None:
    found = adoption([], HELD, NOW)
    assert (found.consumers, found.share, found.stragglers) == (0, None, ())

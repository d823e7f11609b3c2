"""The events' wire names and what each carries: contract, letter by letter."""

import json
from collections.abc import Mapping
from dataclasses import FrozenInstanceError, fields
from datetime import UTC, datetime, timedelta, timezone

import pytest

from thunderline.events.catalog import CATALOG, ArtifactPromoted, ClientJoined, RoundCompleted
from thunderline.events.envelope import to_cloudevent
from thunderline.events.outbox import Recorded

# The data keys that consumers of each event already rely on.
PROMISED: Mapping[str, set[str]] = {
    "fl.federation.created": {"federation_id"},
    "fl.federation.started": {"federation_id"},
    "fl.federation.paused": {"federation_id"},
    "fl.federation.completed": {"federation_id"},
    "fl.federation.failed": {"federation_id", "reason"},
    "fl.client.joined": {"federation_id", "client_id"},
    "fl.client.dropped": {"federation_id", "client_id", "reason"},
    "fl.round.started": {"federation_id", "round_num"},
    "fl.round.completed": {"federation_id", "round_num"},
    "fl.aggregate.completed": {"federation_id", "round_num", "artifact_uri", "sha256"},
    "fl.artifact.promoted": {"federation_id", "artifact_uri", "target_ref", "sha256"},
}


def recorded(at: datetime, data: dict[str, object] | None = None) -> Recorded:
    given = json.loads(json.dumps(data or {"federation_id": "f"}))
    return Recorded(42, "0190-id", "default", "federation/f", 7, "fl.client.joined", given, at)


def test_every_wire_name_of_the_contract_is_there_and_is_its_own_key() -> None:
    assert set(PROMISED) <= set(CATALOG)
    assert all(kind.type == name for name, kind in CATALOG.items())


@pytest.mark.parametrize("name", sorted(PROMISED))
def test_an_event_carries_what_was_promised(name: str) -> None:
    assert PROMISED[name] <= {one.name for one in fields(CATALOG[name])}


def test_an_event_never_changes() -> None:
    event = ClientJoined("f", "c")
    with pytest.raises(FrozenInstanceError):
        event.client_id = "d"


def test_events_of_one_thing_share_a_subject() -> None:
    assert ClientJoined("f", "c").subject() == RoundCompleted("f", 1, {}).subject() == "federation/f"
    promoted = ArtifactPromoted(
        None, "s3://x/y", "m:prod", "0" * 64, "m", "prod", "active", 1, 1, None, "promotion", "a", "r", "id"
    )
    assert promoted.subject() == "model/m"
    assert set(promoted.data()) == {one.name for one in fields(promoted)}


def test_a_round_tells_its_figures() -> None:
    assert RoundCompleted("f", 3, {"loss": 0.5}).data() == {
        "federation_id": "f",
        "round_num": 3,
        "metrics": {"loss": 0.5},
    }


def test_the_envelope_is_complete_and_keeps_the_data() -> None:
    data: dict[str, object] = {"a": [1, None, "ü"], "b": {"c": 0.1}}
    told = json.loads(to_cloudevent(recorded(datetime(2026, 1, 2, 3, 4, 5, 6, tzinfo=UTC), data)))
    assert told == {
        "specversion": "1.0",
        "id": "0190-id",
        "source": "/thunderline/default",
        "type": "fl.client.joined",
        "subject": "federation/f",
        "time": "2026-01-02T03:04:05.000006Z",
        "datacontenttype": "application/json",
        "sequence": "42",
        "subjectversion": "7",
        "data": data,
    }


@pytest.mark.parametrize(
    ("at", "time"),
    [
        (datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC), "2026-01-02T03:04:05Z"),
        (
            datetime(2026, 1, 2, 3, 4, 5, 600_000, tzinfo=timezone(timedelta(hours=2))),
            "2026-01-02T01:04:05.6Z",
        ),
    ],
)
def test_time_is_told_in_utc(at: datetime, time: str) -> None:
    told = json.loads(to_cloudevent(recorded(at)))["time"]
    assert datetime.fromisoformat(told) == datetime.fromisoformat(time)
    assert told.endswith("Z")
    assert told == f"{at.astimezone(UTC):%Y-%m-%dT%H:%M:%S.%f}Z"  # format.md, section 1

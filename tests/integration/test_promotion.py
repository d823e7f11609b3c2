"""Promotion against a real Postgres and a real store: all or nothing, one winner, a chain that heals."""

import itertools
import json
import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import Barrier

import pytest

from thunderline.artifacts.artifact import Artifact
from thunderline.artifacts.filesystem import FilesystemStore
from thunderline.artifacts.records import artifact_by_id, record_artifact, record_file
from thunderline.artifacts.store import Store
from thunderline.canonical import sha256_hex
from thunderline.clock import SystemClock
from thunderline.db.pool import Database
from thunderline.errors import ChecksumMismatch, Conflict, GateRefused, NotFound, StaleState
from thunderline.events.outbox import pending
from thunderline.events.relay import Relay
from thunderline.identity.principal import SCOPES, Principal
from thunderline.promotion.history import check_chain
from thunderline.promotion.latest import publish_latest, publisher
from thunderline.promotion.promote import Outcome, Promotions
from thunderline.promotion.records import history
from thunderline.promotion.stage import ByDigest, ByUri, parse_target
from thunderline.registry.model import Gates, MetricGate
from thunderline.registry.records import (
    ensure_model,
    find_reference,
    first_hash,
    model_named,
    register_version,
    set_gates,
)

ADA = Principal("default", "ada", frozenset(SCOPES))
PROD = parse_target("m:prod")
GATES = Gates(MetricGate("accuracy", "higher", margin=0.01, floor=0.0))


def push(database: Database, store: Store, content: bytes, accuracy: float = 0.9) -> Artifact:
    """Store bytes as an artifact that is a version of model m."""
    clock = SystemClock()
    stored = store.put(content)
    uri = store.publish("default", stored.digest, f"artifacts/{stored.digest}/m.safetensors")
    with database.transaction("default") as connection:
        record_file(
            connection,
            stored=stored,
            content_type="application/octet-stream",
            actor="ada@default",
            at=clock.now(),
        )
        artifact = record_artifact(
            connection,
            kind="checkpoint",
            uri=uri,
            sha256=stored.digest,
            size_bytes=stored.size_bytes,
            format="safetensors",
            metrics={"accuracy": accuracy},
            metadata={},
            actor="ada@default",
            at=clock.now(),
        )
        ensure_model(connection, tenant="default", name="m", gates=GATES, actor="ada@default", at=clock.now())
        register_version(connection, model="m", artifact=artifact, actor="ada@default", at=clock.now())
    return artifact


@pytest.fixture
def promotions(database: Database, store: Store) -> Promotions:
    return Promotions(database, store, SystemClock())


def promote(promotions: Promotions, artifact: Artifact, **more: int | bool | None) -> Outcome:
    expected = more.get("expected_seq")
    return promotions.promote(
        ADA,
        target=PROD,
        address=ByUri(artifact.uri),
        reason="test",
        expected_seq=expected if isinstance(expected, int) else None,
        is_dry_run=more.get("is_dry_run") is True,
    )


def world(database: Database, store: Store) -> tuple[object, ...]:
    """All that a refusal must leave as it is."""
    with database.transaction("default") as connection:
        rows = history(connection, "m")
        reference = find_reference(connection, "m", "prod")
        model = model_named(connection, "m")
        events = connection.execute("select count(*) from tl.outbox").fetchone()
    return rows, reference, model, events, store.read_document("default", "models/m/latest.json")


def assert_linear(database: Database, store: Store, rows_expected: int | None = None) -> None:
    """The chain verifies, the reference is its last row, and the published copy agrees."""
    with database.transaction("default") as connection:
        rows, model = history(connection, "m"), model_named(connection, "m")
        reference = find_reference(connection, "m", "prod")
    report = check_chain(
        rows, first_hash=first_hash("default", "m"), head_seq=model.head_seq, head_hash=model.head_hash
    )
    assert report.is_sound, report.problem
    assert reference is not None
    assert (reference.seq, reference.sha256) == (rows[-1].seq, rows[-1].sha256)
    assert all(row.previous_sha256 == before.sha256 for before, row in itertools.pairwise(rows))
    if rows_expected is not None:
        assert len(rows) == rows_expected
    told = json.loads(store.read_document("default", "models/m/latest.json") or b"{}")
    assert (told["seq"], told["sha256"]) == (reference.seq, reference.sha256)
    assert (
        sha256_hex(store.read_document("default", "models/m/latest.safetensors") or b"") == reference.sha256
    )


def test_a_promotion_leaves_row_reference_event_and_latest(
    database: Database, store: Store, promotions: Promotions
) -> None:
    outcome = promote(promotions, push(database, store, b"one"))
    assert outcome.row is not None
    assert outcome.row.document()["target_ref"] == "m:prod"
    assert_linear(database, store, 1)
    with database.system() as connection:
        events = pending(connection, limit=10)
    assert [event.type for event in events] == ["fl.artifact.promoted"]
    assert {"federation_id", "artifact_uri", "target_ref", "sha256"} <= set(events[0].data)


def test_gates_that_change_while_a_promotion_looks_at_the_bytes_are_not_passed_by(
    database: Database, tmp_path: Path
) -> None:
    class Meanwhile(FilesystemStore):
        """Lets somebody else raise the floor when the bytes are asked for."""

        is_on = False

        def open(self, key: str, start: int, stop: int | None) -> Iterator[bytes]:
            if self.is_on:
                with database.transaction("default") as connection:
                    set_gates(connection, "m", Gates(MetricGate("accuracy", "higher", 0.01, floor=0.99)))
            return super().open(key, start, stop)

    blobs = Meanwhile(tmp_path / "slow")
    store = Store(blobs, bucket="thunderline-artifacts")
    artifact = push(database, store, b"one", accuracy=0.5)
    blobs.is_on = True
    with pytest.raises(Conflict, match="gates of model m were changed meanwhile"):
        promote(Promotions(database, store, SystemClock()), artifact)
    with pytest.raises(GateRefused):
        promote(Promotions(database, store, SystemClock()), artifact)


def test_the_same_again_changes_nothing_and_answers_the_same(
    database: Database, store: Store, promotions: Promotions
) -> None:
    artifact = push(database, store, b"one")
    first = promote(promotions, artifact)
    before = world(database, store)
    again = promote(promotions, artifact, expected_seq=0)  # a retry after a lost answer
    assert again.plan.is_noop
    assert first.row is not None
    assert again.row is not None
    assert again.row.id == first.row.id
    assert world(database, store) == before


def test_a_dry_run_changes_nothing_and_lists_the_gates(
    database: Database, store: Store, promotions: Promotions
) -> None:
    promote(promotions, push(database, store, b"one", 0.9))
    before = world(database, store)
    plan = promote(promotions, push(database, store, b"two", 0.5), is_dry_run=True).plan
    assert not plan.verdict.is_allowed
    assert [one.gate for one in plan.verdict.refused()] == ["gate.metric"]
    assert world(database, store) == before


def test_one_flipped_byte_blocks_with_both_digests_and_nothing_changes(
    database: Database, store: Store, promotions: Promotions, tmp_path: Path
) -> None:
    promote(promotions, push(database, store, b"one"))
    bad = push(database, store, b"two")
    file = tmp_path / "store" / bad.uri.removeprefix("s3://thunderline-artifacts/")
    file.chmod(0o640)
    file.write_bytes(b"twO")
    before = world(database, store)
    with pytest.raises(ChecksumMismatch) as refused:
        promote(promotions, bad)
    assert bad.sha256 in str(refused.value)
    assert sha256_hex(b"twO") in str(refused.value)
    assert world(database, store) == before


def test_missing_bytes_block_and_nothing_changes(
    database: Database, store: Store, promotions: Promotions, tmp_path: Path
) -> None:
    artifact = push(database, store, b"one")
    (tmp_path / "store" / artifact.uri.removeprefix("s3://thunderline-artifacts/")).unlink()
    with pytest.raises(Exception, match="not in the store"):
        promote(promotions, artifact)
    with database.transaction("default") as connection:
        assert history(connection, "m") == []


def test_a_worse_candidate_is_refused_and_nothing_changes(
    database: Database, store: Store, promotions: Promotions
) -> None:
    promote(promotions, push(database, store, b"one", 0.9))
    worse = push(database, store, b"two", 0.8)
    before = world(database, store)
    with pytest.raises(GateRefused):
        promote(promotions, worse)
    assert world(database, store) == before


def test_a_wrong_expectation_is_told_what_it_lost_to(
    database: Database, store: Store, promotions: Promotions
) -> None:
    first = promote(promotions, push(database, store, b"one"))
    with pytest.raises(StaleState) as refused:
        promote(promotions, push(database, store, b"two"), expected_seq=0)
    assert first.row is not None
    assert refused.value.current["sha256"] == first.row.sha256


def test_what_does_not_exist_cannot_be_promoted(
    database: Database, store: Store, promotions: Promotions
) -> None:
    artifact = push(database, store, b"one")
    with pytest.raises(NotFound, match="no artifact"):
        promotions.promote(ADA, target=PROD, address=ByDigest("0" * 64), reason="x")
    with pytest.raises(NotFound, match="no model"):
        promotions.promote(ADA, target=parse_target("n:prod"), address=ByUri(artifact.uri), reason="x")


def test_another_tenant_sees_nothing_to_promote(
    database: Database, store: Store, promotions: Promotions
) -> None:
    artifact = push(database, store, b"one")
    eve = Principal("other", "eve", frozenset(SCOPES))
    with pytest.raises(NotFound, match="no model"):
        promotions.promote(eve, target=PROD, address=ByUri(artifact.uri), reason="x")


def test_a_rollback_returns_to_what_served_before_and_twice_is_once(
    database: Database, store: Store, promotions: Promotions
) -> None:
    first, second = push(database, store, b"one", 0.9), push(database, store, b"two", 0.95)
    promote(promotions, first)
    promote(promotions, second)
    planned = promotions.rollback(ADA, target=PROD, reason="x", is_dry_run=True)
    assert planned.plan.situation.artifact.sha256 == first.sha256
    back = promotions.rollback(ADA, target=PROD, reason="x")
    assert back.row is not None
    assert (back.row.kind, back.row.sha256) == ("rollback", first.sha256)
    again = promotions.rollback(ADA, target=PROD, reason="x")
    assert again.plan.is_noop
    assert_linear(database, store, 3)


def test_a_rollback_passes_over_bytes_that_no_longer_verify(
    database: Database, store: Store, promotions: Promotions, tmp_path: Path
) -> None:
    made = [push(database, store, content, 0.9) for content in (b"one", b"two", b"three")]
    for artifact in made:
        promote(promotions, artifact)
    file = tmp_path / "store" / made[1].uri.removeprefix("s3://thunderline-artifacts/")
    file.chmod(0o640)
    file.write_bytes(b"twO")
    back = promotions.rollback(ADA, target=PROD, reason="x")
    assert back.row is not None
    assert back.row.sha256 == made[0].sha256


def test_repeating_a_promotion_brings_back_a_published_copy_that_went_missing(
    database: Database, store: Store, promotions: Promotions
) -> None:
    first, second = push(database, store, b"one"), push(database, store, b"two")
    promote(promotions, first)
    promote(promotions, second)
    for name in ("latest.safetensors", "latest.json"):
        store.remove("default", f"models/m/{name}")
        again = promote(promotions, second)
        assert again.plan.is_noop
        assert again.is_published
        uri = store.uri("default", "models/m/latest.safetensors")
        assert store.digest_of("default", uri) == second.sha256
        assert store.read_document("default", "models/m/latest.json") is not None
    assert_linear(database, store, 2)


def test_nothing_to_go_back_to_is_a_conflict(
    database: Database, store: Store, promotions: Promotions
) -> None:
    promote(promotions, push(database, store, b"one"))
    with pytest.raises(Conflict, match="nothing to go back to"):
        promotions.rollback(ADA, target=PROD, reason="x")


def test_of_two_promotions_at_once_exactly_one_wins(
    database: Database, store: Store, promotions: Promotions
) -> None:
    made = [push(database, store, content, 0.9) for content in (b"one", b"two")]
    start = Barrier(2)

    def race(artifact: Artifact) -> str:
        start.wait()
        try:
            return "won" if promote(promotions, artifact, expected_seq=0).row else "?"
        except StaleState as refused:
            return f"lost to {refused.current['sha256']}"

    with ThreadPoolExecutor(2) as pool:
        results = list(pool.map(race, made))
    assert results.count("won") == 1
    winner = made[results.index("won")]
    assert f"lost to {winner.sha256}" in results
    assert_linear(database, store, 1)


def test_of_two_writers_who_want_the_same_one_moves_and_the_other_finds_it_done(
    database: Database, store: Store, promotions: Promotions
) -> None:
    for number in range(1, 11):
        artifact, start = push(database, store, f"bytes {number}".encode(), 0.9), Barrier(2)

        def race(_: int, wanted: Artifact = artifact, start: Barrier = start) -> Outcome:
            start.wait()
            return promote(promotions, wanted)

        with ThreadPoolExecutor(2) as pool:
            outcomes = list(pool.map(race, range(2)))
        assert sorted(one.plan.is_noop for one in outcomes) == [False, True]
        assert len({one.row.id for one in outcomes if one.row}) == 1
        assert_linear(database, store, number)


@pytest.mark.slow
def test_two_hundred_promotions_by_eight_writers_are_one_line(
    database: Database, store: Store, promotions: Promotions
) -> None:
    made = [push(database, store, f"bytes {number}".encode(), 0.9) for number in range(8)]
    conflicts = 0

    def write(writer: int) -> int:
        lost = done = 0
        choice = random.Random(writer)
        while done < 25:
            try:
                done += not promote(promotions, choice.choice(made)).plan.is_noop
            except StaleState:
                lost += 1
        return lost

    with ThreadPoolExecutor(8) as pool:
        conflicts = sum(pool.map(write, range(8)))
    Relay(database, [publisher(database, store)]).step()
    assert_linear(database, store)
    assert conflicts > 0  # else nobody raced


def test_a_crash_before_latest_is_healed_by_the_relay(
    database: Database, store: Store, promotions: Promotions
) -> None:
    promote(promotions, push(database, store, b"one", 0.9))
    second = push(database, store, b"two", 0.9)
    old = store.read_document("default", "models/m/latest.json") or b""
    promote(promotions, second)
    store.write_document(
        "default", "models/m/latest.json", old
    )  # as if the process had died after the commit
    Relay(database, [publisher(database, store)]).step()
    assert_linear(database, store, 2)


def test_publishing_twice_is_publishing_once(
    database: Database, store: Store, promotions: Promotions, tmp_path: Path
) -> None:
    promote(promotions, push(database, store, b"one"))
    file = tmp_path / "store/models/m/latest.json"
    before = file.stat().st_mtime_ns
    publish_latest(database, store, tenant="default", model="m", label="prod")
    assert file.stat().st_mtime_ns == before


_WRITER = """
import random, sys
from pathlib import Path
from thunderline.artifacts.filesystem import FilesystemStore
from thunderline.artifacts.store import Store
from thunderline.clock import SystemClock
from thunderline.db.pool import Database
from thunderline.errors import StaleState
from thunderline.identity.principal import SCOPES, Principal
from thunderline.promotion.promote import Promotions
from thunderline.promotion.stage import ByUri, parse_target
dsn, root, seed, *uris = sys.argv[1:]
store = Store(FilesystemStore(Path(root)), bucket="thunderline-artifacts")
promotions = Promotions(Database(dsn), store, SystemClock())
choice = random.Random(int(seed))
print("ready", flush=True)
while True:
    try:
        promotions.promote(Principal("default", f"w{seed}", frozenset(SCOPES)), target=parse_target("m:prod"),
                           address=ByUri(choice.choice(uris)), reason="race")
    except StaleState:
        pass
"""


@pytest.mark.slow
def test_writers_killed_at_random_points_leave_one_line_that_heals(
    database: Database, store: Store, tmp_path: Path
) -> None:
    made = [push(database, store, f"bytes {number}".encode(), 0.9) for number in range(6)]
    uris = [artifact.uri for artifact in made]
    chance = random.Random(1)
    for attempt in range(6):
        children = [
            subprocess.Popen(
                [
                    sys.executable,
                    "-c",
                    _WRITER,
                    database.dsn,
                    str(tmp_path / "store"),
                    str(attempt * 10 + number),
                    *uris,
                ],
                stdout=subprocess.PIPE,
            )
            for number in range(3)
        ]
        for child in children:
            assert child.stdout is not None
            assert child.stdout.readline() == b"ready\n"
        time.sleep(0.3 + chance.random() * 0.5)
        for child in children:
            os.kill(child.pid, signal.SIGKILL)
            child.wait()
            assert child.stdout is not None
            child.stdout.close()
    fresh = Store(FilesystemStore(tmp_path / "store"), bucket="thunderline-artifacts")
    relay = Relay(database, [publisher(database, fresh)])
    while relay.step():
        pass
    assert_linear(database, fresh)
    with database.transaction("default") as connection:
        rows = history(connection, "m")
        assert len(rows) > 10
        assert artifact_by_id(connection, rows[-1].artifact_id).sha256 == rows[-1].sha256

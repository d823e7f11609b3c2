"""The events over real HTTP: every one, in order, once after de-duplication, whatever breaks off or dies."""

import json
import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from datetime import UTC, datetime
from threading import Event as Stop
from threading import Thread
from uuid import UUID

import httpx
import psycopg
import pytest

from tests.integration.pushing import done, promotion, push, refused, register
from tests.serving import RunningApi
from thunderline.db.embedded import EmbeddedPostgres
from thunderline.db.pool import Database
from thunderline.errors import InvalidInput
from thunderline.events.catalog import ClientJoined, RoundStarted
from thunderline.events.outbox import append, page
from thunderline.events.relay import Relay
from thunderline.registry.model import Gates
from thunderline.registry.records import ensure_model

NOW = datetime(2026, 1, 2, 3, 4, 5, 678901, tzinfo=UTC)
SUBJECTS = [str(UUID(int=number)) for number in range(20)]
WRITERS, EACH = 8, 40


@dataclass(frozen=True, slots=True)
class Heard:
    """One event as a reader of the stream got it."""

    position: int
    type: str
    event: dict[str, object]

    @property
    def client(self) -> str:
        data = self.event["data"]
        assert isinstance(data, dict)
        return str(data["client_id"])


def join(database: Database, federation: str, client: str, *, tenant: str = "default") -> None:
    with database.transaction(tenant) as connection:
        append(connection, ClientJoined(federation, client), at=NOW)


def listen(client: httpx.Client, resume: str | None = None, **params: str) -> Iterator[Heard]:
    """Follow the stream for ever; a generator that is closed hangs up."""
    headers = {"Last-Event-ID": resume} if resume else {}
    with client.stream("GET", "/api/events/stream", params=params, headers=headers) as response:
        assert response.status_code == 200, response.read()
        assert response.headers["content-type"].startswith("text/event-stream")
        fields: dict[str, str] = {}
        for line in response.iter_lines():
            name, colon, value = line.partition(": ")
            if colon and name:
                fields[name] = value
            elif not line and "data" in fields:
                yield Heard(int(fields["id"]), fields["event"], json.loads(fields["data"]))
                fields = {}


def take(stream: Iterator[Heard], count: int) -> list[Heard]:
    return [next(stream) for _ in range(count)]


def write(database: Database, writer: int) -> None:
    """Write into subjects that other writers use too; every fifth transaction stays open for a while."""
    chance = random.Random(writer)
    for number in range(EACH):
        with database.transaction("default") as connection:
            append(connection, ClientJoined(chance.choice(SUBJECTS), f"{writer}-{number}"), at=NOW)
            if chance.random() < 0.2:
                time.sleep(chance.random() * 0.02)  # not to wait for anything: others overtake it


def start_writers(pool: ThreadPoolExecutor, database: Database) -> list[Future[None]]:
    return [pool.submit(write, database, writer) for writer in range(WRITERS)]


def assert_every_event_once(heard: list[Heard]) -> None:
    """All are there, numbered without gaps, and each subject's in the order in which they were written."""
    assert [one.position for one in heard] == list(range(1, WRITERS * EACH + 1))
    assert {one.client for one in heard} == {f"{w}-{n}" for w in range(WRITERS) for n in range(EACH)}
    by_subject: dict[object, list[str]] = {}
    for one in heard:
        by_subject.setdefault(one.event["subject"], []).append(str(one.event["subjectversion"]))
    assert set(by_subject) <= {f"federation/{one}" for one in SUBJECTS}
    for versions in by_subject.values():
        assert versions == [str(number) for number in range(1, len(versions) + 1)]
    by_writer: dict[tuple[object, str], list[int]] = {}
    for one in heard:
        writer, _, number = one.client.partition("-")
        by_writer.setdefault((one.event["subject"], writer), []).append(int(number))
    assert all(numbers == sorted(numbers) for numbers in by_writer.values())


@pytest.fixture
def wide(database: Database) -> Iterator[Database]:
    """Return doors wide enough for all writers at once."""
    opened = Database(database.dsn, app_connections=WRITERS)
    yield opened
    opened.close()


@pytest.mark.slow
@pytest.mark.timeout(120)
def test_readers_who_stay_or_hang_up_at_random_miss_nothing_while_eight_write(
    api: RunningApi, wide: Database
) -> None:
    second = Stop()
    relaying = Thread(target=Relay(wide).run, args=(second,))  # a second relay beside the server's own
    relaying.start()
    chance = random.Random(7)
    heard: list[Heard] = []
    connections = 0

    def stay() -> list[Heard]:
        with api.client() as own:
            return take(listen(own), WRITERS * EACH)

    with ThreadPoolExecutor(WRITERS + 1) as pool, api.client() as client:
        staying = pool.submit(stay)
        writing = start_writers(pool, wide)
        while len(heard) < WRITERS * EACH:
            # going back a little at times, as a reader does that lost its last word
            kept = max(0, len(heard) - chance.choice([0, 0, 3]))
            resume = str(heard[kept - 1].position) if kept else None
            stream = listen(client, resume)
            got = take(stream, min(chance.randint(1, 25), WRITERS * EACH - kept))
            stream.close()
            connections += 1
            seen = {one.position for one in heard}
            again = [one for one in got if one.position in seen]
            assert all(one.event == heard[one.position - 1].event for one in again)
            heard += [one for one in got if one.position not in seen]
        for one in writing:
            one.result()
        assert_every_event_once(staying.result())
    second.set()
    relaying.join()
    assert connections > 10
    assert_every_event_once(heard)


_RELAY = """
import sys, time
from threading import Event
from thunderline.db.pool import Database
from thunderline.events.relay import Relay
relay = Relay(Database(sys.argv[1]), [lambda recorded: time.sleep(0.0005)])
print("ready", flush=True)
relay.run(Event())
"""


def start_relay(database: Database) -> subprocess.Popen[bytes]:
    child = subprocess.Popen([sys.executable, "-c", _RELAY, database.dsn], stdout=subprocess.PIPE)
    assert child.stdout is not None
    assert child.stdout.readline() == b"ready\n"
    return child


def kill(child: subprocess.Popen[bytes]) -> None:
    os.kill(child.pid, signal.SIGKILL)
    child.wait()
    assert child.stdout is not None
    child.stdout.close()


@pytest.mark.slow
@pytest.mark.timeout(120)
def test_relays_that_are_killed_lose_and_double_nothing(wide: Database) -> None:
    chance = random.Random(3)
    heard: list[Heard] = []

    def follow() -> None:
        end = time.monotonic() + 60
        while len(heard) < WRITERS * EACH:
            assert time.monotonic() < end, f"only {len(heard)} came"
            with wide.transaction("default") as connection:
                found = page(connection, after=heard[-1].position if heard else 0)
            for one in found:
                told = {
                    "subject": one.subject,
                    "subjectversion": str(one.subject_version),
                    "data": one.data,
                }
                heard.append(Heard(one.position, one.type, told))

    with ThreadPoolExecutor(WRITERS + 1) as pool:
        reading = pool.submit(follow)
        writing = start_writers(pool, wide)
        for _ in range(6):
            pair = [start_relay(wide), start_relay(wide)]
            time.sleep(chance.random() * 0.3)  # a random point of their work
            for child in pair:
                kill(child)
        last = start_relay(wide)
        for one in writing:
            one.result()
        reading.result()
        kill(last)
    assert_every_event_once(heard)


def test_an_event_travels_in_a_complete_envelope(api: RunningApi) -> None:
    with api.client() as client:
        join(api.services.database, SUBJECTS[3], "a")
        (heard,) = take(listen(client), 1)
        listed = client.get("/api/events")
        assert listed.headers["content-type"] == "application/cloudevents-batch+json"
        assert listed.json() == [heard.event]
    told = heard.event
    assert UUID(str(told.pop("id"))).version == 7
    assert told == {
        "specversion": "1.0",
        "source": "/thunderline/default",
        "type": "fl.client.joined",
        "subject": f"federation/{SUBJECTS[3]}",
        "time": "2026-01-02T03:04:05.678901Z",
        "datacontenttype": "application/json",
        "sequence": "1",
        "subjectversion": "1",
        "data": {"federation_id": SUBJECTS[3], "client_id": "a"},
    }
    assert (heard.position, heard.type) == (1, "fl.client.joined")


def test_a_reader_may_ask_for_some_types_only(api: RunningApi) -> None:
    database = api.services.database
    for number in range(3):
        join(database, SUBJECTS[0], str(number))
        with database.transaction("default") as connection:
            append(connection, RoundStarted(SUBJECTS[0], number + 1, clients=3), at=NOW)
    with api.client() as client:
        heard = take(listen(client, types="fl.round.started"), 3)
        assert [one.position for one in heard] == [2, 4, 6]
        assert {one.type for one in heard} == {"fl.round.started"}
        both = client.get("/api/events", params={"types": "fl.round.started, fl.client.joined", "after": 4})
        assert [one["sequence"] for one in both.json()] == ["5", "6"]
        for path in ("/api/events", "/api/events/stream"):
            told = refused(client.get(path, params={"types": "fl.nonsense"}), 400, "INVALID_INPUT")
            assert "fl.artifact.promoted" in str(told["message"])  # the known ones are listed


def test_a_reader_may_skip_the_past(api: RunningApi) -> None:
    join(api.services.database, SUBJECTS[0], "past")
    with api.client() as client:
        assert take(listen(client), 1)[0].client == "past"
        with client.stream("GET", "/api/events/stream", params={"after": "end"}) as response:
            join(api.services.database, SUBJECTS[0], "news")
            told = next(line for line in response.iter_lines() if line.startswith("data: "))
    assert '"news"' in told


def test_what_is_no_position_is_refused_with_a_sentence(api: RunningApi) -> None:
    with api.client() as client:
        for wrong in ("x", "-1", "1.5", "1" * 19, "\u0661", "0x1", "1;2"):
            answer = client.get("/api/events/stream", headers={"Last-Event-ID": wrong.encode()})
            told = refused(answer, 400, "INVALID_INPUT")
            assert "expected a position, a whole number" in str(told["message"])
            assert told["field"] == "Last-Event-ID"
        refused(client.get("/api/events/stream", params={"after": "yesterday"}), 400, "INVALID_INPUT")
        refused(client.get("/api/events", params={"after": "yesterday"}), 400, "INVALID_INPUT")
        assert client.get("/api/events", params={"after": 10**30}).json() == []


def test_a_tenant_hears_of_its_own_events_only(api: RunningApi) -> None:
    for number in range(6):
        tenant = "default" if number % 2 else "other"
        join(api.services.database, SUBJECTS[0], f"{tenant} {number}", tenant=tenant)
    for key, tenant in ((api.key, "default"), (api.other_key, "other")):
        with api.client(key) as client:
            heard = take(listen(client), 3)
            assert all(one.client.startswith(tenant) for one in heard)
            assert {one.event["source"] for one in heard} == {f"/thunderline/{tenant}"}
            assert len(client.get("/api/events").json()) == 3


def test_an_event_and_its_change_are_there_together_or_not_at_all(database: Database) -> None:
    def change(name: str, *, fails: bool) -> None:
        with database.transaction("default") as connection:
            ensure_model(connection, tenant="default", name=name, gates=Gates(), actor="ada", at=NOW)
            append(connection, ClientJoined(SUBJECTS[0], name), at=NOW)
            if fails:
                raise InvalidInput("x", "somebody changed their mind")

    change("kept", fails=False)
    with pytest.raises(InvalidInput):
        change("dropped", fails=True)
    change("kept-too", fails=False)
    Relay(database).step()
    with database.transaction("default") as connection:
        events = page(connection, after=0)
        models = connection.execute("select name from tl.model order by name").fetchall()
    assert [one.data["client_id"] for one in events] == ["kept", "kept-too"]
    assert [(one.position, one.subject_version) for one in events] == [(1, 1), (2, 2)]
    assert models == [("kept",), ("kept-too",)]


def test_a_promotion_whose_event_cannot_be_written_did_not_happen(
    api: RunningApi, postgres: EmbeddedPostgres, database_name: str
) -> None:
    with api.client() as client:
        register(client)
        artifact = push(client, b"one")
        with psycopg.connect(postgres.dsn_of("postgres", database_name), autocommit=True) as connection:
            connection.execute(
                "alter table tl.outbox add constraint none check (type <> 'fl.artifact.promoted') not valid"
            )
        told = refused(client.post("/api/promotions", json=promotion(artifact)), 500, "INTERNAL")
        assert "constraint" not in str(told)  # what is inside stays inside
        assert done(client.get("/api/models/m/history"))["history"] == []
        assert client.get("/api/models/m/references/prod").status_code == 404
        assert client.get("/api/events").json() == []
    assert api.services.store.read_document("default", "models/m/latest.json") is None

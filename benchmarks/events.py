"""events: how soon after a commit does a subscriber know, and how fast does the relay number a backlog?"""

import http.client
import time
from dataclasses import dataclass
from datetime import UTC, datetime
from queue import SimpleQueue
from socket import SHUT_RDWR
from threading import Thread

from benchmarks.answer import Figure, Peer, Target, percentile
from benchmarks.cost import cpu_seconds
from benchmarks.scratch import Caller, Platform, running_platform
from thunderline import process
from thunderline.cli.home import Home
from thunderline.db.pool import Database
from thunderline.events.catalog import FederationPaused
from thunderline.events.outbox import append, last_position

ASKS = (
    "How soon after a commit does an SSE subscriber have the event (commit, relay, API, socket), beside one"
    " bare `NOTIFY` of Postgres, and how fast does the relay number a backlog?"
)
_TENANT = "default"
_LONGEST_S = 30.0


@dataclass(frozen=True, slots=True)
class _Latency:
    """Milliseconds from the end of the commit to the receipt, one by one."""

    subscriber: list[float]
    notify: list[float]
    api_cpu_ms: float  # per event


@dataclass(frozen=True, slots=True)
class _Drain:
    """One backlog, numbered."""

    per_s: float
    appended_per_s: float
    cpu_ms: float  # of the relay, per thousand events


def measure(*, quick: bool) -> list[Figure]:
    """Commit one event after another, then whole backlogs, through the product's own outbox."""
    count, backlog, repeats = (20, 500, 2) if quick else (300, 5000, 3)
    with running_platform() as platform:
        database = Database(Home(platform.home).postgres().dsn)
        pids = platform.pids()
        latencies = [_latency(platform, database, pids["api"], count) for _ in range(repeats)]
        drains = [_drain(database, pids["relay"], backlog) for _ in range(repeats)]
        database.close()
    return _figures(latencies, drains)


def _figures(latencies: list[_Latency], drains: list[_Drain]) -> list[Figure]:
    def at(share: float, bound_ms: float) -> Figure:
        notify = Peer("bare NOTIFY", tuple(percentile(one.notify, share) for one in latencies))
        runs = tuple(percentile(one.subscriber, share) for one in latencies)
        return Figure(f"commit to subscriber, p{share * 100:g}", "ms", runs, notify, Target(bound_ms))

    appended = Peer("one writer's appends", tuple(one.appended_per_s for one in drains))
    return [
        at(0.5, 50),
        at(0.99, 300),
        Figure("CPU of the API", "ms/event", tuple(one.api_cpu_ms for one in latencies)),
        Figure(
            "backlog numbered by the relay",
            "events/s",
            tuple(one.per_s for one in drains),
            appended,
            Target(4000, is_least=True),
        ),
        Figure("CPU of the relay", "ms per 1000 events", tuple(one.cpu_ms for one in drains)),
    ]


class _Subscriber:
    """Reads the stream in a thread and notes when each event came."""

    def __init__(self, caller: Caller) -> None:
        self.came: SimpleQueue[float] = SimpleQueue()
        self._connection = caller.connection
        headers = {**caller.headers, "Accept": "text/event-stream"}
        self._connection.request("GET", "/api/events/stream?after=end", headers=headers)
        answer = self._connection.getresponse()
        if answer.status != http.client.OK:
            raise RuntimeError(f"the stream answered {answer.status}")
        self._socket = self._connection.sock
        self._thread = Thread(target=self._read, args=(answer,), daemon=True)
        self._thread.start()

    def _read(self, answer: http.client.HTTPResponse) -> None:
        while line := answer.readline():
            if line.startswith(b"data:"):
                self.came.put(time.perf_counter())

    def end(self) -> None:
        """Hang up, so that the next run has one subscriber again."""
        self._socket.shutdown(SHUT_RDWR)
        self._thread.join(timeout=_LONGEST_S)
        self._connection.close()


def _latency(platform: Platform, database: Database, api: int, count: int) -> _Latency:
    subscriber = _Subscriber(platform.caller())
    _commit(database, 1)
    subscriber.came.get(timeout=_LONGEST_S)  # the stream is open, the plans are made
    before, took_ms = cpu_seconds(api), []
    for _ in range(count):
        committed = _commit(database, 1)
        took_ms.append((subscriber.came.get(timeout=_LONGEST_S) - committed) * 1000)
    api_cpu_ms = (cpu_seconds(api) - before) * 1000 / count
    subscriber.end()
    return _Latency(took_ms, _notify(database, count), api_cpu_ms)


def _commit(database: Database, events: int) -> float:
    """Write events in one transaction; returns when it was committed."""
    with database.transaction(_TENANT) as connection:
        for number in range(events):
            append(connection, FederationPaused(f"benchmark-{number % 50}", "bench"), at=datetime.now(UTC))
    return time.perf_counter()


def _notify(database: Database, count: int) -> list[float]:
    """The same with nothing in between: one connection notifies, another one listens."""
    took_ms = []
    came: SimpleQueue[float] = SimpleQueue()
    listener, speaker = database.listener(), database.listener()
    listener.execute("listen benchmark")

    def listen() -> None:
        for _ in listener.notifies(stop_after=count):
            came.put(time.perf_counter())

    thread = Thread(target=listen, daemon=True)
    thread.start()
    for _ in range(count):
        speaker.execute("notify benchmark")
        committed = time.perf_counter()
        took_ms.append(max(came.get(timeout=_LONGEST_S) - committed, 1e-6) * 1000)
    thread.join(timeout=_LONGEST_S)
    listener.close()
    speaker.close()
    return took_ms


def _drain(database: Database, relay: int, backlog: int) -> _Drain:
    first, before, began = _newest(database), cpu_seconds(relay), time.perf_counter()
    committed = _commit(database, backlog)

    def is_drained() -> bool:
        return _newest(database) >= first + backlog

    if not process.wait_until(is_drained, _LONGEST_S * 4):
        raise RuntimeError(f"the relay did not number {backlog} events in time")
    drained_s = time.perf_counter() - committed
    cpu_ms = (cpu_seconds(relay) - before) * 1000 / (backlog / 1000)
    return _Drain(backlog / drained_s, backlog / (committed - began), cpu_ms)


def _newest(database: Database) -> int:
    with database.transaction(_TENANT) as connection:
        return last_position(connection)

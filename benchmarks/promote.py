"""promote: how long does one promotion take, and what does it cost the server and Postgres?"""

import os
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from benchmarks.answer import Figure, Peer, Target, percentile
from benchmarks.cost import cpu_seconds, family_cpu_seconds
from benchmarks.scratch import Caller, Platform, make_artifacts, running_platform

ASKS = (
    "How long does `POST /api/promotions` take beside `/healthz`, and what does it cost the API, the relay"
    " and Postgres? Two artifacts take turns on one reference; each promotion hashes its bytes again."
)
_MODEL = "turns"
_BYTES = 100_000  # of each artifact


@dataclass(frozen=True, slots=True)
class _Run:
    """Many promotions in a row, and as many calls of ``/healthz``."""

    promotions_ms: list[float]
    health_ms: list[float]
    durable_ms: list[float]  # the same number of durable writes of a small file
    api_ms: float  # CPU, per promotion
    relay_ms: float
    postgres_ms: float


def measure(*, quick: bool) -> list[Figure]:
    """Promote back and forth, twice or more, on one platform."""
    count, repeats = (20, 2) if quick else (300, 3)
    with running_platform() as platform:
        caller = platform.caller()
        artifacts = make_artifacts(caller, _MODEL, [bytes([one]) * _BYTES for one in range(2)])
        turns = _Turns(caller, [str(one["uri"]) for one in artifacts])
        _run(platform, turns, count=10)  # connections, caches
        runs = [_run(platform, turns, count=count) for _ in range(repeats)]
        caller.close()
    return _figures(runs)


def _figures(runs: list[_Run]) -> list[Figure]:
    def at(share: float) -> tuple[float, ...]:
        return tuple(percentile(one.promotions_ms, share) for one in runs)

    health = Peer("/healthz", tuple(percentile(one.health_ms, 0.5) for one in runs))
    durable = Peer("write, fsync, rename, fsync", tuple(percentile(one.durable_ms, 0.5) for one in runs))
    health_99 = Peer("/healthz", tuple(percentile(one.health_ms, 0.99) for one in runs))
    return [
        Figure("promotion, p50", "ms", at(0.5), health),
        Figure("promotion, p50, beside one write", "ms", at(0.5), durable),
        Figure("promotion, p99", "ms", at(0.99), health_99),
        Figure("CPU of the API", "ms/promotion", tuple(one.api_ms for one in runs), None, Target(10)),
        Figure("CPU of the relay", "ms/promotion", tuple(one.relay_ms for one in runs)),
        Figure("CPU of Postgres", "ms/promotion", tuple(one.postgres_ms for one in runs)),
    ]


class _Turns:
    """Promotes one artifact after the other to the same reference."""

    def __init__(self, caller: Caller, addresses: list[str]) -> None:
        self.caller, self._addresses, self._count = caller, addresses, 0

    def promote(self) -> float:
        """Promote the next one; returns milliseconds."""
        self._count += 1
        body = {
            "artifact": self._addresses[self._count % 2],
            "target_ref": f"{_MODEL}:prod",
            "reason": "a benchmark",
        }
        return self.caller.timed("POST", "/api/promotions", body)


def _run(platform: Platform, turns: _Turns, *, count: int) -> _Run:
    pids = platform.pids()
    meters: dict[str, Callable[[], float]] = {
        "api": lambda: cpu_seconds(pids["api"]),
        "relay": lambda: cpu_seconds(pids["relay"]),
        "postgres": lambda: family_cpu_seconds(pids["postgres"]),
    }
    before = {name: read() for name, read in meters.items()}
    promotions_ms = [turns.promote() for _ in range(count)]
    spent_ms = {name: (read() - before[name]) * 1000 / count for name, read in meters.items()}
    health_ms = [turns.caller.timed("GET", "/healthz") for _ in range(count)]
    durable_ms = [_durable_write_ms(platform.home.parent) for _ in range(count)]
    return _Run(
        promotions_ms, health_ms, durable_ms, spent_ms["api"], spent_ms["relay"], spent_ms["postgres"]
    )


def _durable_write_ms(folder: Path) -> float:
    """Replace a small file so that a power cut cannot undo it, as a promotion does several times."""
    started = time.perf_counter()
    new = folder / "durable.new"
    with new.open("wb") as file:
        file.write(b"a small document\n" * 30)
        file.flush()
        os.fsync(file.fileno())
    new.replace(folder / "durable")
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    os.fsync(descriptor)
    os.close(descriptor)
    return (time.perf_counter() - started) * 1000

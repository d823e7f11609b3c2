"""startup: what does it cost to start the platform, to let it idle, and to ask the command line for help?"""

import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass

from benchmarks.answer import Figure, Peer, Target
from benchmarks.cost import Spent, cpu_seconds, own_mb, resident_mb, run_command
from benchmarks.scratch import Platform, scratch_home

ASKS = (
    "What do a cold and a warm `thunderline up --detach` cost until it answers (CPU without Postgres' own),"
    " what does the idle platform hold and use, and what does `thunderline --help` cost?"
)
_OURS = ("supervisor", "relay", "driver", "api")


@dataclass(frozen=True, slots=True)
class _Idle:
    """The platform when nobody asks for anything."""

    resident_mb: dict[str, float]
    own_mb: float  # of all four, shared pages counted once
    cpu_ms_per_s: float


@dataclass(frozen=True, slots=True)
class _Life:
    """A cold start, some idle seconds, a stop, a warm start."""

    cold: Spent
    warm: Spent
    idle: _Idle


def measure(*, quick: bool) -> list[Figure]:
    """Start and stop several homes, then ask the command line for help."""
    lives = [_live(idle_s=2 if quick else 10) for _ in range(2 if quick else 3)]
    idles = [one.idle for one in lives]
    figures = [
        Figure("CPU to ready, cold", "s", tuple(one.cold.cpu_s for one in lives), None, Target(3)),
        Figure("CPU to ready, warm", "s", tuple(one.warm.cpu_s for one in lives), None, Target(3)),
        Figure("wall time to ready, cold", "s", tuple(one.cold.wall_s for one in lives)),
        Figure("wall time to ready, warm", "s", tuple(one.warm.wall_s for one in lives)),
        Figure(
            "API at rest, resident", "MB", tuple(one.resident_mb["api"] for one in idles), None, Target(120)
        ),
        *(
            Figure(f"{name} at rest, resident", "MB", tuple(one.resident_mb[name] for one in idles))
            for name in _OURS[:3]
        ),
        Figure("all four at rest, shared pages once", "MB", tuple(one.own_mb for one in idles)),
        Figure("CPU at rest, all four", "ms per second", tuple(one.cpu_ms_per_s for one in idles)),
    ]
    return figures + _command_line(3 if quick else 7)


def _live(*, idle_s: float) -> _Life:
    with scratch_home() as platform:
        cold = _start(platform)
        idle = _idle(platform.pids(), idle_s)
        platform.down()
        return _Life(cold, _start(platform), idle)


def _start(platform: Platform) -> Spent:
    started = platform.up()
    pids = platform.pids()
    return Spent(started.cpu_s + sum(cpu_seconds(pids[one]) for one in _OURS), started.wall_s)


def _idle(pids: dict[str, int], seconds: float) -> _Idle:
    before, started = sum(cpu_seconds(pids[one]) for one in _OURS), time.monotonic()
    time.sleep(seconds)  # the thing measured is that nothing happens
    spent_s, passed_s = sum(cpu_seconds(pids[one]) for one in _OURS) - before, time.monotonic() - started
    return _Idle(
        {one: resident_mb(pids[one]) for one in _OURS},
        sum(own_mb(pids[one]) for one in _OURS),
        spent_s * 1000 / passed_s,
    )


def _command_line(repeats: int) -> list[Figure]:
    plain = Peer("python -c pass", _cpu(["-c", "pass"], repeats))
    return [
        Figure(
            f"CPU of `thunderline {option}`",
            "s",
            _cpu(["-m", "thunderline.cli.main", option], repeats),
            plain,
            Target(0.4),
        )
        for option in ("--help", "--version")
    ]


def _cpu(arguments: Sequence[str], repeats: int) -> tuple[float, ...]:
    return tuple(run_command([sys.executable, *arguments]).cpu_s for _ in range(repeats))

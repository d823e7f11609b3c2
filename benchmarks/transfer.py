"""transfer: what do bytes in and out through ``/files`` cost beside a plain copy and a plain hash?"""

import hashlib
import os
import shutil
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from benchmarks.answer import Figure, Peer, Target
from benchmarks.cost import Spent, cpu_seconds, forget_peak, peak_mb, resident_mb, run_command
from benchmarks.scratch import Caller, running_platform

ASKS = (
    "What do 1 GiB in and 1 GiB out through `/files` cost, sha256 checked both ways, beside `cp` with fsync"
    " and `hashlib.sha256`?"
)
_MIB = 1 << 20
_GB = 1e9


@dataclass(frozen=True, slots=True)
class _Run:
    """One file, there and back."""

    up: Spent  # CPU: the server's
    down: Spent
    copied: Spent
    hashed: Spent
    above_idle_mb: float


def measure(*, quick: bool) -> list[Figure]:
    """Send a file there and back, three times, each time other bytes, on a fresh platform."""
    size = 16 * _MIB if quick else 1024 * _MIB
    runs = []
    for number in range(2 if quick else 3):
        with running_platform() as platform, _file(platform.home.parent, size, number) as file:
            caller = platform.caller()
            runs.append(_run(caller, platform.pids()["api"], file))
            caller.close()
    return _figures(runs, size)


def _figures(runs: list[_Run], size: int) -> list[Figure]:
    gb, mb = size / _GB, size / 1e6
    hashed = tuple(one.hashed.cpu_s / gb for one in runs)
    copies, hashes = (
        Peer("cp and fsync", tuple(mb / one.copied.wall_s for one in runs)),
        Peer("hashlib.sha256", tuple(mb / one.hashed.wall_s for one in runs)),
    )
    ups, downs = tuple(mb / one.up.wall_s for one in runs), tuple(mb / one.down.wall_s for one in runs)
    both = tuple((one.up.cpu_s + one.down.cpu_s) / gb for one in runs)
    twice = Peer("hashlib.sha256, twice", tuple(2 * one for one in hashed))
    return [
        Figure("server CPU, in and out", "s/GB", both, twice, Target(6)),
        Figure("server CPU, in", "s/GB", tuple(one.up.cpu_s / gb for one in runs)),
        Figure("server CPU, out", "s/GB", tuple(one.down.cpu_s / gb for one in runs)),
        Figure("in", "MB/s", ups, copies),
        Figure("in, beside a hash", "MB/s", ups, hashes),
        Figure("out", "MB/s", downs, copies),
        Figure("out, beside a hash", "MB/s", downs, hashes),
        Figure(
            "server memory above idle, at most",
            "MB",
            tuple(one.above_idle_mb for one in runs),
            None,
            Target(64),
        ),
    ]


@contextmanager
def _file(folder: Path, size: int, number: int) -> Iterator[Path]:
    """Make a file of bytes that no other run has."""
    path = folder / f"bytes-{number}"
    with path.open("wb") as file:
        file.write(number.to_bytes(8, "big") + os.urandom(_MIB - 8))
        for _ in range(size // _MIB - 1):
            file.write(os.urandom(_MIB))
        file.flush()
        os.fsync(file.fileno())
    yield path
    path.unlink()


def _run(caller: Caller, api: int, file: Path) -> _Run:
    hashed, digest = _hash(file)
    idle_mb = resident_mb(api)
    forget_peak(api)
    up = _spent(api, lambda: _send(caller, file, digest))
    down = _spent(api, lambda: _fetch(caller, digest, file.stat().st_size))
    above_idle_mb = peak_mb(api) - idle_mb
    caller.call("DELETE", f"/files/{digest}")
    return _Run(up, down, _copy(file), hashed, above_idle_mb)


def _spent(api: int, act: Callable[[], None]) -> Spent:
    before, started = cpu_seconds(api), time.perf_counter()
    act()
    return Spent(cpu_seconds(api) - before, time.perf_counter() - started)


def _send(caller: Caller, file: Path, digest: str) -> None:
    """Upload by sendfile, so that the client leaves the machine to the server."""
    with file.open("rb") as opened:
        connection = caller.connection
        connection.putrequest("POST", "/files")
        for name, value in caller.headers.items():
            connection.putheader(name, value)
        connection.putheader("Content-Length", str(file.stat().st_size))
        connection.endheaders()
        connection.sock.sendfile(opened)
        answer = connection.getresponse()
        said = answer.read()
    if answer.status != 201 or digest.encode() not in said:
        raise RuntimeError(f"the upload gave {answer.status} {said[:300]!r} instead of {digest}")


def _fetch(caller: Caller, digest: str, size: int) -> None:
    """Download and count; the server withholds the end of what does not match its digest."""
    caller.connection.request("GET", f"/files/{digest}", headers=caller.headers)
    answer = caller.connection.getresponse()
    room, found = memoryview(bytearray(_MIB)), 0
    while count := answer.readinto(room):
        found += count
    if (answer.status, found) != (200, size):
        raise RuntimeError(f"the download gave {answer.status} and {found} of {size} bytes")


def _copy(file: Path) -> Spent:
    copy, started = file.with_suffix(".copy"), time.perf_counter()
    copied = run_command([shutil.which("cp") or "/bin/cp", str(file), str(copy)])
    with copy.open("rb") as opened:
        os.fsync(opened.fileno())
    wall_s = time.perf_counter() - started
    copy.unlink()
    return Spent(copied.cpu_s, wall_s)


def _hash(file: Path) -> tuple[Spent, str]:
    before, started = time.process_time(), time.perf_counter()
    hasher, room = hashlib.sha256(), memoryview(bytearray(_MIB))
    with file.open("rb", buffering=0) as opened:
        while count := opened.readinto(room):
            hasher.update(room[:count])
    return Spent(time.process_time() - before, time.perf_counter() - started), hasher.hexdigest()

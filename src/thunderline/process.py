"""A child process: start, ready, stop by pid and start time, die with the parent."""

import ctypes
import os
import signal
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from thunderline.errors import Unavailable

_PR_SET_PDEATHSIG = 1
_POLL_S = 0.02


@dataclass(frozen=True, slots=True)
class Owner:
    """Whom a child runs as, when the parent is root."""

    uid: int
    gid: int


@dataclass(frozen=True, slots=True)
class Running:
    """A process that cannot be taken for another: a pid is used again, a pid with its start is not."""

    pid: int
    started: int  # clock ticks after boot, as the kernel counts


@dataclass(frozen=True, slots=True)
class Finished:
    """What a short command came to."""

    code: int
    said: str  # stdout and stderr together


class Child:
    """A process started here."""

    def __init__(self, popen: subprocess.Popen[bytes]) -> None:
        """Take over a process just started; ``start`` makes these."""
        self._popen = popen
        found = running(popen.pid)
        self.running = found or Running(popen.pid, 0)

    @property
    def pid(self) -> int:
        """Its process id."""
        return self._popen.pid

    def exit_code(self) -> int | None:
        """Return the exit code, negative for a signal, or None while it runs; reaps it."""
        return self._popen.poll()

    def stop(self, grace_s: float = 10.0) -> int:
        """Ask it to end, then end it.

        Args:
            grace_s: seconds between SIGTERM and SIGKILL.

        Returns:
            Its exit code, negative for a signal.
        """
        self.ask_to_end()
        return self.end(grace_s)

    def ask_to_end(self) -> None:
        """Send SIGTERM and return at once."""
        with suppress(ProcessLookupError):
            self._popen.terminate()

    def end(self, grace_s: float = 10.0) -> int:
        """Wait for a process that was asked to end, then end it; returns its exit code."""
        try:
            return self._popen.wait(grace_s)
        except subprocess.TimeoutExpired:
            self._popen.kill()
            return self._popen.wait()


def run(
    arguments: Sequence[str | Path],
    *,
    cwd: Path | None = None,
    owner: Owner | None = None,
    stdin: bytes = b"",
    timeout_s: float = 120.0,
) -> Finished:
    """Run a short command to its end.

    Raises:
        PermissionError: the program may not be executed by ``owner``.
        Unavailable: it took longer than ``timeout_s``.
    """
    try:
        done = subprocess.run(
            [str(one) for one in arguments],
            cwd=cwd,
            input=stdin,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            timeout=timeout_s,
            check=False,
            user=owner.uid if owner else None,
            group=owner.gid if owner else None,
            extra_groups=[] if owner else None,
        )
    except subprocess.TimeoutExpired as error:
        raise Unavailable(Path(arguments[0]).name, f"did not end within {timeout_s:g} s") from error
    return Finished(done.returncode, done.stdout.decode(errors="replace"))


def start(
    arguments: Sequence[str | Path],
    *,
    log: Path,
    cwd: Path | None = None,
    owner: Owner | None = None,
    environment: Mapping[str, str] | None = None,
    open_files: Sequence[int] = (),
) -> Child:
    """Start a process in a session of its own, so that a Ctrl-C at the terminal is ours to pass on.

    Args:
        arguments: program and arguments.
        log: file to which everything it says is appended.
        cwd: where it runs; by default here.
        owner: whom it runs as; only root may choose.
        environment: all of it; by default ours.
        open_files: descriptors that it inherits under the same numbers.
    """
    with log.open("ab") as file:
        return Child(
            subprocess.Popen(
                [str(one) for one in arguments],
                cwd=cwd,
                stdin=subprocess.DEVNULL,
                stdout=file,
                stderr=file,
                env=environment,
                start_new_session=True,
                pass_fds=open_files,
                user=owner.uid if owner else None,
                group=owner.gid if owner else None,
                extra_groups=[] if owner else None,
            )
        )


def wait_until(is_ready: Callable[[], bool], timeout_s: float) -> bool:
    """Ask every 20 ms until the answer is yes; False when ``timeout_s`` went by first."""
    end = time.monotonic() + timeout_s
    while not is_ready():
        if time.monotonic() > end:
            return False
        time.sleep(_POLL_S)
    return True


def running(pid: int) -> Running | None:
    """Return the process of that id with its start time, None when it is gone or only waits to be reaped."""
    try:
        words = (
            Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace").rpartition(")")[2].split()
        )
    except OSError:
        return None
    return None if words[0] in "ZX" else Running(pid, int(words[19]))


def is_alive(process: Running) -> bool:
    """Tell whether exactly this process still runs."""
    return running(process.pid) == process


def send(process: Running, number: signal.Signals) -> None:
    """Send a signal to exactly this process; nothing happens when it is gone."""
    if is_alive(process):
        with suppress(ProcessLookupError):
            os.kill(process.pid, number)


def stop(process: Running, grace_s: float = 10.0) -> bool:
    """End a process that another one started: SIGTERM, then SIGKILL after the grace.

    Returns:
        True when it is gone.
    """
    send(process, signal.SIGTERM)
    if wait_until(lambda: not is_alive(process), grace_s):
        return True
    send(process, signal.SIGKILL)
    return wait_until(lambda: not is_alive(process), 5.0)


def command_line(pid: int) -> list[str]:
    """Return the arguments of a process; empty when it is gone."""
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes().decode(errors="replace").rstrip("\0").split("\0")
    except OSError:
        return []


def resident_bytes(pid: int) -> int | None:
    """Return the resident memory of a process in bytes, None when it is gone."""
    try:
        pages = int(Path(f"/proc/{pid}/statm").read_text(encoding="ascii").split()[1])
    except OSError:
        return None
    return pages * os.sysconf("SC_PAGESIZE")


def die_with_parent(parent: int) -> None:
    """Ask the kernel for SIGTERM when the process that started us dies, however it dies.

    Args:
        parent: the id of that process, to notice that it is gone already.
    """
    ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_PDEATHSIG, int(signal.SIGTERM), 0, 0, 0)
    if os.getppid() != parent:
        os.kill(os.getpid(), signal.SIGTERM)

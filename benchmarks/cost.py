"""What a process costs, as the kernel counts: CPU seconds and memory."""

import os
import resource
import subprocess
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

_SCHEDULED = 2  # CPUCLOCK_SCHED: what the scheduler counted, in nanoseconds
_TICKS = os.sysconf("SC_CLK_TCK")
_FORGET_PEAK = "5"  # proc(5): resets the high-water mark of the resident memory


@dataclass(frozen=True, slots=True)
class Spent:
    """What something took."""

    cpu_s: float
    wall_s: float


def cpu_seconds(pid: int) -> float:
    """Return the CPU seconds of a process so far, all its threads, the ended ones too.

    Source:
        clock_getcpuclockid(3): the clock of another process; finer than the ticks of proc(5).
    """
    return time.clock_gettime((~pid << 3) | _SCHEDULED)


def family_cpu_seconds(pid: int) -> float:
    """Return the CPU seconds of a process and of all its descendants, the ended ones too, in ticks."""
    total = sum(int(one) for one in _stat_words(pid)[11:15]) / _TICKS
    for entry in Path("/proc").iterdir():
        if not entry.name.isdigit():
            continue
        try:
            parent = int(_stat_words(int(entry.name))[1])
            if parent == pid:
                total += family_cpu_seconds(int(entry.name))
        except OSError:
            continue  # ended since; its parent has reaped it
    return total


def _stat_words(pid: int) -> list[str]:
    text = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace")
    return text.rpartition(")")[2].split()


def forget_peak(pid: int) -> None:
    """Let the peak of a process's memory start anew from what it holds now."""
    Path(f"/proc/{pid}/clear_refs").write_text(_FORGET_PEAK, encoding="ascii")


def peak_mb(pid: int) -> float:
    """Return the highest resident memory since ``forget_peak``, in MB (10^6 bytes)."""
    return _status_mb(pid, "VmHWM")


def resident_mb(pid: int) -> float:
    """Return the resident memory of a process, in MB."""
    return _status_mb(pid, "VmRSS")


def own_mb(pid: int) -> float:
    """Return a process's proportional share of the memory it has mapped (PSS), in MB."""
    return _kb_field(Path(f"/proc/{pid}/smaps_rollup"), "Pss")


def _status_mb(pid: int, field: str) -> float:
    return _kb_field(Path(f"/proc/{pid}/status"), field)


def _kb_field(file: Path, field: str) -> float:
    for line in file.read_text(encoding="utf-8", errors="replace").splitlines():
        name, _, value = line.partition(":")
        if name == field:
            return int(value.split()[0]) * 1024 / 1e6
    raise LookupError(f"{file} has no field {field}")


def run_command(arguments: Sequence[str], *, environment: Mapping[str, str] | None = None) -> Spent:
    """Run a command to its end and return what it and its reaped children took.

    Raises:
        RuntimeError: it failed; with its last words.
    """
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    started = time.perf_counter()
    done = subprocess.run(arguments, check=False, env=environment, capture_output=True)
    wall_s = time.perf_counter() - started
    if done.returncode:
        raise RuntimeError(f"{arguments} ended with {done.returncode}: {done.stderr[-1000:].decode()}")
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return Spent(after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime, wall_s)

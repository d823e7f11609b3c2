"""The machine that measures, as far as it matters for a figure."""

import os
import platform
from dataclasses import dataclass
from pathlib import Path

from thunderline.canonical import Json


@dataclass(frozen=True, slots=True)
class Machine:
    """What figures depend on."""

    cpus: int
    model: str
    memory_gb: float
    python: str
    kernel: str

    def document(self) -> dict[str, Json]:
        """Return it as the result file holds it."""
        return {
            "cpus": self.cpus,
            "model": self.model,
            "memory_gb": self.memory_gb,
            "python": self.python,
            "kernel": self.kernel,
        }


def this_machine() -> Machine:
    """Describe the machine that this runs on."""
    pages = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    return Machine(
        cpus=len(os.sched_getaffinity(0)),
        model=_cpu_model(),
        memory_gb=round(pages / 1e9, 1),
        python=platform.python_version(),
        kernel=platform.release().partition("-")[0],
    )


def _cpu_model() -> str:
    for line in Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace").splitlines():
        name, _, value = line.partition(":")
        if name.strip() == "model name":
            return value.strip()
    return platform.machine()

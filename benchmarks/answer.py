"""What a question comes to: figures with every run, their medians, peers and targets; and their file."""

import json
import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from benchmarks.machine import Machine
from thunderline.canonical import Json

RESULTS = Path(__file__).parent / "results"
SCHEMA = "thunderline/benchmark/v1"


@dataclass(frozen=True, slots=True)
class Target:
    """What a figure should come to."""

    bound: float
    is_least: bool = False  # at least the bound; else at most
    of_ratio: bool = False  # judges the ratio to the peer; else the median

    def is_met_by(self, value: float) -> bool:
        """Tell whether a value keeps to the target; NaN never does."""
        return value >= self.bound if self.is_least else value <= self.bound

    def text(self) -> str:
        """Return the target as a person reads it."""
        told = f"{'≥' if self.is_least else '≤'} {self.bound:g}"
        return f"ratio {told}" if self.of_ratio else told


@dataclass(frozen=True, slots=True)
class Peer:
    """Something that everybody has, measured beside the figure, run by run, in the same unit."""

    name: str
    runs: tuple[float, ...]


@dataclass(frozen=True, slots=True)
class Figure:
    """One number of an answer, measured several times."""

    name: str
    unit: str
    runs: tuple[float, ...]
    peer: Peer | None = None
    target: Target | None = None

    @property
    def median(self) -> float:
        """The middle of the runs."""
        return statistics.median(self.runs)

    @property
    def ratio(self) -> float | None:
        """The middle of each run divided by its peer's; None without a peer."""
        if self.peer is None or not all(self.peer.runs):
            return None
        return statistics.median(
            ours / theirs for ours, theirs in zip(self.runs, self.peer.runs, strict=True)
        )

    @property
    def is_met(self) -> bool | None:
        """Whether the target is kept; None without a target."""
        if self.target is None:
            return None
        judged = self.ratio if self.target.of_ratio else self.median
        return judged is not None and self.target.is_met_by(judged)

    def document(self) -> dict[str, Json]:
        """Return the figure as the result file holds it."""
        peer = self.peer
        return {
            "name": self.name,
            "unit": self.unit,
            "runs": [_rounded(one) for one in self.runs],
            "median": _rounded(self.median),
            "peer": peer.name if peer else None,
            "peer_runs": [_rounded(one) for one in peer.runs] if peer else None,
            "peer_median": _rounded(statistics.median(peer.runs)) if peer else None,
            "ratio": None if self.ratio is None else _rounded(self.ratio),
            "target": self.target.text() if self.target else None,
            "met": self.is_met,
        }


@dataclass(frozen=True, slots=True)
class Answer:
    """A question with its figures, where and when they were measured."""

    question: str
    asks: str
    date: str  # RFC 3339
    is_quick: bool
    machine: Machine
    loads: tuple[float, float]  # one-minute load average before and after
    figures: tuple[Figure, ...]
    skipped: str | None = None  # why there are no figures

    def document(self) -> dict[str, Json]:
        """Return the answer as its file holds it."""
        return {
            "schema": SCHEMA,
            "question": self.question,
            "asks": self.asks,
            "date": self.date,
            "quick": self.is_quick,
            "machine": self.machine.document(),
            "load_average": [round(one, 2) for one in self.loads],
            "noisy": self.loads[0] > self.machine.cpus,  # the load after is mostly our own
            "skipped": self.skipped,
            "figures": [one.document() for one in self.figures],
        }

    def save(self, folder: Path) -> Path:
        """Write the answer into ``<question>.json`` below a folder."""
        folder.mkdir(parents=True, exist_ok=True)
        file = folder / f"{self.question}.json"
        file.write_text(json.dumps(self.document(), indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
        return file


def percentile(values: Sequence[float], share: float) -> float:
    """Return the smallest value that at least this share of the values does not exceed.

    >>> percentile([4.0, 1.0, 3.0, 2.0], 0.5)
    2.0
    """
    ordered = sorted(values)
    place = -int(-share * len(ordered) // 1)  # rounded up
    return ordered[max(1, place) - 1]


def _rounded(value: float) -> float:
    return float(f"{value:.4g}")

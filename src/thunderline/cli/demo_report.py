"""What the demo showed, as JSON and as a closing table."""

import json
import statistics
import time
from dataclasses import asdict, dataclass, field
from pathlib import Path

from thunderline.canonical import Json
from thunderline.cli.output import emit, say


@dataclass(slots=True)
class Facts:
    """Figures gathered on the way; ``holds`` only if every step did."""

    started: float  # seconds since the epoch
    accuracy_by_round: list[float] = field(default_factory=list)
    candidates: int = 0
    consumers: list[str] = field(default_factory=list)
    promotions: int = 0
    promote_ms: list[float] = field(default_factory=list)
    adoption_ms: dict[str, list[float]] = field(default_factory=dict)
    refusals: list[dict[str, str]] = field(default_factory=list)
    rollbacks: int = 0
    rollback_ms: float = 0.0
    requests_served: int = 0
    requests_failed: int = 0
    history_rows: int = 0
    chain_sound: bool = False
    latest_bytes: int = 0
    sha256: str = ""
    served_version: int = 0
    seconds: float = 0.0
    problem: str = ""

    def failed(self, problem: str) -> None:
        """Note the step that did not hold."""
        self.problem = problem

    @property
    def holds(self) -> bool:
        """Tell whether all was shown that the demo is there to show."""
        return (
            not self.problem
            and self.requests_failed == 0
            and self.requests_served > 0
            and len(self.adoption_ms) == 2  # noqa: PLR2004 -- two consumers
            and len(self.refusals) == 2  # noqa: PLR2004 -- tampered, and worse
            and self.rollbacks == 1
            and self.chain_sound
        )

    def write(self, path: Path) -> None:
        """Write the facts as JSON."""
        self.seconds = round(time.time() - self.started, 1)
        path.write_text(json.dumps({"ok": self.holds, **asdict(self)}, indent=2) + "\n", encoding="utf-8")


def show_closing(facts: Facts, path: Path) -> None:
    """Print what was shown, with figures, and where to look further."""
    adopted = {name: f"{statistics.median(spent):.0f} ms" for name, spent in facts.adoption_ms.items()}
    shown = f"{facts.accuracy_by_round[-1]:.3f}" if facts.accuracy_by_round else "-"
    promote = f"{statistics.median(facts.promote_ms):.0f} ms" if facts.promote_ms else "-"
    rows: list[dict[str, Json]] = [
        {"shown": "rounds, last accuracy", "figure": f"{len(facts.accuracy_by_round)}, {shown}"},
        {"shown": "promotions, median time", "figure": f"{facts.promotions}, {promote}"},
        {"shown": "adoption by events", "figure": adopted.get("events", "-")},
        {"shown": "adoption by polling", "figure": adopted.get("polling", "-")},
        {"shown": "refused: tampered bytes, worse model", "figure": f"{len(facts.refusals)} of 2"},
        {"shown": "rollback", "figure": f"{facts.rollbacks}, {facts.rollback_ms:.0f} ms"},
        {"shown": "requests served", "figure": facts.requests_served},
        {"shown": "requests failed", "figure": facts.requests_failed},
        {
            "shown": "history",
            "figure": f"{facts.history_rows} rows, {'sound' if facts.chain_sound else 'BROKEN'}",
        },
        {
            "shown": "serves now",
            "figure": f"@{facts.served_version}, {facts.latest_bytes} bytes, {facts.sha256}",
        },
        {"shown": "took", "figure": f"{facts.seconds:g} s"},
    ]
    emit(rows, title="the main job" if facts.holds else "the main job: NOT everything held")
    say(f"facts: {path}. Next: `thunderline up --detach`, then docs/tutorials/first-model.md")

"""What the gates found; one no is a no."""

from dataclasses import dataclass

from thunderline.canonical import Json


@dataclass(frozen=True, slots=True)
class Finding:
    """One gate's answer, with what it expected, what it saw, and where that came from."""

    gate: str
    ok: bool
    expected: str
    observed: str
    source: str
    next: str = ""  # what to do when the answer is no

    def to_json(self) -> dict[str, Json]:
        """Return the finding as histories keep it."""
        return {
            "gate": self.gate,
            "ok": self.ok,
            "expected": self.expected,
            "observed": self.observed,
            "source": self.source,
            "next": self.next,
        }


@dataclass(frozen=True, slots=True)
class Verdict:
    """All findings of one judgement."""

    findings: tuple[Finding, ...]

    @property
    def is_allowed(self) -> bool:
        """Tell whether every gate said yes; no gate at all is a no."""
        return bool(self.findings) and all(one.ok for one in self.findings)

    def refused(self) -> tuple[Finding, ...]:
        """Return the findings that said no."""
        return tuple(one for one in self.findings if not one.ok)

    def to_json(self) -> list[Json]:
        """Return the findings as histories keep them."""
        return [one.to_json() for one in self.findings]

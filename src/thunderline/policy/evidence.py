"""The facts that a gate may see."""

from collections.abc import Mapping
from dataclasses import dataclass

from thunderline.canonical import Json


@dataclass(frozen=True, slots=True)
class Candidate:
    """An artifact as gates see it."""

    sha256: str
    uri: str
    metrics: Mapping[str, Json]
    metadata: Mapping[str, Json]

    @property
    def evaluated_on(self) -> str | None:
        """Return the digest of the data its metrics were measured on, None when not recorded."""
        found = self.metadata.get("evaluated_on")
        return found if isinstance(found, str) else None


@dataclass(frozen=True, slots=True)
class Evidence:
    """All that is known when a verdict is asked for."""

    candidate: Candidate
    champion: Candidate | None  # what the reference (or else the active stage) holds now
    digest_read: str | None  # sha256 of the bytes in the store just now; None: absent, or not read
    label: str
    stage: str | None  # shadow, staging, active; None for a free label, gated as active
    reason: str

"""Who has taken what a reference holds, and who lags behind; pure."""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta

SILENT_AFTER = timedelta(seconds=30)  # three heartbeats of the consumer library


@dataclass(frozen=True, slots=True)
class ConsumerState:
    """A consumer's last word."""

    consumer_id: str
    model: str
    label: str
    watch: str
    state: str
    sha256: str | None
    seq: int | None
    reason: str | None
    first_seen: datetime
    last_seen: datetime


@dataclass(frozen=True, slots=True)
class Adoption:
    """How far a reference's consumers have come."""

    consumers: int
    adopted: int
    stragglers: tuple[str, ...]

    @property
    def share(self) -> float | None:
        """Return the adopted share in [0, 1], None when nobody consumes."""
        return self.adopted / self.consumers if self.consumers else None


def is_silent(consumer: ConsumerState, now: datetime) -> bool:
    """Tell whether a consumer has not been heard of for three heartbeats."""
    return now - consumer.last_seen > SILENT_AFTER


def has_adopted(consumer: ConsumerState, sha256: str, now: datetime) -> bool:
    """Tell whether a consumer is heard of and serves exactly these bytes."""
    return consumer.state == "serving" and consumer.sha256 == sha256 and not is_silent(consumer, now)


def adoption(consumers: Iterable[ConsumerState], sha256: str, now: datetime) -> Adoption:
    """Count who serves what a reference holds; whoever is silent, rejected it or serves other bytes lags.

    Args:
        consumers: of one reference.
        sha256: what the reference holds.
        now: the moment to judge at.

    Source:
        S0-47; silent consumers count as stragglers, not as adopted.
    """
    known = list(consumers)
    late = tuple(one.consumer_id for one in known if not has_adopted(one, sha256, now))
    return Adoption(len(known), len(known) - len(late), late)

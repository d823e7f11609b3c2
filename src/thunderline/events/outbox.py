"""The outbox: an event is written in the caller's transaction, or not at all."""

from dataclasses import dataclass
from datetime import datetime

from psycopg.rows import class_row, scalar_row
from psycopg.types.json import Jsonb

from thunderline.canonical import Json
from thunderline.db.pool import Connected
from thunderline.db.statements import Statements
from thunderline.events.catalog import Event

_SQL = Statements("thunderline.events", "outbox.sql")


@dataclass(frozen=True, slots=True)
class Recorded:
    """An event as the outbox keeps it; ``position`` is 0 until the relay numbered it."""

    position: int
    id: str
    tenant: str
    subject: str
    subject_version: int
    type: str
    data: dict[str, Json]
    at: datetime


@dataclass(frozen=True, slots=True)
class Waiting(Recorded):
    """An event without a position yet, and its place in the outbox."""

    seq: int


def append(connection: Connected, event: Event, *, at: datetime) -> None:
    """Write an event into the outbox, in the transaction (and for the tenant) of ``connection``.

    The subject's row stays locked until the transaction ends: two writers of one subject take turns.

    Args:
        connection: from ``Database.transaction(tenant)``.
        event: one of the catalogue.
        at: when it happened.

    Source:
        S3-52, X-06.
    """
    subject = event.subject()
    with connection.cursor(row_factory=scalar_row) as cursor:
        version = cursor.execute(_SQL["next_version"], {"subject": subject}).fetchone()
    connection.execute(
        _SQL["append"],
        {
            "subject": subject,
            "version": version,
            "type": event.type,
            "data": Jsonb(event.data()),
            "at": at,
        },
    )


def page(
    connection: Connected, *, after: int, limit: int = 200, types: list[str] | None = None
) -> list[Recorded]:
    """Return a tenant's events after a position, in order.

    Args:
        connection: from ``Database.transaction(tenant)``.
        after: the last position already seen, 0 for the beginning.
        limit: most events returned.
        types: wire names wanted; None means all.
    """
    with connection.cursor(row_factory=class_row(Recorded)) as cursor:
        return cursor.execute(_SQL["page"], {"after": after, "limit": limit, "types": types}).fetchall()


def last_position(connection: Connected) -> int:
    """Return the newest position of the transaction's tenant, 0 when there is none."""
    with connection.cursor(row_factory=scalar_row) as cursor:
        return int(cursor.execute(_SQL["last_position"]).fetchone() or 0)


def pending(connection: Connected, *, limit: int) -> list[Waiting]:
    """Return the oldest events of all tenants that have no position yet (system transaction)."""
    with connection.cursor(row_factory=class_row(Waiting)) as cursor:
        return cursor.execute(_SQL["pending"], {"limit": limit}).fetchall()


def relay_step(connection: Connected, waiting: list[Waiting]) -> int:
    """Give these events the next positions (system transaction).

    Returns:
        How many were numbered; those that another relay numbered meanwhile are not counted.
    """
    with connection.cursor(row_factory=scalar_row) as cursor:
        return int(cursor.execute(_SQL["relay_step"], {"seqs": [one.seq for one in waiting]}).fetchone() or 0)

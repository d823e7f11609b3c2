"""Consumers and their adoptions, as rows."""

from datetime import datetime

from psycopg.rows import class_row

from thunderline.db.pool import Connected
from thunderline.db.statements import Statements
from thunderline.monitor.adoption import ConsumerState

_SQL = Statements("thunderline.monitor")


def record_report(
    connection: Connected,
    *,
    consumer_id: str,
    model: str,
    label: str,
    watch: str,
    state: str,
    sha256: str | None,
    seq: int | None,
    reason: str | None,
    at: datetime,
) -> bool:
    """Keep a consumer's word; a heartbeat that says nothing new leaves no adoption row.

    Returns:
        Whether its state, digest or reference changed.
    """
    given = {
        "consumer_id": consumer_id,
        "model": model,
        "label": label,
        "watch": watch,
        "state": state,
        "sha256": sha256,
        "seq": seq,
        "reason": reason,
        "at": at,
    }
    with connection.cursor(row_factory=class_row(ConsumerState)) as cursor:
        before = cursor.execute(_SQL["find_consumer"], {"consumer_id": consumer_id}).fetchone()
    connection.execute(_SQL["put_consumer"], given)
    told = (model, label, state, sha256, seq, reason)
    if before and told == (
        before.model,
        before.label,
        before.state,
        before.sha256,
        before.seq,
        before.reason,
    ):
        return False
    connection.execute(_SQL["add_adoption"], given)
    return True


def consumers(
    connection: Connected, *, model: str | None = None, label: str | None = None
) -> list[ConsumerState]:
    """Return every consumer's last word, or those of one reference, 1000 at most."""
    with connection.cursor(row_factory=class_row(ConsumerState)) as cursor:
        return cursor.execute(_SQL["consumers"], {"model": model, "label": label}).fetchall()

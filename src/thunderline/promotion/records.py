"""The history of promotions, as rows."""

from dataclasses import asdict

from psycopg.rows import class_row, scalar_row

from thunderline.db.pool import Connected
from thunderline.db.statements import Statements
from thunderline.errors import NotFound
from thunderline.promotion.history import HistoryRow
from thunderline.registry.reference import Held

_SQL = Statements("thunderline.promotion")
_ALL = 1_000_000


def append_row(connection: Connected, row: HistoryRow) -> None:
    """Add a row to a model's history; the caller holds the model's lock."""
    connection.execute(_SQL["append"], asdict(row))


def history(
    connection: Connected, model: str, *, label: str | None = None, after: int = 0, limit: int = _ALL
) -> list[HistoryRow]:
    """Return a model's history, oldest first.

    Args:
        connection: a tenant's transaction.
        model: whose history.
        label: of this reference only; None for all.
        after: rows beyond this seq.
        limit: most rows.
    """
    with connection.cursor(row_factory=class_row(HistoryRow)) as cursor:
        return cursor.execute(
            _SQL["history"], {"model": model, "label": label, "after": after, "limit": limit}
        ).fetchall()


def labels_that_held(connection: Connected, model: str, sha256: str) -> list[str]:
    """Return the labels under which a model has served a digest, oldest promotion first."""
    with connection.cursor(row_factory=scalar_row) as cursor:
        rows = cursor.execute(_SQL["labels_that_held"], {"model": model, "sha256": sha256}).fetchall()
    return [str(row) for row in rows]


def row_by_id(connection: Connected, identity: str) -> HistoryRow:
    """Return one row of a history.

    Raises:
        NotFound: the tenant has no promotion of that id.
    """
    with connection.cursor(row_factory=class_row(HistoryRow)) as cursor:
        found = cursor.execute(_SQL["by_id"], {"id": identity}).fetchone()
    if found is None:
        raise NotFound(f"there is no promotion {identity}")
    return found


def lock_published(connection: Connected, model: str, label: str) -> None:
    """Let writers of one published reference take turns until the transaction ends."""
    connection.execute(_SQL["latest_lock"], {"model": model, "label": label})


def held_by(connection: Connected, model: str, label: str) -> Held | None:
    """Return what a label holds, or None when it was never set."""
    with connection.cursor(row_factory=class_row(Held)) as cursor:
        return cursor.execute(_SQL["held"], {"model": model, "label": label}).fetchone()

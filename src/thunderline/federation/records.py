"""Federations and their rounds, as rows."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from psycopg.rows import class_row, scalar_row
from psycopg.types.json import Jsonb

from thunderline.canonical import Json
from thunderline.db.pool import Connected
from thunderline.db.statements import Statements
from thunderline.errors import Conflict, NotFound, Superseded
from thunderline.federation.lease import Lease, expiry
from thunderline.federation.spec import FederationSpec

_SQL = Statements("thunderline.federation")
LEASE_S = 6.0  # how long an attempt counts as running after its last sign of life


@dataclass(frozen=True, slots=True)
class Federation:
    """A federation as kept (S3-43)."""

    id: str
    tenant_id: str
    name: str
    model: str
    spec_yaml: str
    prefix: str
    rounds: int
    status: str
    message: str
    created_by: str
    created_at: datetime
    started_at: datetime | None
    completed_at: datetime | None


@dataclass(frozen=True, slots=True)
class Round:
    """A round as kept (S3-44)."""

    id: str
    federation_id: str
    round_num: int
    status: str
    metrics_json: dict[str, Json]
    checkpoint_sha256: str | None
    started_at: datetime
    completed_at: datetime | None


@dataclass(frozen=True, slots=True)
class Rollup:
    """The figures of a round (S3-47)."""

    id: str
    federation_id: str
    round_id: str | None
    aggregates_json: dict[str, Json]
    created_at: datetime


@dataclass(frozen=True, slots=True)
class Attempt:
    """One try at running a federation; only the newest may write."""

    tenant: str
    federation_id: str
    attempt: int


def add_federation(
    connection: Connected,
    *,
    name: str,
    model: str,
    spec_yaml: str,
    prefix: str,
    rounds: int,
    actor: str,
    at: datetime,
) -> Federation:
    """Keep a new federation.

    Raises:
        Conflict: its name, or the prefix that it would write below, is taken.
    """
    given = {"name": name, "model": model, "spec_yaml": spec_yaml, "prefix": prefix, "rounds": rounds}
    with connection.cursor(row_factory=class_row(Federation)) as cursor:
        added = cursor.execute(_SQL["add_federation"], {**given, "actor": actor, "at": at}).fetchone()
    if added is None:
        refuse_taken(connection, name=name, prefix=prefix)
        raise Conflict(f"federation {name} collided with another one that is gone; create it again")
    return added


def refuse_taken(connection: Connected, *, name: str, prefix: str) -> None:
    """Make sure that no other federation has this name or writes below this prefix.

    Raises:
        Conflict: one does.
    """
    with connection.cursor(row_factory=class_row(Federation)) as cursor:
        other = cursor.execute(_SQL["federation_by_name"], {"name": name}).fetchone()
        if other is not None:
            raise Conflict(
                f"there is a federation {name} already ({other.id}, {other.status}); choose another name"
            )
        other = cursor.execute(_SQL["federation_by_prefix"], {"prefix": prefix}).fetchone()
    if other is not None:
        raise Conflict(
            f"federation {other.name} writes below {prefix}; set spec.artifacts.prefix to a prefix of its own"
        )


def find_federation(connection: Connected, id_or_name: str, *, is_id: bool) -> Federation:
    """Return a federation by its id or its name.

    Raises:
        NotFound: the tenant has no such federation.
    """
    statement = _SQL["federation_by_id" if is_id else "federation_by_name"]
    with connection.cursor(row_factory=class_row(Federation)) as cursor:
        found = cursor.execute(statement, {"id" if is_id else "name": id_or_name}).fetchone()
    if found is None:
        raise NotFound(
            f"there is no federation {id_or_name[:140]}; `thunderline federation list` shows those there are"
        )
    return found


def lock_federation(connection: Connected, identity: str) -> Federation:
    """Return a federation and hold it until the transaction ends.

    Raises:
        NotFound: the tenant has none of that id.
    """
    with connection.cursor(row_factory=class_row(Federation)) as cursor:
        found = cursor.execute(_SQL["lock_federation"], {"id": identity}).fetchone()
    if found is None:
        raise NotFound(f"there is no federation {identity}")
    return found


def federations(connection: Connected, *, limit: int = 200) -> list[Federation]:
    """Return federations, newest first."""
    with connection.cursor(row_factory=class_row(Federation)) as cursor:
        return cursor.execute(_SQL["federations"], {"limit": limit}).fetchall()


def set_status(connection: Connected, identity: str, status: str, *, message: str, at: datetime) -> None:
    """Move a federation to another state; rounds in progress fail with it when it fails."""
    connection.execute(_SQL["set_status"], {"id": identity, "status": status, "message": message, "at": at})
    if status == "failed":
        connection.execute(_SQL["fail_rounds"], {"federation_id": identity, "at": at})


def claim(connection: Connected, *, held: Sequence[str]) -> Attempt | None:
    """Take a federation that should run and that nobody runs (system transaction).

    Args:
        connection: across tenants.
        held: ids that the caller runs already.
    """
    with connection.cursor(row_factory=class_row(Attempt)) as cursor:
        return cursor.execute(_SQL["claim"], {"lease_s": LEASE_S, "held": list(held)}).fetchone()


def beat(connection: Connected, attempt: Attempt) -> str | None:
    """Say that an attempt still runs (system transaction).

    Returns:
        The federation's state; None when another attempt has taken over.
    """
    given = {"tenant": attempt.tenant, "id": attempt.federation_id, "attempt": attempt.attempt}
    with connection.cursor(row_factory=scalar_row) as cursor:
        return _text(cursor.execute(_SQL["beat"], {**given, "lease_s": LEASE_S}).fetchone())


def release(connection: Connected, attempt: Attempt, *, pause_s: float) -> None:
    """Give an attempt back, to be taken again after ``pause_s`` seconds (system transaction)."""
    given = {"tenant": attempt.tenant, "id": attempt.federation_id, "attempt": attempt.attempt}
    connection.execute(_SQL["release"], {**given, "pause_s": pause_s})


def end_attempt(connection: Connected, identity: str) -> None:
    """Let the attempt at a federation count no more; the next one need not wait for its lease."""
    connection.execute(_SQL["end_attempt"], {"id": identity})


def status_of(connection: Connected, attempt: Attempt) -> str:
    """Return the state of a federation that an attempt runs.

    Raises:
        Superseded: the attempt counts no more.
    """
    return _counting(connection, "status_of", attempt)


def hold(connection: Connected, attempt: Attempt) -> str:
    """Return the state of a federation, held until the transaction ends, so that no other attempt writes.

    Raises:
        Superseded: the attempt counts no more.
    """
    return _counting(connection, "hold", attempt)


def _counting(connection: Connected, statement: str, attempt: Attempt) -> str:
    given = {"id": attempt.federation_id, "attempt": attempt.attempt}
    with connection.cursor(row_factory=scalar_row) as cursor:
        found = _text(cursor.execute(_SQL[statement], given).fetchone())
    if found is None:
        raise Superseded(f"attempt {attempt.attempt} at federation {attempt.federation_id} counts no more")
    return found


def _text(value: object) -> str | None:
    return value if isinstance(value, str) else None


def begin_round(connection: Connected, federation_id: str, round_num: int, *, at: datetime) -> bool:
    """Note that a round is in progress.

    Returns:
        True the first time, False when an earlier attempt had begun it.
    """
    given = {"federation_id": federation_id, "round_num": round_num, "at": at}
    with connection.cursor(row_factory=scalar_row) as cursor:
        if cursor.execute(_SQL["begin_round"], given).fetchone() is not None:
            return True
        cursor.execute(_SQL["begin_round_again"], given)
    return False


def complete_round(
    connection: Connected,
    federation_id: str,
    round_num: int,
    *,
    metrics: Mapping[str, float],
    sha256: str,
    at: datetime,
) -> str:
    """Note that a round is over; returns its id.

    Raises:
        Superseded: the round is not in progress; somebody else has completed it.
    """
    given = {"federation_id": federation_id, "round_num": round_num, "sha256": sha256, "at": at}
    with connection.cursor(row_factory=scalar_row) as cursor:
        found = _text(
            cursor.execute(_SQL["complete_round"], {**given, "metrics": Jsonb(dict(metrics))}).fetchone()
        )
    if found is None:
        raise Superseded(f"round {round_num} of federation {federation_id} is not in progress")
    return found


def rounds(connection: Connected, federation_id: str, *, after: int = 0, limit: int = 1000) -> list[Round]:
    """Return a federation's rounds beyond number ``after``, in order."""
    given = {"federation_id": federation_id, "after": after, "limit": limit}
    with connection.cursor(row_factory=class_row(Round)) as cursor:
        return cursor.execute(_SQL["rounds"], given).fetchall()


def last_round(connection: Connected, federation_id: str) -> Round | None:
    """Return the last completed round, None before the first."""
    with connection.cursor(row_factory=class_row(Round)) as cursor:
        return cursor.execute(_SQL["last_round"], {"federation_id": federation_id}).fetchone()


def completed_rounds(connection: Connected) -> dict[str, int]:
    """Return how many rounds of each federation are completed, by its id; none is no entry."""
    return {str(one[0]): int(one[1]) for one in connection.execute(_SQL["count_rounds"]).fetchall()}


def add_rollup(
    connection: Connected, federation_id: str, round_id: str, aggregates: Mapping[str, Json], *, at: datetime
) -> None:
    """Keep the figures of a round."""
    given = {"federation_id": federation_id, "round_id": round_id, "at": at}
    connection.execute(_SQL["add_rollup"], {**given, "aggregates": Jsonb(dict(aggregates))})


def rollups(connection: Connected, federation_id: str, *, limit: int = 1000) -> list[Rollup]:
    """Return the figures of a federation's rounds, oldest first."""
    with connection.cursor(row_factory=class_row(Rollup)) as cursor:
        return cursor.execute(_SQL["rollups"], {"federation_id": federation_id, "limit": limit}).fetchall()


def issue_lease(
    connection: Connected, attempt: Attempt, client_id: str, spec: FederationSpec, *, at: datetime
) -> str:
    """Let a client work for an attempt, within the limits of the spec; returns the lease's id."""
    given = {
        "federation_id": attempt.federation_id,
        "attempt": attempt.attempt,
        "client_id": client_id,
        "expires_at": expiry(spec, at),
        "epochs_max": spec.lease_max_epochs,
        "tokens_max": spec.lease_max_tokens,
        "at": at,
    }
    with connection.cursor(row_factory=scalar_row) as cursor:
        return str(cursor.execute(_SQL["issue_lease"], given).fetchone())


def settle_lease(connection: Connected, lease_id: str, status: str) -> None:
    """Say what became of a lease: ``claimed`` or ``released``."""
    connection.execute(_SQL["settle_lease"], {"id": lease_id, "status": status})


def end_leases(connection: Connected, federation_id: str, status: str) -> None:
    """End every open lease of a federation: ``completed``, ``released`` or ``expired``."""
    connection.execute(_SQL["end_leases"], {"federation_id": federation_id, "status": status})


def renew_leases(connection: Connected, federation_id: str, expires_at: datetime) -> None:
    """Let the claimed leases of a federation last longer."""
    connection.execute(_SQL["renew_leases"], {"federation_id": federation_id, "expires_at": expires_at})


def leases(connection: Connected, federation_id: str, *, limit: int = 1000) -> list[Lease]:
    """Return a federation's leases, newest first."""
    with connection.cursor(row_factory=class_row(Lease)) as cursor:
        return cursor.execute(_SQL["leases"], {"federation_id": federation_id, "limit": limit}).fetchall()

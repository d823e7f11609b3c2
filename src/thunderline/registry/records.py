"""Models, versions, lineage and references, as rows."""

from collections.abc import Iterable
from dataclasses import asdict, dataclass
from datetime import datetime

from psycopg.rows import class_row
from psycopg.types.json import Jsonb

from thunderline.artifacts.artifact import Artifact
from thunderline.canonical import Json, sha256_hex
from thunderline.db.pool import Connected
from thunderline.db.statements import Statements
from thunderline.errors import Conflict, NotFound
from thunderline.registry.lineage import Edge
from thunderline.registry.model import Gates, Model, ModelVersion, parse_gates
from thunderline.registry.reference import Reference

_SQL = Statements("thunderline.registry")
_LAST = 2**31 - 1


@dataclass(frozen=True, slots=True)
class _ModelRow:
    name: str
    gates: dict[str, Json]
    head_seq: int
    head_hash: str
    created_at: datetime
    created_by: str

    def model(self) -> Model:
        return Model(
            self.name,
            parse_gates(self.gates),
            self.head_seq,
            self.head_hash,
            self.created_at,
            self.created_by,
        )


def first_hash(tenant: str, model: str) -> str:
    """Return the hash before a model's first history row (format.md, section 5)."""
    return sha256_hex(f"thunderline/history/v1\n{tenant}\n{model}".encode())


def ensure_model(
    connection: Connected, *, tenant: str, name: str, gates: Gates, actor: str, at: datetime
) -> Model:
    """Register a model, or return the one of that name as it is.

    Args:
        connection: from ``Database.transaction(tenant)``.
        tenant: the tenant of that transaction; part of the history's first hash.
        name: checked by ``parse_model_name``.
        gates: used only if the model is new.
        actor: who registers it.
        at: when.
    """
    connection.execute(
        _SQL["add_model"],
        {
            "name": name,
            "gates": Jsonb(gates.to_json()),
            "head_hash": first_hash(tenant, name),
            "at": at,
            "actor": actor,
        },
    )
    return model_named(connection, name)


def set_gates(connection: Connected, name: str, gates: Gates) -> Model:
    """Let a model ask for something else, as long as nothing was ever decided by what it asked for.

    Raises:
        NotFound: no such model.
        Conflict: it was promoted before.
    """
    model = lock_model(connection, name)
    if model.head_seq:
        raise Conflict(
            f"model {name} is registered already, with gates {model.gates.to_json()}, and was promoted by "
            "them; nothing was changed. Register another name, or leave the gates out to look at this one"
        )
    connection.execute(_SQL["set_gates"], {"name": name, "gates": Jsonb(gates.to_json())})
    return model_named(connection, name)


def model_named(connection: Connected, name: str) -> Model:
    """Return the model of that name.

    Raises:
        NotFound: the tenant has none; the sentence says how to register it.
    """
    with connection.cursor(row_factory=class_row(_ModelRow)) as cursor:
        found = cursor.execute(_SQL["find_model"], {"name": name}).fetchone()
    if found is None:
        raise _no_model(name)
    return found.model()


def lock_model(connection: Connected, name: str) -> Model:
    """Return the model and hold it until the transaction ends.

    Raises:
        NotFound: the tenant has none of that name.
    """
    with connection.cursor(row_factory=class_row(_ModelRow)) as cursor:
        found = cursor.execute(_SQL["lock_model"], {"name": name}).fetchone()
    if found is None:
        raise _no_model(name)
    return found.model()


def _no_model(name: str) -> NotFound:
    return NotFound(f"there is no model {name!r}; register it with `thunderline model register {name}`")


def advance_head(connection: Connected, name: str, *, seq: int, head_hash: str) -> None:
    """Move a model's history head; the caller holds the model's lock."""
    connection.execute(_SQL["advance_head"], {"name": name, "seq": seq, "hash": head_hash})


def models(connection: Connected, *, after: str = "", limit: int = 200) -> list[Model]:
    """Return models by name, those after ``after`` first, ``limit`` at most."""
    with connection.cursor(row_factory=class_row(_ModelRow)) as cursor:
        rows = cursor.execute(_SQL["models"], {"after": after, "limit": limit}).fetchall()
    return [row.model() for row in rows]


def register_version(
    connection: Connected, *, model: str, artifact: Artifact, actor: str, at: datetime
) -> ModelVersion:
    """Give an artifact the model's next version number; the same artifact again keeps its number.

    Raises:
        NotFound: no such model.
    """
    lock_model(connection, model)  # two registrations of one model take turns: numbers have no gaps
    keys = {"model": model, "artifact_id": artifact.id}
    with connection.cursor(row_factory=class_row(ModelVersion)) as cursor:
        known = cursor.execute(_SQL["version_of_artifact"], keys).fetchone()
        if known is not None:
            return known
        added = cursor.execute(
            _SQL["add_version"], {**keys, "sha256": artifact.sha256, "actor": actor, "at": at}
        ).fetchone()
    if added is None:
        raise RuntimeError(f"the version of {model} for artifact {artifact.id} was not returned")
    return added


def version_of_artifact(connection: Connected, *, model: str, artifact_id: str) -> ModelVersion | None:
    """Return the version under which a model has an artifact, or None."""
    with connection.cursor(row_factory=class_row(ModelVersion)) as cursor:
        return cursor.execute(
            _SQL["version_of_artifact"], {"model": model, "artifact_id": artifact_id}
        ).fetchone()


def version_numbered(connection: Connected, *, model: str, version: int) -> ModelVersion:
    """Return a version by its number.

    Raises:
        NotFound: the model has no such version.
    """
    with connection.cursor(row_factory=class_row(ModelVersion)) as cursor:
        found = cursor.execute(_SQL["find_version"], {"model": model, "version": version}).fetchone()
    if found is None:
        raise NotFound(f"there is no {model}@{version}; `thunderline model show {model}` lists the versions")
    return found


def versions(
    connection: Connected, model: str, *, before: int = _LAST, limit: int = 200
) -> list[ModelVersion]:
    """Return a model's versions, newest first, those below number ``before``."""
    with connection.cursor(row_factory=class_row(ModelVersion)) as cursor:
        return cursor.execute(_SQL["versions"], {"model": model, "before": before, "limit": limit}).fetchall()


def add_edges(connection: Connected, edges: Iterable[Edge], *, at: datetime) -> None:
    """Note where things came from; an edge that is already there stays as it is."""
    for edge in edges:
        connection.execute(_SQL["add_edge"], {**asdict(edge), "at": at})


def edges_above(connection: Connected, kind: str, identity: str) -> list[Edge]:
    """Return every edge on the way from a thing to what it came from."""
    with connection.cursor(row_factory=class_row(Edge)) as cursor:
        return cursor.execute(_SQL["edges_above"], {"kind": kind, "id": identity}).fetchall()


def find_reference(connection: Connected, model: str, label: str) -> Reference | None:
    """Return what a label holds, or None when it was never set."""
    with connection.cursor(row_factory=class_row(Reference)) as cursor:
        return cursor.execute(_SQL["find_reference"], {"model": model, "label": label}).fetchone()


def references(connection: Connected, model: str | None = None) -> list[Reference]:
    """Return the labels of a model, or of all models, by name."""
    with connection.cursor(row_factory=class_row(Reference)) as cursor:
        return cursor.execute(_SQL["references"], {"model": model}).fetchall()


def set_reference(connection: Connected, reference: Reference) -> None:
    """Let a label hold another version; the caller holds the model's lock."""
    connection.execute(
        _SQL["set_reference"],
        {
            "model": reference.model,
            "label": reference.label,
            "artifact_id": reference.artifact_id,
            "version": reference.version,
            "sha256": reference.sha256,
            "seq": reference.seq,
            "promotion_id": reference.promotion_id,
            "at": reference.updated_at,
        },
    )

"""Files of the Data Bank and model artifacts, as rows."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime

from psycopg.rows import class_row, scalar_row
from psycopg.types.json import Jsonb

from thunderline.artifacts.artifact import Artifact
from thunderline.artifacts.blob_store import Stored
from thunderline.canonical import Json
from thunderline.db.pool import Connected
from thunderline.db.statements import Statements
from thunderline.errors import Conflict, NotFound

_SQL = Statements("thunderline.artifacts")


@dataclass(frozen=True, slots=True)
class FileRecord:
    """What a tenant's Data Bank knows of a file."""

    file_id: str
    size_bytes: int
    content_type: str
    created_at: datetime
    created_by: str


def record_file(
    connection: Connected, *, stored: Stored, content_type: str, actor: str, at: datetime
) -> FileRecord:
    """Keep that the tenant has a file; the same again returns the first record."""
    connection.execute(
        _SQL["record_file"],
        {
            "file_id": stored.digest,
            "size_bytes": stored.size_bytes,
            "content_type": content_type,
            "at": at,
            "actor": actor,
        },
    )
    found = find_file(connection, stored.digest)
    if found is None:
        raise NotFound(f"the file {stored.digest} was deleted while it was recorded; upload it again")
    return found


def find_file(connection: Connected, file_id: str) -> FileRecord | None:
    """Return the tenant's file of that id, or None."""
    with connection.cursor(row_factory=class_row(FileRecord)) as cursor:
        return cursor.execute(_SQL["find_file"], {"file_id": file_id}).fetchone()


@dataclass(frozen=True, slots=True)
class Referrer:
    """Something that needs a file."""

    kind: str
    id: str


def referrers(connection: Connected, file_id: str) -> list[Referrer]:
    """Return what of the tenant refers to a file, 20 at most."""
    with connection.cursor(row_factory=class_row(Referrer)) as cursor:
        return cursor.execute(_SQL["referrers"], {"file_id": file_id}).fetchall()


def holders(connection: Connected, file_id: str) -> int:
    """Return how many tenants have a file (system transaction)."""
    with connection.cursor(row_factory=scalar_row) as cursor:
        return int(cursor.execute(_SQL["holders"], {"file_id": file_id}).fetchone() or 0)


def lock_digest(connection: Connected, digest: str, *, is_exclusive: bool) -> None:
    """Keep uploads and deletions of the same bytes apart until the transaction ends.

    Args:
        connection: any transaction.
        digest: of the bytes; its first 8 bytes are the lock's key.
        is_exclusive: True to delete, False to upload.
    """
    key = int.from_bytes(bytes.fromhex(digest[:16]), "big", signed=True)
    connection.execute(_SQL["own_digest" if is_exclusive else "share_digest"], {"key": key})


def delete_file(connection: Connected, file_id: str) -> None:
    """Forget the tenant's file."""
    connection.execute(_SQL["delete_file"], {"file_id": file_id})


def record_artifact(
    connection: Connected,
    *,
    kind: str,
    uri: str,
    sha256: str,
    size_bytes: int,
    format: str,  # noqa: A002 -- the contract's word
    metrics: Mapping[str, Json],
    metadata: Mapping[str, Json],
    actor: str,
    at: datetime,
    federation_id: str | None = None,
    round_id: str | None = None,
) -> Artifact:
    """Keep an artifact; the same URI with the same bytes again returns the first record.

    Raises:
        Conflict: the URI already holds other bytes.
    """
    connection.execute(
        _SQL["record_artifact"],
        {
            "federation_id": federation_id,
            "round_id": round_id,
            "kind": kind,
            "uri": uri,
            "sha256": sha256,
            "size_bytes": size_bytes,
            "format": format,
            "metrics": Jsonb(metrics),
            "metadata": Jsonb(metadata),
            "at": at,
            "actor": actor,
        },
    )
    found = artifact_by_uri(connection, uri)
    if found.sha256 != sha256:
        raise Conflict(f"{uri} already holds {found.sha256}; it is written once, choose another name")
    return found


def artifact_by_id(connection: Connected, identity: str) -> Artifact:
    """Return the tenant's artifact of that id.

    Raises:
        NotFound: there is none.
    """
    with connection.cursor(row_factory=class_row(Artifact)) as cursor:
        found = cursor.execute(_SQL["artifact_by_id"], {"id": identity}).fetchone()
    if found is None:
        raise NotFound(f"there is no artifact {identity}")
    return found


def artifact_by_uri(connection: Connected, uri: str) -> Artifact:
    """Return the tenant's artifact at that URI.

    Raises:
        NotFound: there is none.
    """
    with connection.cursor(row_factory=class_row(Artifact)) as cursor:
        found = cursor.execute(_SQL["artifact_by_uri"], {"uri": uri}).fetchone()
    if found is None:
        raise NotFound(f"there is no artifact at {uri}; `thunderline artifact list` shows those there are")
    return found


def artifacts_by_digest(connection: Connected, sha256: str) -> list[Artifact]:
    """Return the tenant's artifacts with these bytes, oldest first."""
    with connection.cursor(row_factory=class_row(Artifact)) as cursor:
        return cursor.execute(_SQL["artifacts_by_digest"], {"sha256": sha256}).fetchall()


def artifacts(connection: Connected, *, federation_id: str | None = None, limit: int = 200) -> list[Artifact]:
    """Return the tenant's artifacts, newest first; of one federation, or of all."""
    with connection.cursor(row_factory=class_row(Artifact)) as cursor:
        return cursor.execute(_SQL["artifacts"], {"federation_id": federation_id, "limit": limit}).fetchall()

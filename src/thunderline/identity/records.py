"""Tenants and API keys, as rows."""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime

from psycopg.rows import class_row

from thunderline.db.pool import Connected
from thunderline.db.statements import Statements
from thunderline.identity.api_key import IssuedKey

_SQL = Statements("thunderline.identity")


@dataclass(frozen=True, slots=True)
class StoredKey:
    """What is known of a key: never the key itself."""

    tenant: str
    key_id: str
    sha256: str
    owner: str
    scopes: list[str]
    expires_at: datetime | None
    revoked_at: datetime | None

    def is_valid(self, now: datetime) -> bool:
        """Tell whether the key is neither revoked nor expired."""
        return self.revoked_at is None and (self.expires_at is None or now < self.expires_at)


def ensure_tenant(connection: Connected, tenant: str) -> None:
    """Make a tenant exist (system transaction).

    Args:
        connection: from ``Database.system()``.
        tenant: lowercase letters, digits, dots, dashes, underscores; 63 at most.
    """
    connection.execute(_SQL["ensure_tenant"], {"tenant": tenant})


def add_key(
    connection: Connected,
    key: IssuedKey,
    *,
    tenant: str,
    owner: str,
    scopes: Iterable[str],
    expires_at: datetime | None = None,
) -> None:
    """Keep a new key's digest (system transaction).

    Args:
        connection: from ``Database.system()``.
        key: freshly issued; its text is not stored.
        tenant: whose key it is.
        owner: the name that histories will show.
        scopes: the rights it carries.
        expires_at: None for a key without end.
    """
    connection.execute(
        _SQL["add_key"],
        {
            "tenant": tenant,
            "key_id": key.key_id,
            "sha256": key.sha256,
            "owner": owner,
            "scopes": list(scopes),
            "expires_at": expires_at,
        },
    )


def key_by_id(connection: Connected, key_id: str) -> StoredKey | None:
    """Find a key by its public id, whatever its tenant (system transaction)."""
    with connection.cursor(row_factory=class_row(StoredKey)) as cursor:
        return cursor.execute(_SQL["key_by_id"], {"key_id": key_id}).fetchone()

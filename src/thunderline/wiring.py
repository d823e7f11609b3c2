"""From settings to the parts: the one place that chooses adapters."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from thunderline.artifacts.blob_store import BlobStore
from thunderline.artifacts.filesystem import FilesystemStore
from thunderline.artifacts.store import Store
from thunderline.clock import Clock, SystemClock
from thunderline.db.pool import Database
from thunderline.document import parse_json
from thunderline.errors import InvalidInput
from thunderline.identity.authenticate import Authenticator
from thunderline.promotion.promote import Promotions
from thunderline.settings import Settings


@dataclass(frozen=True, slots=True)
class Services:
    """What every face and every loop works with."""

    database: Database
    store: Store
    clock: Clock
    settings: Settings
    authenticator: Authenticator
    promotions: Promotions

    def close(self) -> None:
        """Give connections back."""
        self.database.close()


def objects_folder(settings: Settings) -> Path:
    """Return where the embedded store keeps its objects."""
    return settings.platform.home.resolve() / "objects" / settings.store.bucket


@dataclass(frozen=True, slots=True)
class RunningPart:
    """A part of the platform on this machine, as its supervisor wrote it down."""

    name: str
    state: str
    where: str


def running_parts(settings: Settings) -> list[RunningPart]:
    """Return the parts that the supervisor below home wrote down; none when there is no supervisor."""
    try:
        told = parse_json((settings.platform.home / "platform.json").read_bytes(), field="platform.json")
    except (OSError, InvalidInput):
        return []
    parts = told.get("parts") if isinstance(told, Mapping) else None
    return [
        RunningPart(str(one.get("name")), str(one.get("state")), str(one.get("where")))
        for one in (parts if isinstance(parts, list) else [])
        if isinstance(one, Mapping)
    ]


def open_store(settings: Settings) -> Store:
    """Return the object store: a directory below home, or a cloud's bucket when one is set.

    Raises:
        InvalidInput: an endpoint without its keys, or a URL of an unknown kind.
    """
    bucket, prefix = settings.store.place
    return Store(
        _blobs(settings),
        bucket=bucket,
        prefix=prefix,
        home_tenant=settings.platform.tenant,
        keep_free_bytes=settings.store.keep_free_bytes,
    )


def _blobs(settings: Settings) -> BlobStore:
    given = settings.store
    if given.url is None and given.endpoint is None:
        return FilesystemStore(objects_folder(settings))
    from thunderline.artifacts.object_store import (
        open_object_store,
    )  # 20 MB that an embedded store never needs

    return open_object_store(
        url=given.url,
        endpoint=given.endpoint,
        bucket=given.bucket,
        access_key=given.access_key,
        secret_key=given.secret_key.get_secret_value() if given.secret_key else None,
    )


def open_services(settings: Settings, dsn: str, *, app_connections: int = 4) -> Services:
    """Open everything that a face or a loop needs; nothing connects before its first use.

    Args:
        settings: as read.
        dsn: Postgres, for a login that may become ``tl_app`` and ``tl_system``.
        app_connections: most connections held for tenants.
    """
    clock = SystemClock()
    database = Database(dsn, app_connections=app_connections)
    store = open_store(settings)
    return Services(
        database=database,
        store=store,
        clock=clock,
        settings=settings,
        authenticator=Authenticator(database, clock),
        promotions=Promotions(database, store, clock),
    )

"""Connections: one transaction at a time, with the tenant set for exactly its length."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import LiteralString

import psycopg
from psycopg import Connection
from psycopg.rows import TupleRow
from psycopg_pool import ConnectionPool, PoolClosed, PoolTimeout

from thunderline.errors import Unavailable

Connected = Connection[TupleRow]

_APP: LiteralString = "tl_app"
_SYSTEM: LiteralString = "tl_system"
_AWAY = (psycopg.OperationalError, psycopg.InterfaceError, PoolTimeout, PoolClosed)


class Database:
    """The two doors to Postgres: as a tenant (row-level security holds) and as the system."""

    def __init__(self, dsn: str, *, app_connections: int = 4, system_connections: int = 2) -> None:
        """Open nothing yet; the first transaction connects.

        Args:
            dsn: connection string of a login that may take the roles ``tl_app`` and ``tl_system``.
            app_connections: most connections held for tenants.
            system_connections: most connections held for the relay, the driver and key look-up.
        """
        self.dsn = dsn
        self._app = _pool(dsn, _APP, app_connections)
        self._system = _pool(dsn, _SYSTEM, system_connections)

    @contextmanager
    def transaction(self, tenant: str) -> Iterator[Connected]:
        """Run one transaction that sees and writes the rows of ``tenant`` only.

        Raises:
            Unavailable: Postgres does not answer; nothing was committed.

        Source:
            S3-55; the setting ends with the transaction.
        """
        with _entered(self._app) as connection, connection.transaction():
            connection.execute("select set_config('app.tenant', %s, true)", (tenant,))
            yield connection

    @contextmanager
    def system(self) -> Iterator[Connected]:
        """Run one transaction across tenants; for the relay, the driver and key look-up only.

        Raises:
            Unavailable: Postgres does not answer; nothing was committed.
        """
        with _entered(self._system) as connection, connection.transaction():
            yield connection

    def listener(self) -> Connected:
        """Return a connection of one's own, autocommit, for ``LISTEN``; the caller closes it.

        Raises:
            Unavailable: Postgres does not answer.
        """
        try:
            return psycopg.connect(_as_role(self.dsn, _SYSTEM), autocommit=True, connect_timeout=5)
        except psycopg.OperationalError as error:
            raise _unavailable(error) from error

    def close(self) -> None:
        """Give every connection back; later transactions are refused."""
        self._app.close()
        self._system.close()


def _as_role(dsn: str, role: LiteralString) -> str:
    given = psycopg.conninfo.conninfo_to_dict(dsn).get("options") or ""
    return psycopg.conninfo.make_conninfo(dsn, options=f"{given} -c role={role}".strip())


def _pool(dsn: str, role: LiteralString, size: int) -> ConnectionPool[Connected]:
    return ConnectionPool(
        _as_role(dsn, role),
        min_size=0,
        max_size=size,
        open=True,
        timeout=5,
        reconnect_timeout=5,
        kwargs={"autocommit": True, "connect_timeout": 5},
        check=ConnectionPool.check_connection,
        name=role,
    )


@contextmanager
def _entered(pool: ConnectionPool[Connected]) -> Iterator[Connected]:
    try:
        with pool.connection() as connection:
            yield connection
    except _AWAY as error:
        raise _unavailable(error) from error


def _unavailable(error: Exception) -> Unavailable:
    first = (str(error).strip() or type(error).__name__).splitlines()[0]
    return Unavailable(
        "postgres", f"does not answer ({first}); nothing was changed, try again in a few seconds"
    )

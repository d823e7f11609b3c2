"""Each migration once, in order, under a lock; a changed one is an error."""

from dataclasses import dataclass
from importlib.resources import files

import psycopg
from psycopg.rows import class_row

from thunderline.canonical import sha256_hex
from thunderline.errors import Conflict, Unavailable

_LOCK = 7_305_418_221  # any constant of ours: racing migrators queue here
_ROLES = """
do $$
begin
  if not exists (select from pg_roles where rolname = 'tl_owner') then create role tl_owner nologin; end if;
  if not exists (select from pg_roles where rolname = 'tl_app') then create role tl_app nologin; end if;
  if not exists (select from pg_roles where rolname = 'tl_system') then create role tl_system nologin; end if;
  if not exists (select from pg_roles where rolname = 'tl_login') then
    create role tl_login login noinherit;
    grant tl_app, tl_system to tl_login;
  end if;
  execute format('grant tl_owner, tl_app, tl_system to %I', session_user);
  execute format('grant create on database %I to tl_owner', current_database());
end $$;
"""
_LEDGER = """
create table if not exists tl_migration (
  name text primary key, sha256 text not null, at timestamptz not null default now());
"""


@dataclass(frozen=True, slots=True)
class Migration:
    """One numbered file: its name, what it holds, and the digest of that."""

    name: str
    sql: str
    sha256: str


@dataclass(frozen=True, slots=True)
class Applied:
    """A migration the database remembers."""

    name: str
    sha256: str


def shipped() -> list[Migration]:
    """Return the migrations of this release in the order in which they apply."""
    folder = files("thunderline.db").joinpath("migrations")
    found = sorted(entry.name for entry in folder.iterdir() if entry.name.endswith(".sql"))
    texts = [(name, folder.joinpath(name).read_text(encoding="utf-8")) for name in found]
    return [Migration(name, sql, sha256_hex(sql.encode())) for name, sql in texts]


def migrate(dsn: str, migrations: list[Migration] | None = None) -> list[str]:
    """Bring a database up to this release; racing callers wait for one another.

    Args:
        dsn: login that owns the database or may create roles and schemas in it.
        migrations: for tests; by default those shipped.

    Returns:
        Names of the migrations applied now; empty when there was nothing to do.

    Raises:
        Conflict: a migration already applied has another checksum here, or is unknown here.
        Unavailable: Postgres does not answer.
    """
    wanted = shipped() if migrations is None else migrations
    try:
        with psycopg.connect(dsn, autocommit=True, connect_timeout=10) as connection:
            connection.execute("select pg_advisory_lock(%s)", (_LOCK,))
            connection.execute(_ROLES)
            connection.execute(_LEDGER)
            return [one.name for one in _missing(connection, wanted) if _apply(connection, one)]
    except psycopg.OperationalError as error:
        raise Unavailable("postgres", f"cannot migrate: {error}") from error


def unapplied(dsn: str) -> list[str]:
    """Return the names of the migrations that the database still lacks; nothing is changed.

    Raises:
        Conflict: a migration already applied has another checksum here, or is unknown here.
        Unavailable: Postgres does not answer.
    """
    try:
        with psycopg.connect(dsn, autocommit=True, connect_timeout=10) as connection:
            return [one.name for one in _missing(connection, shipped())]
    except psycopg.errors.UndefinedTable:
        return [one.name for one in shipped()]
    except psycopg.OperationalError as error:
        raise Unavailable("postgres", f"does not answer: {error}") from error


def _missing(connection: psycopg.Connection[tuple[object, ...]], wanted: list[Migration]) -> list[Migration]:
    with connection.cursor(row_factory=class_row(Applied)) as cursor:
        cursor.execute("select name, sha256 from tl_migration order by name")
        applied = {one.name: one.sha256 for one in cursor.fetchall()}
    known = {one.name: one.sha256 for one in wanted}
    for name, digest in applied.items():
        if name not in known:
            raise Conflict(
                f"the database has migration {name}, which this release does not know; upgrade first"
            )
        if known[name] != digest:
            raise Conflict(
                f"migration {name} was applied as {digest} but is {known[name]} here; "
                "a shipped migration never changes, install the release that applied it"
            )
    return [one for one in wanted if one.name not in applied]


def _apply(connection: psycopg.Connection[tuple[object, ...]], migration: Migration) -> bool:
    with connection.transaction():
        connection.execute("set local role tl_owner")
        connection.execute(migration.sql.encode())
        connection.execute("reset role")
        connection.execute(
            "insert into tl_migration (name, sha256) values (%s, %s)", (migration.name, migration.sha256)
        )
    return True

"""What migrations promise, and what they leave behind for every table."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import psycopg
import pytest
from psycopg.errors import InsufficientPrivilege

from thunderline.db.embedded import EmbeddedPostgres
from thunderline.db.migrate import Migration, migrate, shipped
from thunderline.db.pool import Database
from thunderline.errors import Conflict, Unavailable

# The order of events is one for all tenants: these two are unique without a tenant.
_WITHOUT_TENANT_FIRST = {("outbox", ("seq",)), ("outbox", ("position",))}

_TABLES = """
select c.relname, c.relrowsecurity, c.relforcerowsecurity, pg_get_userbyid(c.relowner),
       coalesce((select a.attnotnull from pg_attribute a
                  where a.attrelid = c.oid and a.attname = 'tenant_id'), null)
  from pg_class c where c.relnamespace = 'tl'::regnamespace and c.relkind in ('r', 'p') order by 1
"""
_UNIQUE = """
select t.relname, array(select a.attname::text from unnest(i.indkey::int2[]) with ordinality k(n, o)
                          join pg_attribute a on a.attrelid = t.oid and a.attnum = k.n order by k.o)
  from pg_index i join pg_class t on t.oid = i.indrelid
 where t.relnamespace = 'tl'::regnamespace and i.indisunique
"""
_POLICIES = "select tablename, policyname, roles::text[], cmd from pg_policies where schemaname = 'tl'"


@pytest.fixture
def superuser(
    postgres: EmbeddedPostgres, database_name: str
) -> Iterator[psycopg.Connection[tuple[object, ...]]]:
    with psycopg.connect(postgres.dsn_of("postgres", database_name), autocommit=True) as connection:
        yield connection


def test_four_racing_migrators_apply_each_migration_once(
    postgres: EmbeddedPostgres, empty_database: str
) -> None:
    dsn = postgres.dsn_of("postgres", empty_database)
    with ThreadPoolExecutor(4) as pool:
        applied = [name for names in pool.map(migrate, [dsn] * 4) for name in names]
    assert applied == [one.name for one in shipped()]
    assert migrate(dsn) == []


def test_a_changed_migration_is_refused(postgres: EmbeddedPostgres, database_name: str) -> None:
    first, *others = shipped()
    changed = [replace(first, sha256="0" * 64), *others]
    with pytest.raises(Conflict, match=f"{first.name} was applied as {first.sha256} but is {'0' * 64} here"):
        migrate(postgres.dsn_of("postgres", database_name), changed)


def test_a_database_from_a_newer_release_is_refused(postgres: EmbeddedPostgres, database_name: str) -> None:
    *older, newest = shipped()
    with pytest.raises(Conflict, match=f"{newest.name}, which this release does not know; upgrade first"):
        migrate(postgres.dsn_of("postgres", database_name), older)


def test_a_migration_that_fails_leaves_nothing_of_itself(
    postgres: EmbeddedPostgres, database_name: str, superuser: psycopg.Connection[tuple[object, ...]]
) -> None:
    sql = "create table tl.half (tenant_id text not null); select 1 / 0;"
    with pytest.raises(psycopg.errors.DivisionByZero):
        migrate(
            postgres.dsn_of("postgres", database_name),
            [*shipped(), Migration("9999_half.sql", sql, "f" * 64)],
        )
    assert superuser.execute("select to_regclass('tl.half')").fetchone() == (None,)
    assert migrate(postgres.dsn_of("postgres", database_name)) == []


def test_an_absent_server_is_said_to_be_absent(short_path: object) -> None:
    with pytest.raises(Unavailable, match="cannot migrate"):
        migrate(f"host='{short_path}' dbname=thunderline user=postgres connect_timeout=1")


def test_row_level_security_is_forced_on_every_table_of_tenants(
    superuser: psycopg.Connection[tuple[object, ...]],
) -> None:
    found = superuser.execute(_TABLES.encode()).fetchall()
    assert len(found) >= 15
    wrong = [row for row in found if row[1:4] != (True, True, "tl_owner") or row[4] is False]
    assert wrong == []
    assert [row[0] for row in found if row[4] is None] == ["relay"]  # one counter, no tenant's rows


def test_each_table_has_one_policy_for_each_role(superuser: psycopg.Connection[tuple[object, ...]]) -> None:
    tables = {row[0] for row in superuser.execute(_TABLES.encode()).fetchall()}
    policies = {
        (str(row[0]), str(row[1])): row[2:] for row in superuser.execute(_POLICIES.encode()).fetchall()
    }
    expected = {(table, "system"): (["tl_system"], "ALL") for table in tables}
    expected |= {(table, "tenant"): (["tl_app"], "ALL") for table in tables - {"relay"}}
    assert policies == expected


def test_every_unique_index_starts_with_the_tenant(
    superuser: psycopg.Connection[tuple[object, ...]],
) -> None:
    found = [(str(row[0]), row[1]) for row in superuser.execute(_UNIQUE.encode()).fetchall()]
    wrong = {
        (table, tuple(columns))
        for table, columns in found
        if isinstance(columns, list) and columns[0] != "tenant_id" and table != "relay"
    }
    assert wrong == _WITHOUT_TENANT_FIRST


def _plant_file(database: Database, tenant: str, owner: str) -> None:
    with database.transaction(tenant) as connection:
        connection.execute(
            "insert into tl.file (tenant_id, file_id, size_bytes, content_type, created_at, created_by)"
            " values (%s, repeat('a', 64), 1, 'x/y', now(), 'test')",
            (owner,),
        )


def test_another_tenant_sees_no_row_and_the_system_sees_all(database: Database) -> None:
    _plant_file(database, "default", "default")
    counted = b"select count(*) from tl.file"
    with database.transaction("default") as connection:
        assert connection.execute(counted).fetchone() == (1,)
    with database.transaction("other") as connection:
        assert connection.execute(counted).fetchone() == (0,)
    with database.transaction("") as connection:
        assert connection.execute(counted).fetchone() == (0,)
    with database.system() as connection:
        assert connection.execute(counted).fetchone() == (1,)


def test_a_row_for_another_tenant_cannot_be_written(database: Database) -> None:
    with pytest.raises(InsufficientPrivilege, match="row-level security"):
        _plant_file(database, "other", "default")


def test_the_tenant_ends_with_its_transaction(database: Database) -> None:
    with database.transaction("default") as connection:
        connection.execute("select 1")
    with database.system() as connection:
        assert connection.execute("select tl.tenant()").fetchone() == (None,)


def test_the_app_may_not_truncate_nor_change_history(database: Database) -> None:
    for statement in (
        b"truncate tl.file",
        b"delete from tl.promotion",
        b"update tl.promotion set actor = 'x'",
    ):
        with pytest.raises(InsufficientPrivilege), database.transaction("default") as connection:
            connection.execute(statement)

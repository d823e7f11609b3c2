"""What the doors to Postgres do when it goes away and comes back."""

import signal
import time
from collections.abc import Iterator
from pathlib import Path
from threading import Barrier, Thread

import pytest

from thunderline import process
from thunderline.db.embedded import EmbeddedPostgres
from thunderline.db.migrate import migrate
from thunderline.db.pool import Database
from thunderline.errors import Unavailable


@pytest.fixture
def server(short_path: Path) -> Iterator[EmbeddedPostgres]:
    """Return a migrated server of the test's own."""
    made = EmbeddedPostgres(short_path / "p")
    made.start()
    migrate(made.admin_dsn)
    yield made
    made.stop()


def write_while_it_dies(database: Database, server: process.Running) -> None:
    with database.system() as connection:
        connection.execute("insert into tl.tenant_record (tenant_id) values ('lost')")
        process.send(server, signal.SIGKILL)
        assert process.wait_until(lambda: not process.is_alive(server), 10)
        time.sleep(0.2)
        connection.execute("select 1")


def write_and_change_mind(database: Database) -> None:
    with database.system() as connection:
        connection.execute("insert into tl.tenant_record (tenant_id) values ('undone')")
        raise RuntimeError("changed my mind")


@pytest.mark.slow
def test_postgres_may_go_away_and_come_back(server: EmbeddedPostgres) -> None:
    database = Database(server.dsn)
    with database.system() as connection:
        connection.execute("insert into tl.tenant_record (tenant_id) values ('kept')")
    killed = server.running()
    assert killed is not None
    with pytest.raises(Unavailable, match="postgres: does not answer"):
        write_while_it_dies(database, killed)
    with pytest.raises(Unavailable), database.system() as connection:
        connection.execute("select 1")
    with pytest.raises(Unavailable):
        database.listener()
    server.start()
    with database.system() as connection:
        found = connection.execute("select tenant_id from tl.tenant_record").fetchall()
    assert found == [("kept",)]
    database.close()


def test_a_closed_database_says_so(database: Database) -> None:
    database.close()
    with pytest.raises(Unavailable), database.transaction("default"):
        pass


def test_more_callers_than_connections_take_turns(database: Database) -> None:
    together, seen = Barrier(12), []

    def ask() -> None:
        together.wait()
        with database.transaction("default") as connection:
            seen.append(connection.execute("select pg_backend_pid(), tl.tenant()").fetchone())

    threads = [Thread(target=ask) for _ in range(12)]
    for one in threads:
        one.start()
    for one in threads:
        one.join(20)
    assert len(seen) == 12
    assert {row[1] for row in seen if row} == {"default"}
    assert len({row[0] for row in seen if row}) <= 4


def test_an_error_inside_undoes_the_whole_transaction(database: Database) -> None:
    with pytest.raises(RuntimeError, match="changed my mind"):
        write_and_change_mind(database)
    with database.system() as connection:
        assert (
            connection.execute("select from tl.tenant_record where tenant_id = 'undone'").fetchone() is None
        )

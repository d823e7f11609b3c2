"""What the tests stand on: a real Postgres, a fresh migrated database for each test, a store."""

import shutil
import tempfile
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path
from uuid import uuid4

import psycopg
import pytest

from thunderline.db.embedded import EmbeddedPostgres
from thunderline.db.migrate import migrate
from thunderline.db.pool import Database
from thunderline.identity.records import ensure_tenant

pytest_plugins = ["tests.serving"] if find_spec("thunderline.artifacts.filesystem") else []

_TEMPLATE = "migrated"


@pytest.fixture
def short_path() -> Iterator[Path]:
    """Return a directory that ``nobody`` may enter and whose path leaves room for a socket's name."""
    folder = Path(tempfile.mkdtemp(prefix="tl"))
    folder.chmod(0o711)
    yield folder
    shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture(scope="session")
def postgres() -> Iterator[EmbeddedPostgres]:
    """Run one server for the whole session (with xdist: one for each worker)."""
    home = Path(tempfile.mkdtemp(prefix="tl"))
    home.chmod(0o711)
    quick = {"fsync": "off", "synchronous_commit": "off", "full_page_writes": "off", "max_connections": "200"}
    server = EmbeddedPostgres(home / "p", options=quick)
    server.start()
    try:
        yield server
    finally:
        server.stop()
        shutil.rmtree(home, ignore_errors=True)


@pytest.fixture(scope="session")
def template(postgres: EmbeddedPostgres) -> str:
    """Return the name of a migrated database with the tenants ``default`` and ``other``."""
    with psycopg.connect(postgres.admin_dsn, autocommit=True) as connection:
        connection.execute(f"create database {_TEMPLATE}".encode())
    migrate(postgres.dsn_of("postgres", _TEMPLATE))
    database = Database(postgres.dsn_of("tl_login", _TEMPLATE))
    with database.system() as connection:
        ensure_tenant(connection, "default")
        ensure_tenant(connection, "other")
    database.close()
    return _TEMPLATE


@pytest.fixture
def empty_database(postgres: EmbeddedPostgres) -> Iterator[str]:
    """Return the name of a database without anything in it."""
    name = f"t{uuid4().hex}"
    with psycopg.connect(postgres.admin_dsn, autocommit=True) as connection:
        connection.execute(f"create database {name}".encode())
        yield name
        connection.execute(f"drop database {name} with (force)".encode())


@pytest.fixture
def database_name(postgres: EmbeddedPostgres, template: str) -> Iterator[str]:
    """Return the name of a fresh copy of the template."""
    name = f"t{uuid4().hex}"
    with psycopg.connect(postgres.admin_dsn, autocommit=True) as connection:
        connection.execute(f"create database {name} template {template}".encode())
        yield name
        connection.execute(f"drop database {name} with (force)".encode())


@pytest.fixture
def database(postgres: EmbeddedPostgres, database_name: str) -> Iterator[Database]:
    """Return the doors to a fresh migrated database."""
    opened = Database(postgres.dsn_of("tl_login", database_name))
    yield opened
    opened.close()

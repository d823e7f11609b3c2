"""Postgres or the store goes away for a while: clear refusals, nothing half done, and it all comes back."""

from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from tests.serving import RunningApi, wait_until
from thunderline.artifacts.filesystem import FilesystemStore
from thunderline.artifacts.store import Store
from thunderline.canonical import sha256_hex
from thunderline.db.embedded import EmbeddedPostgres
from thunderline.db.migrate import migrate
from thunderline.db.pool import Database
from thunderline.identity.records import ensure_tenant

pytestmark = [pytest.mark.slow, pytest.mark.timeout(180)]
CONTENT = [f"model number {number}\n".encode() * 100 for number in range(4)]


@pytest.fixture
def server(short_path: Path) -> Iterator[EmbeddedPostgres]:
    """A Postgres of the test's own, which it may stop."""
    made = EmbeddedPostgres(short_path / "p")
    made.start()
    yield made
    made.stop()


@pytest.fixture
def database(server: EmbeddedPostgres) -> Iterator[Database]:
    """The doors to it, instead of those to the session's server."""
    migrate(server.admin_dsn)
    opened = Database(server.dsn_of("tl_login"))
    with opened.system() as connection:
        ensure_tenant(connection, "default")
        ensure_tenant(connection, "other")
    yield opened
    opened.close()


@pytest.fixture
def bucket(tmp_path: Path) -> Path:
    return tmp_path / "store"


@pytest.fixture
def store(bucket: Path) -> Store:
    return Store(FilesystemStore(bucket), bucket="thunderline-artifacts")


@pytest.fixture
def client(api: RunningApi) -> Iterator[httpx.Client]:
    with api.client() as made:
        gates = {"ungated": True}
        assert made.post("/api/models", json={"name": "m", "gates": gates}).status_code == 201
        for number, content in enumerate(CONTENT):
            file_id = made.post("/files", content=content).json()["file_id"]
            document = {"file_id": file_id, "name": f"{number}.bin", "model": "m"}
            assert made.post("/api/artifacts", json=document).status_code == 201
        yield made


def promote(client: httpx.Client, version: int) -> httpx.Response:
    document = {"artifact": f"m@{version}", "target_ref": "m:prod", "reason": "a test"}
    return client.post("/api/promotions", json=document)


def world(client: httpx.Client) -> tuple[object, object, object]:
    """Rows, reference and events."""
    history = client.get("/api/models/m/history").json()
    reference = client.get("/api/models/m/references/prod").json()
    events = client.get("/api/events").json()
    return history, reference.get("sha256"), events


def assert_refused(answer: httpx.Response, part: str) -> None:
    assert answer.status_code == 503, answer.text
    told = answer.json()
    assert told["code"] == "UNAVAILABLE"
    assert told["part"] == part
    assert int(answer.headers["Retry-After"]) > 0
    assert "Traceback" not in answer.text


def published(bucket: Path) -> str:
    return sha256_hex((bucket / "models/m/latest.bin").read_bytes())


def test_postgres_away_refuses_everything_and_loses_nothing(
    client: httpx.Client, server: EmbeddedPostgres, bucket: Path
) -> None:
    assert promote(client, 1).status_code == 201
    wait_until(lambda: len(client.get("/api/events").json()) == 1)
    before = world(client)
    server.stop()
    assert_refused(promote(client, 2), "postgres")
    assert_refused(client.get("/api/models"), "postgres")
    assert_refused(client.post("/files", content=b"while it is away"), "postgres")
    assert client.get("/healthz").status_code == 200
    ready = client.get("/readyz")
    assert ready.status_code == 503
    assert "does not answer" in ready.json()["checks"]["postgres"]
    assert published(bucket) == sha256_hex(CONTENT[0])
    server.start()
    wait_until(lambda: client.get("/readyz").status_code == 200, 60)
    assert world(client) == before
    assert promote(client, 2).status_code == 201
    wait_until(lambda: len(client.get("/api/events").json()) == 2, 60)  # the relay came back too
    assert published(bucket) == sha256_hex(CONTENT[1])


def test_the_store_away_refuses_what_needs_bytes_and_heals(client: httpx.Client, bucket: Path) -> None:
    assert promote(client, 1).status_code == 201
    wait_until(lambda: len(client.get("/api/events").json()) == 1)
    before = world(client)
    away = bucket.with_name("away")
    bucket.rename(away)
    assert_refused(promote(client, 2), "store")
    assert_refused(client.post("/files", content=b"while it is away"), "store")
    assert_refused(client.get(f"/files/{sha256_hex(CONTENT[0])}"), "store")
    assert client.get("/readyz").status_code == 503
    assert client.get("/api/models/m/references/prod").status_code == 200  # rows need no store
    assert world(client) == before
    away.rename(bucket)
    assert client.get("/readyz").status_code == 200
    assert world(client) == before
    assert promote(client, 2).status_code == 201
    wait_until(lambda: published(bucket) == sha256_hex(CONTENT[1]))


def test_a_rollback_while_the_store_is_away_is_refused_whole(client: httpx.Client, bucket: Path) -> None:
    for version in (1, 2):
        assert promote(client, version).status_code == 201
    away = bucket.with_name("away")
    bucket.rename(away)
    answer = client.post("/api/rollbacks", json={"target_ref": "m:prod", "reason": "it is bad"})
    assert_refused(answer, "store")
    away.rename(bucket)
    done = client.post("/api/rollbacks", json={"target_ref": "m:prod", "reason": "it is bad"})
    assert done.status_code == 201
    assert done.json()["promotion"]["version"] == 1
    wait_until(lambda: published(bucket) == sha256_hex(CONTENT[0]))

"""Fixtures that serve the whole API over a test's own database and store."""

import socket
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from threading import Event, Thread

import httpx
import pytest
import uvicorn

from thunderline.artifacts.filesystem import FilesystemStore
from thunderline.artifacts.store import Store
from thunderline.clock import SystemClock
from thunderline.db.pool import Database
from thunderline.events.relay import Relay
from thunderline.identity.api_key import issue
from thunderline.identity.authenticate import Authenticator
from thunderline.identity.principal import SCOPES
from thunderline.identity.records import add_key
from thunderline.promotion.latest import publisher
from thunderline.promotion.promote import Promotions
from thunderline.settings import load_settings
from thunderline.wiring import Services


@pytest.fixture
def store(tmp_path: Path) -> Store:
    """Return a store in a directory of the test's own."""
    return Store(FilesystemStore(tmp_path / "store"), bucket="thunderline-artifacts")


@dataclass(frozen=True, slots=True)
class RunningApi:
    """A real server of the product on a port of its own, with its relay, and keys for two tenants."""

    url: str
    key: str  # of tenant default, all rights
    other_key: str  # of tenant other, all rights
    services: Services

    def client(self, key: str | None = None) -> httpx.Client:
        """Return a client that presents a key."""
        return httpx.Client(base_url=self.url, headers={"X-API-Key": key or self.key}, timeout=30)

    def add_key(self, *scopes: str, tenant: str = "default") -> str:
        """Issue a key with these rights only."""
        key = issue()
        with self.services.database.system() as connection:
            add_key(connection, key, tenant=tenant, owner="limited", scopes=scopes)
        return key.text


@pytest.fixture
def services(database: Database, store: Store, tmp_path: Path) -> Services:
    """Return the product's parts over the test's database and store."""
    clock = SystemClock()
    settings = load_settings({"THUNDERLINE_HOME": str(tmp_path / "home")}).settings
    return Services(
        database=database,
        store=store,
        clock=clock,
        settings=settings,
        authenticator=Authenticator(database, clock),
        promotions=Promotions(database, store, clock),
    )


@pytest.fixture
def api(services: Services) -> Iterator[RunningApi]:
    """Serve the whole API in a thread, with the relay in another."""
    from thunderline.web.app import create_app

    keys = {tenant: issue() for tenant in ("default", "other")}
    with services.database.system() as connection:
        for tenant, key in keys.items():
            add_key(connection, key, tenant=tenant, owner="admin", scopes=SCOPES)
    listening = socket.create_server(("127.0.0.1", 0))
    config = uvicorn.Config(
        create_app(services), http="httptools", ws="none", log_config=None, timeout_graceful_shutdown=1
    )
    server = uvicorn.Server(config)
    serving = Thread(target=server.run, args=([listening],), daemon=True)
    serving.start()
    stop = Event()
    relay = Relay(services.database, [publisher(services.database, services.store)])
    relaying = Thread(target=relay.run, args=(stop,), daemon=True)
    relaying.start()
    url = f"http://127.0.0.1:{listening.getsockname()[1]}"
    wait_until(lambda: server.started)
    yield RunningApi(url, keys["default"].text, keys["other"].text, services)
    stop.set()
    server.should_exit = True
    serving.join(timeout=20)
    relaying.join(timeout=20)
    listening.close()


def wait_until(holds: Callable[[], bool], timeout_s: float = 20) -> None:
    """Wait until something holds, or fail."""
    end = time.monotonic() + timeout_s
    while not holds():
        assert time.monotonic() < end, "it did not come true in time"
        time.sleep(0.01)

"""Many writers on one reference over HTTP: one line, nothing lost, whoever is killed."""

import itertools
import os
import random
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from threading import Barrier, Event

import httpx
import pytest

from tests.integration.pushing import Pushed, done, promotion, push, register
from tests.serving import RunningApi, wait_until
from thunderline.canonical import sha256_hex

pytestmark = [pytest.mark.slow, pytest.mark.timeout(240)]
WRITERS, EACH = 8, 25


@dataclass(frozen=True, slots=True)
class Written:
    """What one writer was told."""

    ids: list[str]  # of the promotions that were acknowledged as its own
    lost: int  # how often it was told that another had been there before


def write(
    client: httpx.Client, made: list[Pushed], seed: int, is_enough: Callable[[list[str]], bool]
) -> Written:
    """Look, then promote something else on top of exactly that, until it is enough."""
    chance, ids, lost = random.Random(seed), list[str](), 0
    while not is_enough(ids):
        try:
            held = client.get("/api/models/m/references/prod").json()
            other = chance.choice([one for one in made if one.sha256 != held.get("sha256")])
            form = promotion(other, expected_seq=held.get("seq", 0), reason=f"writer {seed}")
            answer = client.post("/api/promotions", json=form)
        except httpx.HTTPError:
            continue  # the server died; whether it had written is for the history to say
        if answer.status_code == 201:
            ids.append(answer.json()["promotion"]["id"])
        elif answer.status_code == 200:
            assert answer.json()["status"] == "unchanged"  # another writer did the very same meanwhile
        else:
            assert (answer.status_code, answer.json()["code"]) == (409, "STALE_STATE"), answer.text
            lost += 1
    return Written(ids, lost)


def assert_one_line(api: RunningApi, client: httpx.Client) -> list[str]:
    """The chain is sound, each row replaces the one before, and every copy tells of the last; returns ids."""
    told = done(client.get("/api/models/m/history"))
    chain, rows = told["chain"], told["history"]
    assert isinstance(chain, dict)
    assert isinstance(rows, list)
    assert (chain["sound"], chain["rows"]) == (True, len(rows)), chain["problem"]
    assert [row["seq"] for row in rows] == list(range(1, len(rows) + 1))
    for before, row in itertools.pairwise(rows):
        assert (row["previous"]["seq"], row["previous"]["sha256"]) == (before["seq"], before["sha256"])
        assert row["sha256"] != before["sha256"]
    last = rows[-1]
    wait_until(lambda: len(events(client)) == len(rows))
    assert [one["data"]["promotion_id"] for one in events(client)] == [row["id"] for row in rows]
    held = done(client.get("/api/models/m/references/prod"))
    assert (held["seq"], held["sha256"]) == (last["seq"], last["sha256"])
    store = api.services.store
    assert (store.read_document("default", "models/m/latest.json") or b"").decode() == client.get(
        "/api/models/m/references/prod"
    ).text
    latest = store.read_document("default", "models/m/latest.safetensors") or b""
    assert sha256_hex(latest) == last["sha256"]
    return [row["id"] for row in rows]


def events(client: httpx.Client) -> list[dict[str, dict[str, object]]]:
    found = client.get("/api/events", params={"limit": 1000}).json()
    assert isinstance(found, list)
    return found


def prepare(client: httpx.Client, count: int) -> list[Pushed]:
    register(client)
    return [push(client, b"bytes %d" % number) for number in range(count)]


def test_two_hundred_promotions_by_eight_writers_are_one_line(api: RunningApi) -> None:
    start = Barrier(WRITERS)
    with api.client() as client:
        made = prepare(client, 4)

        def run(seed: int) -> Written:
            with api.client() as own:
                start.wait()
                return write(own, made, seed, lambda ids: len(ids) >= EACH)

        with ThreadPoolExecutor(WRITERS) as pool:
            written = list(pool.map(run, range(WRITERS)))
        ids = assert_one_line(api, client)
    acknowledged = [one for each in written for one in each.ids]
    assert sum(one.lost for one in written) > 0  # else nobody raced
    # Two writers who choose the same may both be told of the one row that did it; nobody is told of none.
    assert set(acknowledged) == set(ids)
    assert len(ids) >= WRITERS * EACH // 2


_SERVER = """
import socket, sys
from pathlib import Path
import uvicorn
from thunderline.artifacts.filesystem import FilesystemStore
from thunderline.artifacts.store import Store
from thunderline.clock import SystemClock
from thunderline.db.pool import Database
from thunderline.identity.authenticate import Authenticator
from thunderline.promotion.promote import Promotions
from thunderline.settings import load_settings
from thunderline.web.app import create_app
from thunderline.wiring import Services
dsn, root, fd = sys.argv[1:]
database, clock = Database(dsn), SystemClock()
store = Store(FilesystemStore(Path(root)), bucket="thunderline-artifacts")
services = Services(
    database=database, store=store, clock=clock, settings=load_settings({}).settings,
    authenticator=Authenticator(database, clock), promotions=Promotions(database, store, clock),
)
config = uvicorn.Config(create_app(services), http="httptools", ws="none", log_config=None)
uvicorn.Server(config).run(sockets=[socket.socket(fileno=int(fd))])
"""


def test_servers_killed_while_four_write_leave_one_line_with_all_they_acknowledged(
    api: RunningApi,
) -> None:
    root = str(api.services.store._blobs.root)
    listening = socket.create_server(("127.0.0.1", 0))
    listening.set_inheritable(True)
    url = f"http://127.0.0.1:{listening.getsockname()[1]}"
    arguments = [sys.executable, "-c", _SERVER, api.services.database.dsn, root, str(listening.fileno())]
    over, chance = Event(), random.Random(5)

    def run(seed: int) -> Written:
        with httpx.Client(base_url=url, headers={"X-API-Key": api.key}, timeout=20) as own:
            return write(own, made, seed, lambda _: over.is_set())

    def answers() -> bool:
        try:
            return httpx.get(f"{url}/healthz", timeout=5).status_code == 200
        except httpx.HTTPError:
            return False

    with api.client() as client, ThreadPoolExecutor(4) as pool:
        made = prepare(client, 4)
        writing = [pool.submit(run, seed) for seed in range(4)]
        for _ in range(5):
            server = subprocess.Popen(arguments, pass_fds=[listening.fileno()])
            wait_until(answers)
            time.sleep(0.2 + chance.random() * 0.6)  # a random point of its work
            os.kill(server.pid, signal.SIGKILL)
            server.wait()
        over.set()
        listening.close()  # who still waits for an answer is told that there is none
        written = [one.result() for one in writing]
        ids = assert_one_line(api, client)
    acknowledged = {one for each in written for one in each.ids}
    assert acknowledged <= set(ids)
    assert len(acknowledged) > 10

"""Consumers against the real API: two ways of hearing, refusals told, outages survived, kills survived."""

import json
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from threading import Event, Thread

import httpx
import numpy as np
import pytest
import uvicorn
from safetensors.numpy import load, save

from tests.machine import Machine
from tests.serving import RunningApi, wait_until
from thunderline.artifacts.blob_store import blob_key
from thunderline.canonical import Json, sha256_hex
from thunderline.consumer.arrays import Arrays, load_arrays, same_shapes
from thunderline.consumer.consumer import Consumer
from thunderline.wiring import Services

ROOT = Path(__file__).parents[2]
SHAPES = {"w": (4, 3), "b": (3,)}


def weights(value: float, inputs: int = 4) -> bytes:
    """A linear model that always answers class ``value`` (0, 1 or 2), unless it is not finite."""
    bias = (
        np.full(3, value, np.float32) if not np.isfinite(value) else np.eye(3, dtype=np.float32)[int(value)]
    )
    return save({"w": np.zeros((inputs, 3), np.float32), "b": bias})


def promote(client: httpx.Client, content: bytes) -> int:
    """Upload, register and promote; returns the seq."""
    file_id = client.post("/files", content=content).json()["file_id"]
    file = {"file_id": file_id, "name": "m.safetensors", "kind": "checkpoint", "model": "m"}
    made = client.post("/api/artifacts", json=file)
    assert made.status_code in (200, 201), made.text
    moving = {"artifact": made.json()["uri"], "target_ref": "m:prod", "reason": "a test"}
    moved = client.post("/api/promotions", json=moving)
    assert moved.status_code in (200, 201), moved.text
    return int(moved.json()["promotion"]["seq"])


class Platform:
    """What a test does to the control plane, over HTTP, with an admin's key."""

    def __init__(self, client: httpx.Client, objects: Path) -> None:
        self._client, self._objects = client, objects
        gates = {"ungated": True}
        assert self._client.post("/api/models", json={"name": "m", "gates": gates}).status_code == 201

    def close(self) -> None:
        self._client.close()

    def promote(self, content: bytes) -> int:
        return promote(self._client, content)

    def roll_back(self) -> None:
        moved = self._client.post("/api/rollbacks", json={"target_ref": "m:prod", "reason": "a test"})
        assert moved.status_code in (200, 201), moved.text

    def listed(self, name: str) -> dict[str, Json]:
        (found,) = [
            one
            for one in self._client.get("/api/consumers").json()["consumers"]
            if one["consumer_id"] == name
        ] or [{}]
        return dict(found)

    def adoption(self) -> dict[str, Json]:
        return dict(self._client.get("/api/consumers/adoption", params={"reference": "m:prod"}).json())

    @contextmanager
    def damaged(self, content: bytes, by: bytes) -> Iterator[None]:
        """Let the store hold other bytes for a while; an inode of their own, as a disk would have it."""
        blob = self._objects / blob_key(sha256_hex(content))
        blob.unlink()
        blob.write_bytes(by)
        yield
        blob.write_bytes(content)


@pytest.fixture
def platform(api: RunningApi, tmp_path: Path) -> Iterator[Platform]:
    made = Platform(api.client(), tmp_path / "store")
    yield made
    made.close()


@contextmanager
def following(
    api: RunningApi,
    cache: Path,
    *,
    watch: str = "polling",
    close: Callable[[Arrays], None] | None = None,
    key: str | None = None,
    interval_s: float = 0.05,
) -> Iterator[Consumer[Arrays]]:
    consumer = Consumer(
        reference="m:prod",
        load=load_arrays,
        check=lambda arrays: same_shapes(SHAPES, arrays),
        url=api.url,
        api_key=key or api.key,
        cache=cache,
        watch=watch,
        consumer_id=watch,
        close=close,
        interval_s=interval_s,
        heartbeat_s=0.5,
    )
    consumer.start()
    yield consumer
    consumer.stop()


def answer(consumer: Consumer[Arrays]) -> int:
    with consumer.model() as arrays:
        return int(arrays["b"].argmax())


def answers(consumer: Consumer[Arrays], expected: int) -> Callable[[], bool]:
    return lambda: answer(consumer) == expected


@pytest.mark.parametrize("watch", ["events", "polling"])
def test_each_way_alone_takes_promotions_and_rollbacks(
    api: RunningApi, platform: Platform, tmp_path: Path, watch: str
) -> None:
    platform.promote(weights(0))
    with following(api, tmp_path / "c", watch=watch) as consumer:
        assert answer(consumer) == 0
        second = platform.promote(weights(1))
        wait_until(answers(consumer, 1), 10)
        wait_until(lambda: consumer.stats().seq == second)
        platform.roll_back()
        wait_until(answers(consumer, 0), 10)
        wait_until(lambda: consumer.stats().seq == second + 1)  # never back
        wait_until(lambda: platform.listed(watch).get("lag") == 0)
        assert platform.listed(watch)["watch"] == watch


def test_a_late_event_of_an_earlier_promotion_changes_nothing(
    api: RunningApi, platform: Platform, tmp_path: Path
) -> None:
    platform.promote(weights(0))
    platform.promote(weights(1))
    with following(api, tmp_path / "c", watch="events") as consumer:
        with api.services.database.transaction("default") as connection:
            connection.execute(
                "insert into tl.outbox (tenant_id, subject, subject_version, type, data, at) "
                "select tenant_id, subject, subject_version + 1000, type, data, now() from tl.outbox "
                "where type = 'fl.artifact.promoted' order by position limit 1"
            )
        wait_until(lambda: consumer._watch.last_event_id is not None, 10)  # it was heard
        platform.promote(weights(2))
        wait_until(answers(consumer, 2), 10)
        wait_until(lambda: consumer.stats().seq == 3)
        assert consumer.stats().swaps == 2


@pytest.mark.parametrize(
    ("candidate", "said"),
    [
        (weights(np.nan), "array b holds NaN or infinity"),
        (weights(1, inputs=5), "array w: expected shape (4, 3), found (5, 3)"),
        (b"not a model", "is not a safetensors file"),
    ],
)
def test_a_candidate_that_cannot_serve_leaves_the_old_one_and_says_why(
    api: RunningApi, platform: Platform, tmp_path: Path, candidate: bytes, said: str
) -> None:
    platform.promote(weights(0))
    with following(api, tmp_path / "c") as consumer:
        platform.promote(candidate)
        wait_until(lambda: platform.listed("polling").get("state") == "rejected")
        told = platform.listed("polling")
        assert said in str(told["reason"])
        assert (told["sha256"], told["lag"], told["adopted"]) == (sha256_hex(weights(0)), 1, False)
        assert answer(consumer) == 0
        platform.promote(weights(2))
        wait_until(answers(consumer, 2))
        wait_until(lambda: platform.listed("polling").get("adopted") is True)
        assert platform.listed("polling")["reason"] is None


def flipped(content: bytes) -> bytes:
    return content[:-1] + bytes([content[-1] ^ 1])


@pytest.mark.parametrize(
    ("candidate", "damage", "said"),
    [
        (weights(1), flipped, "CHECKSUM_MISMATCH"),
        (weights(1), lambda content: content[:-5], "CHECKSUM_MISMATCH"),
        (
            save({**load(weights(1)), "z": np.zeros(1 << 20, np.float32)}),
            flipped,
            "thunderline artifact verify",
        ),
    ],
    ids=["a flipped bit", "truncated", "a flipped bit in a big one"],
)
def test_bytes_damaged_after_the_promotion_are_refused_and_a_repair_heals_without_restart(
    api: RunningApi,
    platform: Platform,
    tmp_path: Path,
    *,
    candidate: bytes,
    damage: Callable[[bytes], bytes],
    said: str,
) -> None:
    platform.promote(weights(0))
    key = api.add_key("models:read", "files:read", "events:read", "consumers:write")  # no more than it needs
    with following(api, tmp_path / "c", key=key, interval_s=3600) as consumer:
        consumer._check = None  # the big one has one array more
        platform.promote(candidate)
        with platform.damaged(candidate, damage(candidate)):
            consumer._watch._news.set()  # only now it looks
            wait_until(lambda: platform.listed("polling").get("state") == "rejected")
            assert said in str(platform.listed("polling")["reason"])
            assert answer(consumer) == 0
        wait_until(answers(consumer, 1), 30)
        wait_until(lambda: platform.listed("polling").get("adopted") is True)


def test_a_use_in_progress_ends_on_the_old_model_while_new_ones_get_the_new(
    api: RunningApi, platform: Platform, tmp_path: Path
) -> None:
    closed = list[int]()
    platform.promote(weights(0))
    with following(
        api, tmp_path / "c", close=lambda arrays: closed.append(int(arrays["b"].argmax()))
    ) as consumer:
        with consumer.model() as in_use:
            platform.promote(weights(1))
            wait_until(answers(consumer, 1))
            assert (int(in_use["b"].argmax()), closed) == (0, [])
        assert closed == [0]


def test_an_adapter_is_swapped_while_its_base_stays_loaded(
    api: RunningApi, platform: Platform, tmp_path: Path
) -> None:
    base = np.eye(3, dtype=np.float32)

    def adapted(path: Path) -> Arrays:
        return {"base": base, "b": base @ load_arrays(path)["b"]}

    platform.promote(weights(0))
    consumer = Consumer(
        reference="m:prod", load=adapted, url=api.url, api_key=api.key, cache=tmp_path / "c", watch="events"
    )
    consumer.start()
    platform.promote(weights(2))
    wait_until(answers(consumer, 2))
    with consumer.model() as arrays:
        assert arrays["base"] is base
    consumer.stop()


def test_adoption_counts_who_follows_and_names_who_lags(
    api: RunningApi, platform: Platform, tmp_path: Path
) -> None:
    platform.promote(weights(0))
    with following(api, tmp_path / "e", watch="events"):
        with following(api, tmp_path / "p", watch="polling"):
            wait_until(lambda: platform.adoption().get("adopted") == 2)
        platform.promote(weights(1))  # the polling one is gone
        wait_until(lambda: platform.adoption().get("adopted") == 1)
        assert platform.adoption() == {
            "reference": "m:prod",
            "sha256": sha256_hex(weights(1)),
            "consumers": 2,
            "adopted": 1,
            "share": 0.5,
            "stragglers": ["polling"],
        }


class Server:
    """The API on one port, stopped and started again as often as wanted; with the relay of the fixture."""

    def __init__(self, services: Services) -> None:
        self._services = services
        with socket.create_server(("127.0.0.1", 0)) as free:
            self.port = free.getsockname()[1]
        self._server: uvicorn.Server | None = None
        self._thread = Thread()

    def start(self) -> None:
        from thunderline.web.app import create_app

        config = uvicorn.Config(
            create_app(self._services),
            host="127.0.0.1",
            port=self.port,
            log_config=None,
            ws="none",
            timeout_graceful_shutdown=1,
        )
        self._server = server = uvicorn.Server(config)
        self._thread = Thread(target=server.run, daemon=True)
        self._thread.start()
        wait_until(lambda: server.started)

    def stop(self) -> None:
        if self._server is not None:
            self._server.should_exit = True
        self._thread.join(20)
        assert not self._thread.is_alive()
        with pytest.raises(OSError, match="refused"):
            socket.create_connection(("127.0.0.1", self.port), 5)


@pytest.fixture
def second(api: RunningApi) -> Iterator[tuple[Server, RunningApi]]:
    """Return another API over the same database and store, which a test may stop."""
    server = Server(api.services)
    server.start()
    yield server, RunningApi(f"http://127.0.0.1:{server.port}", api.key, api.other_key, api.services)
    server.stop()


@pytest.mark.slow
@pytest.mark.parametrize("watch", ["events", "polling"])
def test_while_the_api_is_away_serving_goes_on_and_then_catches_up(
    second: tuple[Server, RunningApi], platform: Platform, tmp_path: Path, watch: str
) -> None:
    server, api = second
    platform.promote(weights(0))
    with following(api, tmp_path / "c", watch=watch) as consumer:
        assert answer(consumer) == 0
        server.stop()
        platform.promote(weights(1))
        platform.promote(weights(2))
        for _ in range(300):  # three seconds of an outage
            assert answer(consumer) == 0
            Event().wait(0.01)
        server.start()
        wait_until(answers(consumer, 2))
        assert consumer.stats().rejected == 0
        wait_until(lambda: platform.listed(watch).get("adopted") is True)


class Service:
    """The example service in a process of its own."""

    def __init__(self, url: str, key: str, cache: Path) -> None:
        environment = {
            **{name: os.environ[name] for name in ("PATH", "HOME") if name in os.environ},
            "PYTHONPATH": str(ROOT / "src"),
            "THUNDERLINE_URL": url,
            "THUNDERLINE_API_KEY": key,
        }
        arguments = ["--ref", "m:prod", "--port", "0", "--cache", str(cache)]
        self.process = subprocess.Popen(
            [sys.executable, str(ROOT / "examples" / "serve.py"), *arguments],
            env=environment,
            stdout=subprocess.PIPE,
            text=True,
        )
        assert self.process.stdout is not None
        said = self.process.stdout.readline()
        assert said.startswith("serving m:prod at "), said
        self.url = said.rpartition(" ")[2].strip()

    def classes(self, *rows: list[float]) -> object:
        answered = httpx.post(f"{self.url}/predict", json={"rows": list(rows)}, trust_env=False, timeout=10)
        return answered.json().get("classes")

    def health(self) -> dict[str, Json]:
        return dict(httpx.get(f"{self.url}/healthz", trust_env=False, timeout=10).json())

    def end(self, number: signal.Signals) -> int:
        self.process.send_signal(number)
        self.process.communicate(timeout=20)
        return self.process.returncode


@pytest.mark.slow
def test_a_service_killed_and_started_again_while_the_api_is_away_serves_its_verified_copy(
    second: tuple[Server, RunningApi], platform: Platform, tmp_path: Path
) -> None:
    server, api = second
    row = [1.0, 2.0, 3.0, 4.0]
    platform.promote(weights(1))
    service = Service(api.url, api.key, tmp_path / "c")
    assert service.classes(row, row) == [1, 1]
    assert service.end(signal.SIGKILL) == -signal.SIGKILL
    server.stop()

    service = Service(api.url, api.key, tmp_path / "c")
    assert (service.classes(row), service.health()["copy"]) == ([1], True)
    server.start()
    platform.promote(weights(2))
    wait_until(lambda: service.classes(row) == [2])
    assert service.health()["copy"] is False
    assert httpx.post(f"{service.url}/predict", content=b"{}", trust_env=False).status_code == 400
    assert service.end(signal.SIGTERM) == 0


class Following:
    """``thunderline consumer run`` in a process of its own, and the lines it prints."""

    def __init__(self, machine: Machine, *options: str) -> None:
        self.process = machine.start("consumer", "run", "--ref", "m:prod", *options)

    def next(self) -> dict[str, Json]:
        assert self.process.stdout is not None
        return dict(json.loads(self.process.stdout.readline()))

    def end(self, number: signal.Signals = signal.SIGTERM) -> int:
        self.process.send_signal(number)
        self.process.communicate(timeout=30)
        return self.process.returncode


@pytest.mark.slow
@pytest.mark.timeout(240)
def test_the_command_follows_a_reference_through_a_platform_that_goes_and_comes(short_path: Path) -> None:
    machine = Machine(short_path / "h")
    assert machine.run("up", "--detach").returncode == 0
    url, key = machine.board().url, machine.home.key_file.read_text().strip()
    try:
        followers = [Following(machine, "--watch", way, "--id", way) for way in ("events", "polling")]
        with machine.client() as client:
            Platform(client, machine.home.path).promote(weights(0))
        first = [one.next() for one in followers]
        assert [one["seq"] for one in first] == [1, 1]
        assert {sha256_hex(Path(str(one["path"])).read_bytes()) for one in first} == {first[0]["sha256"]}
        wait_until(lambda: _listed(machine) == {"events": True, "polling": True})

        assert machine.run("down").returncode == 0
        assert followers[0].end(signal.SIGKILL) == -signal.SIGKILL
        known = {"THUNDERLINE_URL": url, "THUNDERLINE_API_KEY": key}
        machine.environment.update(known)
        followers[0] = Following(machine, "--watch", "events", "--id", "events")
        assert followers[0].next() == {**first[0], "is_from_copy": True}
        for name in known:
            del machine.environment[name]

        assert machine.run("up", "--detach", "--port", url.rpartition(":")[2]).returncode == 0
        assert machine.board().url == url
        with machine.client() as client:
            promote(client, weights(1))
        assert [one.next()["seq"] for one in followers] == [2, 2]
        wait_until(lambda: _listed(machine) == {"events": True, "polling": True})
        assert [one.end() for one in followers] == [0, 0]
        _says_at_once_what_is_wrong(machine)
    finally:
        machine.run("down")


def _says_at_once_what_is_wrong(machine: Machine) -> None:
    refused = machine.run("consumer", "run", "--ref", "m:prod", "--watch", "telepathy")
    assert (refused.returncode, "expected one of events, polling" in refused.stderr) == (2, True)
    unknown = machine.run("consumer", "run", "--ref", "m:prod", THUNDERLINE_API_KEY="tl_no")
    assert (unknown.returncode, "not valid" in unknown.stderr) == (4, True)
    waiting = machine.start("consumer", "run", "--ref", "nosuch:prod")
    assert waiting.stderr is not None
    assert "no model 'nosuch'" in waiting.stderr.readline()
    waiting.terminate()
    waiting.communicate(timeout=30)


def _listed(machine: Machine) -> dict[str, bool]:
    listed = machine.run("consumer", "list", "--output", "json")
    assert listed.returncode == 0, listed.stderr
    return {one["consumer_id"]: one["adopted"] for one in json.loads(listed.stdout)}

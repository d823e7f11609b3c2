"""A federation from the command line, on a platform that a person started."""

import json
import os
import re
import signal
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from tests.federations import (
    Told,
    as_yaml,
    base_file,
    clients,
    digest_of,
    examples,
    plan,
    shard,
    spec_document,
)
from tests.machine import Machine
from thunderline import process
from thunderline.canonical import sha256_hex
from thunderline.federation.flower.in_process import run_in_process

pytestmark = [pytest.mark.slow, pytest.mark.timeout(240)]


@pytest.fixture
def machine(short_path: Path) -> Iterator[Machine]:
    """A running platform."""
    made = Machine(short_path / "h")
    came_up = made.run("up", "--detach")
    assert came_up.returncode == 0, came_up.stderr
    yield made
    made.run("down")


def write_spec(machine: Machine, folder: Path, **changed: object) -> Path:
    """Upload the inputs and write a spec that names them."""
    with machine.client() as client:

        def upload(content: bytes) -> str:
            return str(client.post("/files", content=content).json()["file_id"])

        document = spec_document(
            shards=[upload(shard(one)) for one in clients().values()],
            base=upload(base_file()),
            validation=upload(shard(examples(100, seed=99))),
            **changed,
        )
    file = folder / "coop.yaml"
    file.write_bytes(as_yaml(document))
    return file


def test_a_person_runs_a_federation(machine: Machine, tmp_path: Path) -> None:
    spec = str(write_spec(machine, tmp_path))
    valid = machine.run("federation", "validate", spec)
    assert valid.returncode == 0, valid.stderr
    assert "s3://thunderline-artifacts/federations/coop/checkpoints/" in valid.stdout
    dry = machine.run("federation", "create", spec, "--dry-run", "--output", "json")
    assert json.loads(dry.stdout)["status"] == "valid"
    made = machine.run("federation", "create", spec, "--output", "json")
    assert json.loads(made.stdout)["status"] == "created"
    assert "warning: model coop has no floor" in made.stderr
    assert machine.run("federation", "start", "coop", "--dry-run").returncode == 0
    assert machine.run("federation", "pause", "coop").returncode == 5
    assert machine.run("federation", "start", "coop").returncode == 0
    watched = machine.run("federation", "watch", "coop")
    assert watched.returncode == 0, watched.stderr
    lines = watched.stdout.splitlines()
    assert [
        re.match(r"round +(\d+)  accuracy 0\.\d+ .* 4 of 4 clients  #+", one) is not None for one in lines
    ] == [True] * 3
    assert "coop is completed" in watched.stderr
    assert "2 candidates, best coop@" in watched.stderr
    shown = json.loads(machine.run("federation", "show", "coop", "--output", "json").stdout)
    assert (shown["rounds_completed"], len(shown["rounds"])) == (3, 3)
    assert sorted(one["round_num"] for one in shown["candidates"]) == [2, 3]
    assert all(one["reasons"] for one in shown["candidates"])
    listed = json.loads(machine.run("federation", "list", "--output", "json").stdout)
    assert [one["name"] for one in listed] == ["coop"]
    assert machine.run("federation", "stop", "coop").returncode == 5
    assert machine.run("federation", "show", "nobody").returncode == 1
    pulled = tmp_path / "round-3.safetensors"
    uri = "s3://thunderline-artifacts/federations/coop/checkpoints/global-ROUND-3.safetensors"
    assert machine.run("artifact", "pull", uri, "--to", str(pulled)).returncode == 0
    assert sha256_hex(pulled.read_bytes()) == shown["rounds"][-1]["checkpoint_sha256"]


def test_a_wrong_key_is_named_before_anything_is_sent(machine: Machine, tmp_path: Path) -> None:
    spec = write_spec(machine, tmp_path)
    spec.write_text(spec.read_text().replace("localEpochs", "localEpoch"))
    for command in ("validate", "create"):
        refused = machine.run("federation", command, str(spec))
        assert refused.returncode == 2
        assert "spec.strategy.params.localEpoch: no such key; did you mean localEpochs?" in refused.stderr
        assert "Traceback" not in refused.stderr
    assert machine.run("federation", "validate", str(tmp_path / "absent.yaml")).returncode == 2
    nowhere = machine.run("federation", "show", "..")
    assert (nowhere.returncode, "federation: '..' is not a name" in nowhere.stderr) == (2, True)
    lost = machine.run("federation", "list", THUNDERLINE_URL="nonsense")
    assert (lost.returncode, "client.url: 'nonsense' is no address" in lost.stderr) == (2, True)


def test_a_failed_federation_is_watched_to_its_end(machine: Machine, tmp_path: Path) -> None:
    strategy = {"name": "fedavg", "params": {"minAvailable": 50}}
    spec = write_spec(machine, tmp_path, strategy=strategy)
    assert machine.run("federation", "create", str(spec), "--start").returncode == 0
    watched = machine.run("federation", "watch", "coop")
    assert watched.returncode == 1
    assert "coop is failed: clients: 4 available, the spec asks for at least 50" in watched.stderr


def test_a_federation_goes_on_whatever_is_killed(machine: Machine, tmp_path: Path) -> None:
    total = 60
    spec = write_spec(machine, tmp_path, rounds={"total": total, "timeoutSeconds": 30})
    assert machine.run("federation", "create", str(spec), "--start").returncode == 0

    def completed() -> int:
        try:
            with machine.client() as client:
                return int(client.get("/api/federations/coop").json()["rounds_completed"])
        except (httpx.HTTPError, KeyError, ValueError):
            return -1  # what was killed is not back yet

    for part in ("driver", "postgres", "api"):
        done = completed()
        assert process.wait_until(lambda at=done: completed() > max(at, 0) or completed() == total, 60)
        os.kill(machine.part(part).pid, signal.SIGKILL)
        assert process.wait_until(lambda: completed() >= 0, 60)
    for one in (machine.board().supervisor, machine.part("driver"), machine.part("postgres")):
        process.send(one, signal.SIGKILL)
    assert machine.run("up", "--detach").returncode == 0
    assert process.wait_until(lambda: completed() == total, 120)
    told = Told()
    run_in_process(plan(clients(), rounds=total), told, clients())
    shown = json.loads(machine.run("federation", "show", "coop", "--output", "json").stdout)
    assert shown["status"] == "completed"
    assert shown["rounds"][-1]["checkpoint_sha256"] == digest_of(told.results[-1].arrays)
    assert [one["round_num"] for one in shown["rounds"]] == list(range(1, total + 1))

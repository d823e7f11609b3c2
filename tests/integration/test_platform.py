"""The whole platform, as a person starts it, and whatever is killed."""

import json
import os
import signal
import socket
from collections.abc import Iterator
from functools import partial
from hashlib import sha256
from pathlib import Path

import pytest

from tests.machine import Machine
from thunderline import process
from thunderline.db.embedded import EmbeddedPostgres
from thunderline.process import Running

pytestmark = [pytest.mark.slow, pytest.mark.timeout(240)]

CONTENT = b"a row, a blob and what they say of each other\n" * 1000


class Promoting(Machine):
    """A machine on which promotion after promotion is made."""

    def promote(self, number: int) -> None:
        """Upload bytes, make a version of them and point the model's reference at it."""
        content = CONTENT + str(number).encode()
        with self.client() as client:
            assert client.post("/files", content=content).json()["file_id"] == sha256(content).hexdigest()
            model = {"name": "kept", "gates": {"ungated": True}}
            assert client.post("/api/models", json=model).status_code == 201
            file = {"file_id": sha256(content).hexdigest(), "name": f"{number}.bin", "model": "kept"}
            made = client.post("/api/artifacts", json={**file, "kind": "checkpoint"})
            assert made.status_code == 201, made.text
            moving = {"artifact": made.json()["uri"], "target_ref": "kept:prod", "reason": "a test"}
            moved = client.post("/api/promotions", json=moving)
            assert moved.status_code == 201, moved.text

    def holds(self, numbers: range) -> bool:
        """Tell whether every promotion so far is there as bytes, row, reference and numbered event."""
        digests = [sha256(CONTENT + str(one).encode()).hexdigest() for one in numbers]
        with self.client() as client:
            if client.get("/readyz").status_code != 200:
                return False
            bytes_there = [sha256(client.get(f"/files/{one}").content).hexdigest() for one in digests]
            rows = client.get("/api/models/kept/history").json()["history"]
            reference = client.get("/api/models/kept/references/prod").json()
            told = client.get("/api/events", params={"types": "fl.artifact.promoted"}).json()
        return (
            bytes_there == digests
            and sorted(row["seq"] for row in rows) == [one + 1 for one in numbers]
            and reference["sha256"] == digests[-1]
            and [event["data"]["sha256"] for event in told] == digests
        )

    def has_come_back(self, name: str, killed: Running) -> bool:
        """Tell whether everything is up and the named part is another process than before."""
        board = self.board()
        parts = {one.name: one for one in board.parts}
        return board.is_up and all(one.is_up for one in board.parts) and parts[name].running != killed

    def leftovers(self) -> list[str]:
        """Name every process that belongs to this home."""
        found = []
        for entry in Path("/proc").iterdir():
            if (
                not entry.name.isdigit()
                or int(entry.name) == os.getpid()
                or not process.running(int(entry.name))
            ):
                continue
            try:
                said = (entry / "environ").read_bytes() + (entry / "cmdline").read_bytes()
            except OSError:
                said = b"".join(one.encode() for one in process.command_line(int(entry.name)))
            if str(self.home.path).encode() in said:
                found.append(" ".join(process.command_line(int(entry.name))))
        return found


@pytest.fixture
def machine(short_path: Path) -> Iterator[Promoting]:
    made = Promoting(short_path / "h")
    yield made
    made.run("down")


def test_whatever_is_killed_nothing_is_lost(machine: Promoting) -> None:
    came_up = machine.run("up", "--detach")
    assert came_up.returncode == 0, came_up.stderr
    assert machine.home.key_file.stat().st_mode & 0o777 == 0o600
    machine.promote(0)
    url = machine.board().url
    for number, name in enumerate(("relay", "driver", "api", "postgres"), start=1):
        killed = machine.part(name)
        process.send(killed, signal.SIGKILL)
        come_back = partial(machine.has_come_back, name, killed)
        assert process.wait_until(come_back, 60), f"{name} did not come back"
        machine.promote(number)
        assert process.wait_until(partial(machine.holds, range(number + 1)), 30)
    assert machine.board().url == url

    board = machine.board()
    process.send(board.supervisor, signal.SIGKILL)
    children = [one.running for one in board.parts if one.running and one.name != "postgres"]
    assert len(children) == 3
    assert process.wait_until(lambda: not any(map(process.is_alive, children)), 20)
    assert machine.run("status").returncode == 1

    came_up = machine.run("up", "--detach")
    assert came_up.returncode == 0, came_up.stderr
    assert machine.board().url == url
    assert machine.holds(range(5))
    shown = machine.run("status", "--output", "json")
    assert shown.returncode == 0
    assert {row["part"] for row in json.loads(shown.stdout)} == {
        "supervisor", "postgres", "store", "relay", "driver", "api",
    }  # fmt: skip
    checked = machine.run("doctor", "--output", "json")
    assert checked.returncode == 0, checked.stdout
    assert {row["is"] for row in json.loads(checked.stdout)} == {"ok"}

    assert machine.run("down").returncode == 0
    assert machine.leftovers() == []


def test_down_ends_what_a_killed_supervisor_left(machine: Promoting) -> None:
    assert machine.run("up", "--detach").returncode == 0
    process.send(machine.board().supervisor, signal.SIGKILL)
    stopped = machine.run("down")
    assert stopped.returncode == 0, stopped.stderr
    assert machine.leftovers() == []


def test_down_in_the_middle_of_a_start_leaves_nothing(machine: Promoting) -> None:
    with machine.start("up", "--supervised") as starting:
        assert process.wait_until(machine.home.is_supervised, 20)
        stopped = machine.run("down")
        assert starting.wait(60) == 0
    assert (stopped.returncode, stopped.stderr) == (0, "stopped\n")
    assert machine.leftovers() == []


def test_up_in_the_middle_of_a_stop_starts_again(machine: Promoting) -> None:
    assert machine.run("up", "--detach").returncode == 0
    before = machine.board().supervisor
    process.send(before, signal.SIGTERM)
    assert process.wait_until(lambda: (now := machine.home.board()) is None or now.state == "stopping", 20)
    again = machine.run("up", "--detach")
    assert again.returncode == 0, again.stderr
    assert machine.board().supervisor != before
    assert machine.run("status").returncode == 0


def test_a_lost_or_damaged_board_is_written_again_so_that_down_still_works(machine: Promoting) -> None:
    assert machine.run("up", "--detach").returncode == 0
    before = machine.board()
    machine.home.board_file.write_text("{ not what we wrote")
    assert process.wait_until(lambda: machine.home.board() == before, 10)
    machine.home.board_file.unlink()
    stopped = machine.run("down")
    assert (stopped.returncode, "stopped" in stopped.stderr) == (0, True), stopped.stderr
    assert machine.leftovers() == []


def test_of_two_racing_starts_one_supervises_and_both_succeed(machine: Promoting) -> None:
    racing = [machine.start("up", "--detach") for _ in range(2)]
    said = [one.communicate(timeout=200)[1] for one in racing]
    assert [one.returncode for one in racing] == [0, 0], said
    assert len([one for one in machine.leftovers() if "--supervised" in one]) == 1
    again = machine.run("up")
    assert again.returncode == 0
    assert f"already running in {machine.home.path}: {machine.board().url}" in again.stderr


def test_a_taken_port_is_said_and_a_free_one_used(machine: Promoting) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        came_up = machine.run("up", "--detach", THUNDERLINE_WEB__PORT=str(port))
    assert came_up.returncode == 0, came_up.stderr
    assert f"port {port} is taken" in came_up.stderr
    with machine.client() as client:
        assert client.get("/healthz").status_code == 200


def test_an_outside_postgres_is_used_when_its_url_is_given(
    machine: Promoting, postgres: EmbeddedPostgres, empty_database: str
) -> None:
    machine.environment["DATABASE_URL"] = postgres.dsn_of("postgres", empty_database)
    came_up = machine.run("up", "--detach")
    assert came_up.returncode == 0, came_up.stderr
    machine.promote(0)
    assert process.wait_until(partial(machine.holds, range(1)), 30)
    assert not (machine.home.path / "postgres").exists()
    assert machine.run("doctor").returncode == 0
    assert machine.run("down").returncode == 0
    assert postgres.running() is not None


def test_what_cannot_come_up_says_why_and_leaves_nothing(machine: Machine, short_path: Path) -> None:
    old = short_path / "xxxx-old"
    (old / "postgres" / "data").mkdir(parents=True)
    (old / "postgres" / "data" / "PG_VERSION").write_text("17\n")
    came_up = machine.run("up", "--detach", THUNDERLINE_HOME=str(old))
    assert came_up.returncode == 2
    assert "was written by Postgres 17, this release runs 18" in came_up.stderr
    assert [one for one in machine.leftovers() if "xxxx" in one] == []


def test_where_nothing_runs_status_is_1_and_down_is_0(machine: Promoting) -> None:
    status = machine.run("status", "-o", "json")
    assert (status.returncode, json.loads(status.stdout)) == (1, [])
    assert machine.run("doctor").returncode == 1
    assert "nothing to show" not in machine.run("status").stderr
    assert not machine.home.path.exists(), "looking made something"
    down = machine.run("down")
    assert (down.returncode, "nothing was running" in down.stderr) == (0, True)

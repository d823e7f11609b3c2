"""Children start, are told apart, and end."""

import os
import signal
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from thunderline import process
from thunderline.errors import Unavailable

SLEEP = [sys.executable, "-c", "import time; print('here', flush=True); time.sleep(60)"]
STUBBORN = [
    sys.executable,
    "-c",
    "from signal import *; import time; signal(SIGTERM, SIG_IGN); print('here', flush=True); time.sleep(60)",
]


def started(arguments: list[str], log: Path) -> process.Child:
    child = process.start(arguments, log=log)
    assert process.wait_until(lambda: "here" in log.read_text(), 20)
    return child


def test_a_child_runs_until_it_is_stopped(tmp_path: Path) -> None:
    child = started(SLEEP, tmp_path / "log")
    assert child.exit_code() is None
    assert process.is_alive(child.running)
    assert os.getsid(child.pid) == child.pid
    assert child.stop() == -signal.SIGTERM
    assert not process.is_alive(child.running)


def test_a_child_that_will_not_end_is_ended(tmp_path: Path) -> None:
    assert started(STUBBORN, tmp_path / "log").stop(grace_s=0.1) == -signal.SIGKILL


def test_a_stranger_is_ended_by_pid_and_start_time(tmp_path: Path) -> None:
    child = started(STUBBORN, tmp_path / "log")
    assert process.stop(child.running, grace_s=0.1)
    assert child.exit_code() == -signal.SIGKILL


def test_a_pid_used_again_is_never_signalled(tmp_path: Path) -> None:
    child = started(SLEEP, tmp_path / "log")
    recycled = replace(child.running, started=child.running.started + 1)
    assert not process.is_alive(recycled)
    process.send(recycled, signal.SIGKILL)
    assert process.stop(recycled)
    assert child.exit_code() is None
    child.stop()


def test_a_zombie_is_not_alive() -> None:
    with subprocess.Popen([sys.executable, "-c", ""]) as child:
        assert process.wait_until(lambda: process.running(child.pid) is None, 20)
        assert child.returncode is None


def test_memory_and_arguments_are_read_from_the_kernel() -> None:
    resident = process.resident_bytes(os.getpid())
    assert resident is not None
    assert 1e6 < resident < 1e11
    assert process.command_line(os.getpid())
    gone = 2**22 + 1
    assert process.resident_bytes(gone) is None
    assert process.command_line(gone) == []
    assert process.running(gone) is None


def test_a_short_command_says_its_code_and_words() -> None:
    done = process.run(
        [sys.executable, "-c", "import sys; print(sys.stdin.read()); sys.exit(3)"], stdin=b"hello"
    )
    assert (done.code, done.said) == (3, "hello\n")


def test_a_command_that_takes_too_long_is_ended() -> None:
    with pytest.raises(Unavailable, match="did not end within"):
        process.run(SLEEP, timeout_s=0.3)


def test_waiting_gives_up_in_time() -> None:
    assert not process.wait_until(lambda: False, 0.05)
    assert process.wait_until(lambda: True, 0)


def test_a_child_dies_with_its_parent() -> None:
    source = str(Path(process.__file__).parents[1])
    child = (
        f"import os, sys, time; sys.path.insert(0, {source!r}); from thunderline import process; "
        "process.die_with_parent(int(sys.argv[1])); print(os.getpid(), flush=True); time.sleep(60)"
    )
    parent = (
        "import os, subprocess, sys, time; "
        f"subprocess.Popen([sys.executable, '-c', {child!r}, str(os.getpid())], start_new_session=True); "
        "time.sleep(60)"
    )
    with subprocess.Popen([sys.executable, "-c", parent], stdout=subprocess.PIPE) as started_parent:
        assert started_parent.stdout is not None
        grandchild = process.running(int(started_parent.stdout.readline()))
        assert grandchild is not None
        started_parent.kill()
        assert process.wait_until(lambda: not process.is_alive(grandchild), 10)


def test_a_child_whose_parent_is_gone_already_ends_itself() -> None:
    code = "import time; from thunderline import process; process.die_with_parent(1 << 30); time.sleep(60)"
    source = str(Path(process.__file__).parents[1])
    done = subprocess.run(
        [sys.executable, "-c", code], env={**os.environ, "PYTHONPATH": source}, timeout=20, check=False
    )
    assert done.returncode == -signal.SIGTERM

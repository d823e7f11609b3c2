"""``thunderline demo``, as a newcomer runs it."""

import json
import os
import subprocess
import sys
from pathlib import Path

import psutil
import pytest

from thunderline import process

pytestmark = [pytest.mark.slow, pytest.mark.timeout(240)]
SOURCE = str(Path(process.__file__).parents[1])


def run_demo(folder: Path, *, before: str = "", **more: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        ["/bin/bash", "-c", f'{before} exec "$0" -m thunderline.cli.main demo', sys.executable],
        cwd=folder,
        env={"PATH": os.environ["PATH"], "HOME": str(folder), "PYTHONPATH": SOURCE, **more},
        capture_output=True,
        text=True,
        timeout=200,
        check=False,
    )


def left_running(folder: Path) -> list[str]:
    """Processes whose command line or home lies below a folder."""
    found = []
    for one in psutil.process_iter(["cmdline"]):
        words = one.info["cmdline"] or []
        if any(str(folder) in word for word in words):
            found.append(" ".join(words))
    return found


def test_every_step_holds_and_the_report_says_so(tmp_path: Path) -> None:
    scratch = tmp_path / "t"
    scratch.mkdir(mode=0o711)
    elsewhere = {
        "DATABASE_URL": "postgresql://nowhere.invalid/x",
        "MINIO_ENDPOINT": "http://nowhere.invalid",
        "THUNDERLINE_URL": "http://nowhere.invalid",
    }  # another platform that this shell points at must not be touched
    done = run_demo(tmp_path, TMPDIR=str(scratch), **elsewhere)
    assert done.returncode == 0, done.stderr
    facts = json.loads((tmp_path / "demo-report.json").read_text())
    assert facts["ok"] is True
    assert facts["problem"] == ""
    assert len(facts["accuracy_by_round"]) == 8
    assert facts["accuracy_by_round"][-1] > 0.9
    assert facts["accuracy_by_round"][-1] > facts["accuracy_by_round"][0]
    assert facts["consumers"] == ["events", "polling"]
    assert {name: len(spent) for name, spent in facts["adoption_ms"].items()} == {"events": 2, "polling": 2}
    assert [one["code"] for one in facts["refusals"]] == ["CHECKSUM_MISMATCH", "GATE_REFUSED"]
    assert facts["rollbacks"] == 1
    assert facts["requests_failed"] == 0
    assert facts["requests_served"] > 100
    assert (facts["history_rows"], facts["chain_sound"]) == (4, True)
    assert "requests failed" in done.stdout
    assert list(scratch.iterdir()) == []
    assert left_running(scratch) == []


def test_a_step_that_does_not_hold_is_said_and_exits_with_an_error(tmp_path: Path) -> None:
    scratch = tmp_path / "t"
    scratch.mkdir(mode=0o711)
    done = run_demo(tmp_path, before="ulimit -f 512;", TMPDIR=str(scratch))  # no room for a database
    assert done.returncode == 1
    assert "this step did not hold" in done.stderr
    assert "Traceback" not in done.stderr
    facts = json.loads((tmp_path / "demo-report.json").read_text())
    assert facts["ok"] is False
    assert facts["problem"]
    assert list(scratch.iterdir()) == []
    assert left_running(tmp_path) == []

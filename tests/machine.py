"""One home, and the commands that a person gives there."""

import os
import subprocess
import sys
from pathlib import Path

import httpx

from thunderline import process
from thunderline.cli.home import Board, Home
from thunderline.process import Running

SOURCE = str(Path(process.__file__).parents[1])


class Machine:
    """A platform of its own below a directory."""

    def __init__(self, path: Path) -> None:
        self.home = Home(path)
        kept = {name: os.environ[name] for name in ("PATH", "HOME") if name in os.environ}
        self.environment = {
            **kept,
            "PYTHONPATH": SOURCE,
            "THUNDERLINE_HOME": str(path),
            "THUNDERLINE_WEB__PORT": "0",
        }

    def start(self, *arguments: str, **more: str) -> subprocess.Popen[str]:
        return subprocess.Popen(
            [sys.executable, "-m", "thunderline.cli.main", *arguments],
            env={**self.environment, **more},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def run(self, *arguments: str, **more: str) -> subprocess.CompletedProcess[str]:
        started = self.start(*arguments, **more)
        out, err = started.communicate(timeout=200)
        return subprocess.CompletedProcess(arguments, started.returncode, out, err)

    def board(self) -> Board:
        found = self.home.board()
        assert found is not None
        return found

    def part(self, name: str) -> Running:
        (found,) = [one.running for one in self.board().parts if one.name == name]
        assert found is not None
        return found

    def client(self) -> httpx.Client:
        key = self.home.key_file.read_text().strip()
        return httpx.Client(
            base_url=self.board().url, headers={"X-API-Key": key}, timeout=30, trust_env=False
        )

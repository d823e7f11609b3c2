"""A real platform in a scratch home, and a client that costs little."""

import http.client
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

from benchmarks.cost import Spent, run_command
from thunderline.canonical import Json
from thunderline.document import parse_json

OK = range(200, 400)


class Caller:
    """One kept-alive connection to the API."""

    def __init__(self, url: str, key: str) -> None:
        """Prepare; the first call connects."""
        parts = urlsplit(url)
        self.connection = http.client.HTTPConnection(parts.hostname or "", parts.port, timeout=300)
        self.headers = {"X-API-Key": key}

    def call(
        self, method: str, path: str, body: object = None, headers: Mapping[str, str] | None = None
    ) -> bytes:
        """Call and return the body of the answer.

        Args:
            method: of HTTP.
            path: with its query.
            body: bytes as they are, anything else as JSON, None for no body.
            headers: beside the key.

        Raises:
            RuntimeError: the answer is an error.
        """
        content = body if isinstance(body, bytes) or body is None else json.dumps(body).encode()
        self.connection.request(method, path, content, {**self.headers, **(headers or {})})
        answer = self.connection.getresponse()
        said = answer.read()
        if answer.status not in OK:
            raise RuntimeError(f"{method} {path}: {answer.status} {said[:300]!r}")
        return said

    def document(self, method: str, path: str, body: object = None) -> Mapping[str, Json]:
        """Call and return the JSON object of the answer."""
        found = parse_json(self.call(method, path, body), field=path)
        if not isinstance(found, Mapping):
            raise TypeError(f"{method} {path} gave no object")
        return found

    def timed(
        self, method: str, path: str, body: object = None, headers: Mapping[str, str] | None = None
    ) -> float:
        """Call and return how many milliseconds the answer took."""
        started = time.perf_counter()
        self.call(method, path, body, headers)
        return (time.perf_counter() - started) * 1000

    def close(self) -> None:
        """End the connection."""
        self.connection.close()


@dataclass(frozen=True, slots=True)
class Platform:
    """A home of its own; nothing runs until ``up``."""

    home: Path

    @property
    def environment(self) -> dict[str, str]:
        """What its commands see: nothing of the caller's settings."""
        kept = {name: os.environ[name] for name in ("PATH", "HOME", "TMPDIR") if name in os.environ}
        return {**kept, "THUNDERLINE_HOME": str(self.home)}

    def command(self, *arguments: str) -> Spent:
        """Run ``thunderline ...`` and return what the command itself took."""
        return run_command([*_PROGRAM, *arguments], environment=self.environment)

    def up(self) -> Spent:
        """Start it, return once it answers."""
        return self.command("up", "--detach", "--port", "0")

    def down(self) -> Spent:
        """Stop it."""
        return self.command("down")

    def pids(self) -> dict[str, int]:
        """Return the process of each part, by name, as ``status`` tells them."""
        return {str(one["part"]): int(str(one["pid"])) for one in self._status() if one["pid"] is not None}

    def caller(self) -> Caller:
        """Return a client with the administrator's key."""
        (url,) = [str(one["where"]) for one in self._status() if one["part"] == "api"]
        return Caller(url, (self.home / "admin.key").read_text(encoding="ascii").strip())

    def _status(self) -> list[Mapping[str, Json]]:
        said = subprocess.run(
            [*_PROGRAM, "status", "--output", "json"],
            check=True,
            env=self.environment,
            stdout=subprocess.PIPE,
        ).stdout
        found = parse_json(said, field="status")
        if not isinstance(found, list):
            raise TypeError("status gave no list")
        return [one for one in found if isinstance(one, Mapping)]


_PROGRAM = (sys.executable, "-m", "thunderline.cli.main")


@contextmanager
def scratch_home() -> Iterator[Platform]:
    """Make a home and remove it with all that runs there."""
    folder = Path(tempfile.mkdtemp(prefix="tl"))
    folder.chmod(0o711)  # Postgres may run as another user
    made = Platform(folder / "h")
    try:
        yield made
    finally:
        made.down()
        shutil.rmtree(folder, ignore_errors=True)


@contextmanager
def running_platform() -> Iterator[Platform]:
    """Start a platform in a scratch home and stop it afterwards."""
    with scratch_home() as made:
        made.up()
        yield made


def make_artifacts(caller: Caller, model: str, contents: list[bytes]) -> list[Mapping[str, Json]]:
    """Register a model without gates and one artifact for each content; return the artifacts as described."""
    caller.call("POST", "/api/models", {"name": model, "gates": {"ungated": True}})
    made = []
    for number, content in enumerate(contents):
        file_id = caller.document("POST", "/files", content)["file_id"]
        body = {"file_id": file_id, "name": f"{number}.bin", "model": model, "kind": "checkpoint"}
        made.append(caller.document("POST", "/api/artifacts", body))
    return made

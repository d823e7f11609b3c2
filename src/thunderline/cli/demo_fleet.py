"""The demo's consumers: processes that serve under load, and what they say."""

import json
import os
import subprocess
import sys
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from threading import Condition, Thread
from types import TracebackType
from typing import IO, Self

from thunderline.cli.output import say
from thunderline.errors import Unavailable

_PATIENCE_S = 30.0
_SETTLE_S = 1.0


@dataclass(frozen=True, slots=True)
class Swap:
    """A consumer took a model into service."""

    seq: int
    sha256: str
    at: float  # seconds since the epoch


@dataclass(frozen=True, slots=True)
class Counts:
    """Requests of one consumer."""

    served: int
    failed: int
    problem: str


class Fleet:
    """Two consumers of one reference, one for each way of watching."""

    names = ("events", "polling")

    def __init__(self, url: str, home: Path, reference: str, images: Path) -> None:
        self._url, self._home, self._reference, self._images = url, home, reference, images
        self._changed = Condition()
        self._swaps: dict[tuple[str, int], Swap] = {}
        self._counts = {name: Counts(0, 0, "") for name in self.names}
        self._children: dict[str, subprocess.Popen[str]] = {}
        self._readers: list[Thread] = []

    def __enter__(self) -> Self:
        """Start both."""
        for name in self.names:
            command = [
                sys.executable, "-m", "thunderline.cli.demo_consumer",
                self._url, str(self._home / "admin.key"), self._reference, name,
                str(self._images), str(self._home / f"cache-{name}"),
            ]  # fmt: skip
            with (self._home / "logs" / f"consumer-{name}.log").open("wb") as log:
                child = subprocess.Popen(
                    command,
                    stdout=subprocess.PIPE,
                    stderr=log,
                    text=True,
                    env={**os.environ, "OPENBLAS_NUM_THREADS": "1"},
                )
            self._children[name] = child
            if child.stdout is not None:
                reader = Thread(target=self._read, args=(name, child.stdout), daemon=True)
                reader.start()
                self._readers.append(reader)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Stop both and wait for their last words."""
        self.stop()

    def stop(self) -> None:
        """End the consumers; safe to repeat."""
        for child in self._children.values():
            if child.poll() is None:
                child.terminate()
        for child in self._children.values():
            try:
                child.wait(timeout=10)
            except subprocess.TimeoutExpired:
                child.kill()
                child.wait()
        for reader in self._readers:
            reader.join(timeout=10)

    def _read(self, name: str, lines: IO[str]) -> None:
        with lines:
            for line in lines:
                told = json.loads(line)
                with self._changed:
                    if told["event"] == "swapped":
                        self._swaps[name, told["seq"]] = Swap(told["seq"], told["sha256"], told["at"])
                    else:
                        self._counts[name] = Counts(told["served"], told["failed"], told["problem"])
                    self._changed.notify_all()

    def wait_for(self, seq: int) -> Mapping[str, Swap]:
        """Wait until both serve what the reference has held since ``seq``.

        Raises:
            Unavailable: one of them did not within 30 s, or ended.
        """
        with self._changed:
            came = self._changed.wait_for(
                lambda: all((name, seq) in self._swaps for name in self.names), timeout=_PATIENCE_S
            )
            if not came:
                late = [name for name in self.names if (name, seq) not in self._swaps]
                raise Unavailable(
                    "consumers", f"{', '.join(late)} did not take seq {seq} within {_PATIENCE_S:g} s"
                )
            return {name: self._swaps[name, seq] for name in self.names}

    def settle(self) -> None:
        """Let the load go on for a moment, then stop, so that the last counts are in."""
        time.sleep(_SETTLE_S)
        self.stop()
        say("   consumers stopped")

    def counts(self) -> Mapping[str, Counts]:
        """Return the requests so far."""
        with self._changed:
            return dict(self._counts)

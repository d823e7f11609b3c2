"""The platform's directory: what lies where, who supervises, and the board that says what runs."""

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

from pydantic import ConfigDict, TypeAdapter, ValidationError, with_config

from thunderline.db.embedded import EmbeddedPostgres
from thunderline.errors import Conflict
from thunderline.process import Running, is_alive
from thunderline.settings import Settings

_STRICT = ConfigDict(extra="forbid")
WITHOUT_PROCESS = ("external", "directory")  # states of a part that is not our child


@with_config(_STRICT)
@dataclass(frozen=True, slots=True)
class Part:
    """One part of the platform, as the board shows it."""

    name: str
    state: str  # starting, up, restarting; external, directory
    where: str
    running: Running | None = None
    restarts: int = 0
    since: str = ""  # RFC 3339

    @property
    def is_up(self) -> bool:
        """Tell whether the part runs now; what has no process here is believed."""
        if self.state in WITHOUT_PROCESS:
            return True
        return self.state == "up" and self.running is not None and is_alive(self.running)


@with_config(_STRICT)
@dataclass(frozen=True, slots=True)
class Board:
    """What runs where; ``platform.json`` holds it."""

    state: str  # starting, up, stopping
    url: str
    version: str
    started_at: str
    supervisor: Running
    parts: tuple[Part, ...] = ()

    @property
    def is_up(self) -> bool:
        """Tell whether the supervisor runs and was ready."""
        return self.state == "up" and is_alive(self.supervisor)

    def with_part(self, part: Part) -> "Board":
        """Return the board with one part changed or added."""
        others = {one.name: one for one in self.parts} | {part.name: part}
        return replace(self, parts=tuple(others.values()))


_BOARD = TypeAdapter(Board)


@dataclass(frozen=True, slots=True)
class Home:
    """The directory below which every file of the platform lies."""

    path: Path

    @property
    def logs(self) -> Path:
        """What each part says."""
        return self.path / "logs"

    @property
    def key_file(self) -> Path:
        """The administrator's API key, readable by its owner only."""
        return self.path / "admin.key"

    @property
    def board_file(self) -> Path:
        """What runs where."""
        return self.path / "platform.json"

    def make(self) -> None:
        """Make the directory; others may pass through it (Postgres, as ``nobody``), not list it."""
        self.path.mkdir(parents=True, exist_ok=True, mode=0o711)
        if os.geteuid() == 0:
            self.path.chmod(self.path.stat().st_mode & 0o777 | 0o011)
        self.logs.mkdir(exist_ok=True, mode=0o700)

    def postgres(self) -> EmbeddedPostgres:
        """Return the embedded server, running or not."""
        return EmbeddedPostgres(self.path / "postgres", log=self.logs / "postgres.log")

    def board(self) -> Board | None:
        """Return what was last written; None when nothing was, or when it is damaged."""
        try:
            return _BOARD.validate_json(self.board_file.read_bytes())
        except (OSError, ValidationError):
            return None

    def write_board(self, board: Board) -> None:
        """Replace the board; readers see the old one or the new one."""
        self.write_private(self.board_file, _BOARD.dump_json(board, indent=1))

    def write_private(self, file: Path, content: bytes) -> None:
        """Write a file only its owner may read, whole or not at all."""
        new = file.with_name(f"{file.name}.new")
        new.unlink(missing_ok=True)
        descriptor = os.open(new, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(descriptor, "wb") as opened:
            opened.write(content)
            opened.flush()
            os.fsync(opened.fileno())
        new.replace(file)

    @contextmanager
    def only_supervisor(self) -> Iterator[None]:
        """Be the one supervisor of this home for as long as the context lasts.

        Raises:
            Conflict: there is one already.
        """
        with (self.path / "supervisor.lock").open("a") as file:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError as error:
                raise Conflict(f"the platform in {self.path} is running already") from error
            yield

    def is_supervised(self) -> bool:
        """Tell whether a supervisor lives."""
        try:
            with (self.path / "supervisor.lock").open("r") as file:
                fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
        except FileNotFoundError:
            return False
        return False


def home_of(settings: Settings) -> Home:
    """Return the directory that the settings name, absolute."""
    return Home(settings.platform.home.expanduser().resolve())


def dsn_of(settings: Settings) -> str:
    """Return how to reach Postgres: the given URL, or the embedded server's socket."""
    if settings.db.url is not None:
        return settings.db.url.get_secret_value()
    return home_of(settings).postgres().dsn

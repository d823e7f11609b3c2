"""The supervisor: starts every part in order, starts again what dies, stops all."""

import http.client
import os
import socket
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from importlib.metadata import version
from threading import Event as Stop
from urllib.parse import urlsplit

from thunderline import process
from thunderline.canonical import sha256_hex
from thunderline.cli.home import Board, Home, Part, dsn_of, home_of
from thunderline.clock import SystemClock, to_wire
from thunderline.db.embedded import EmbeddedPostgres
from thunderline.db.migrate import migrate
from thunderline.db.pool import Database
from thunderline.errors import Unavailable
from thunderline.identity.api_key import IssuedKey, issue, key_id_of
from thunderline.identity.principal import SCOPES
from thunderline.identity.records import add_key, ensure_tenant, key_by_id
from thunderline.settings import Settings
from thunderline.telemetry import EventLog

CHILDREN = ("relay", "driver", "api")
_LOG = EventLog("cli.supervisor")
_LONG_LIFE_S = 30.0  # a child that lived so long starts again at once
_LONGEST_WAIT_S = 10.0


@dataclass(slots=True)
class _Watched:
    """A child and its misfortunes."""

    child: process.Child | None = None
    started: float = 0.0
    failures: int = 0
    restarts: int = 0
    not_before: float = 0.0


class Supervisor:
    """Runs the platform of one home until told to stop."""

    def __init__(self, settings: Settings, on_change: Callable[[Board], None]) -> None:
        """Prepare; nothing starts yet.

        Args:
            settings: as read.
            on_change: told each new board, from the thread that runs.
        """
        self._settings, self._home, self._on_change = settings, home_of(settings), on_change
        self._postgres: EmbeddedPostgres | None = None if settings.db.url else self._home.postgres()
        self._postgres_restarts = 0
        self._watched = {name: _Watched() for name in CHILDREN}
        self._is_ready = False
        self._ports_before: list[int] = []
        self._socket: socket.socket | None = None
        self._board = Board(
            state="starting",
            url="",
            version=version("thunderline"),
            started_at=_now(),
            supervisor=process.running(os.getpid()) or process.Running(os.getpid(), 0),
        )

    def run(self, stop: Stop) -> None:
        """Start everything, keep it running, and leave nothing running.

        Args:
            stop: set it to end.

        Raises:
            Conflict: this home has a supervisor.
            Unavailable: a part does not come up.
        """
        self._home.make()
        with self._home.only_supervisor():
            self._ports_before = end_orphans(self._home)
            try:
                self._begin()
                while not stop.wait(0.2):
                    self._look_after()
            finally:
                self._end()

    def _begin(self) -> None:
        self._tell(self._board)
        self._open_socket()
        self._start_postgres()
        migrate(self._postgres.admin_dsn if self._postgres else dsn_of(self._settings))
        ensure_admin(self._home, dsn_of(self._settings), self._settings.platform.tenant)
        self._tell(self._board.with_part(self._store()))
        for name in CHILDREN:
            self._start_child(name)

    def _tell(self, board: Board) -> None:
        self._board = board
        self._home.write_board(board)
        self._on_change(board)

    def _open_socket(self) -> None:
        """Listen here and hand the socket down: the port stays ours while the API starts again."""
        web = self._settings.web
        self._socket = _first_free(web.host, [*self._ports_before, web.port, 0])
        port = self._socket.getsockname()[1]
        if port != web.port:
            _LOG.warning("port_taken", wanted=web.port, used=port)
        host = "127.0.0.1" if web.host in ("0.0.0.0", "::", "") else web.host  # noqa: S104  # a comparison
        self._tell(replace(self._board, url=f"http://{host}:{port}"))

    def _start_postgres(self) -> None:
        if self._postgres is None:
            self._tell(self._board.with_part(Part("postgres", "external", "DATABASE_URL")))
            return
        self._postgres.start()
        self._tell(
            self._board.with_part(
                Part(
                    "postgres",
                    "up",
                    str(self._postgres.home),
                    self._postgres.running(),
                    self._postgres_restarts,
                    _now(),
                )
            )
        )

    def _store(self) -> Part:
        store = self._settings.store
        place = store.url or store.endpoint
        if place:
            return Part("store", "external", place)
        return Part("store", "directory", str(self._home.path / "objects" / store.bucket))

    def _start_child(self, name: str) -> None:
        watched = self._watched[name]
        arguments = [
            sys.executable,
            "-m",
            "thunderline.cli.main",
            "serve",
            name,
            "--parent",
            str(os.getpid()),
        ]
        descriptors: list[int] = []
        if name == "api" and self._socket:
            descriptors = [self._socket.fileno()]
            arguments += ["--fd", str(descriptors[0])]
        environment = {**os.environ, "THUNDERLINE_HOME": str(self._home.path)}
        log = self._home.logs / f"{name}.log"
        watched.child = process.start(arguments, log=log, environment=environment, open_files=descriptors)
        watched.started = time.monotonic()
        where = self._board.url if name == "api" else str(log)
        state = "starting" if name == "api" else "up"
        self._tell(
            self._board.with_part(Part(name, state, where, watched.child.running, watched.restarts, _now()))
        )

    def _look_after(self) -> None:
        try:
            if self._postgres and self._postgres.running() is None:
                _LOG.warning("part_died", part="postgres")
                self._postgres_restarts += 1
                self._start_postgres()
        except Unavailable as error:
            _LOG.error("part_does_not_start", part="postgres", problem=str(error))
        for name, watched in self._watched.items():
            self._look_after_child(name, watched)
        self._see_whether_ready()
        self._keep_board()

    def _keep_board(self) -> None:
        """Write the board again when somebody removed or damaged it: without it nobody could stop us."""
        if self._home.board() is not None:
            return
        try:
            self._home.write_board(self._board)
            _LOG.warning("board_restored", file=str(self._home.board_file))
        except OSError as error:
            _LOG.error("board_not_restored", problem=str(error))

    def _look_after_child(self, name: str, watched: _Watched) -> None:
        now = time.monotonic()
        if watched.child is not None:
            code = watched.child.exit_code()
            if code is None:
                return
            watched.failures = 0 if now - watched.started > _LONG_LIFE_S else watched.failures + 1
            pause = min(_LONGEST_WAIT_S, 0.1 * 2**watched.failures) if watched.failures else 0.0
            watched.child, watched.not_before = None, now + pause
            watched.restarts += 1
            _LOG.warning("part_died", part=name, exit_code=code, next_start_s=pause)
            self._tell(
                self._board.with_part(
                    Part(
                        name,
                        "restarting",
                        str(self._home.logs / f"{name}.log"),
                        None,
                        watched.restarts,
                        _now(),
                    )
                )
            )
        if now >= watched.not_before:
            self._start_child(name)

    def _see_whether_ready(self) -> None:
        part = next((one for one in self._board.parts if one.name == "api"), None)
        if part is None or part.state != "starting" or not answers(self._board.url, 0.5):
            return
        board = self._board.with_part(replace(part, state="up"))
        self._tell(replace(board, state="up"))
        if not self._is_ready:
            self._is_ready = True
            _LOG.info("platform_ready", url=self._board.url)

    def _end(self) -> None:
        self._tell(replace(self._board, state="stopping"))
        if self._socket:
            self._socket.close()
        children = [one.child for one in self._watched.values() if one.child]
        for child in children:
            child.ask_to_end()
        for child in children:
            child.end()
        if self._postgres:
            self._postgres.stop()
        self._home.board_file.unlink(missing_ok=True)
        self._on_change(replace(self._board, state="stopped", parts=()))
        _LOG.info("platform_stopped")


def end_orphans(home: Home) -> list[int]:
    """End what a killed supervisor left running, Postgres excepted: it may be attached to.

    Returns:
        The port on which its API was, to be kept; empty when nothing was left.
    """
    board = home.board()
    if board is None:
        return []
    for part in board.parts:
        if part.running and part.name in CHILDREN:
            process.stop(part.running)
    port = urlsplit(board.url).port
    return [port] if port else []


def ensure_admin(home: Home, dsn: str, tenant: str) -> None:
    """Make the home tenant and its administrator's key exist; the key lies in ``admin.key``, mode 0600."""
    try:
        text = home.key_file.read_text(encoding="ascii").strip()
    except OSError:
        text = ""
    known = key_id_of(text)
    key = IssuedKey(known, text, sha256_hex(text.encode())) if known else issue()
    database = Database(dsn, system_connections=1)
    try:
        with database.system() as connection:
            ensure_tenant(connection, tenant)
            if key_by_id(connection, key.key_id) is None:
                add_key(connection, key, tenant=tenant, owner="admin", scopes=SCOPES)
    finally:
        database.close()
    if not known:
        home.write_private(home.key_file, f"{key.text}\n".encode())


def answers(url: str, timeout_s: float = 5.0) -> bool:
    """Tell whether the API says that it is ready."""
    parts = urlsplit(url)
    connection = http.client.HTTPConnection(parts.hostname or "", parts.port, timeout=timeout_s)
    try:
        connection.request("GET", "/readyz")
        return connection.getresponse().status == http.client.OK
    except (OSError, http.client.HTTPException):
        return False
    finally:
        connection.close()


def _first_free(host: str, ports: list[int]) -> socket.socket:
    for port in ports:
        try:
            return socket.create_server((host, port), backlog=1024)
        except OSError:
            continue
    raise Unavailable(
        "api", f"cannot listen on {host}; set THUNDERLINE_WEB__HOST to an address of this machine"
    )


def _now() -> str:
    return to_wire(SystemClock().now())

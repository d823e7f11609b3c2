"""``up``, ``down``, ``status``, ``config show``: the platform on this machine."""

import os
import signal
import sys
import time
from collections.abc import Callable
from threading import Event as Stop
from types import FrameType
from typing import Annotated, TextIO

import typer

from thunderline import process
from thunderline.canonical import Json
from thunderline.cli.home import Board, Home, home_of
from thunderline.cli.output import Output, OutputOption, emit, say
from thunderline.errors import Conflict, Unavailable
from thunderline.settings import Settings, load_settings, show
from thunderline.telemetry import write_json_logs

_READY_S = 180.0
_GONE_S = 60.0
_STARTING_S = 10.0

config = typer.Typer(
    no_args_is_help=True,
    rich_markup_mode=None,
    help="Show every setting and where its value comes from.\n\nExample: thunderline config show",
)


def up(
    *,
    detach: Annotated[bool, typer.Option("--detach", "-d", help="Return once everything answers.")] = False,
    port: Annotated[int | None, typer.Option(help="Port of the API; a free one if taken.")] = None,
    supervised: Annotated[
        bool, typer.Option("--supervised", hidden=True, help="No board, JSON logs.")
    ] = False,
) -> None:
    """Start the platform on this machine: Postgres, object store, API, relay, federation driver.

    Example: thunderline up --detach
    """
    settings = load_settings(flags={"web.port": str(port)} if port is not None else {}).settings
    home = home_of(settings)
    process.wait_until(lambda: not _is_stopping(home), _GONE_S)
    if home.is_supervised() and not supervised:
        board = _wait_until_ready(home, None)
        say(f"already running in {home.path}: {board.url} (pid {board.supervisor.pid})")
    elif detach:
        _start_detached(settings, home)
    elif supervised:
        _supervise(settings, lambda _: None, sys.stderr)
    else:
        home.make()
        with (home.logs / "supervisor.log").open("a", encoding="utf-8") as log:
            if sys.stderr.isatty():
                _supervise_live(settings, log)
            else:
                _supervise(settings, _Teller(), log)


def down() -> None:
    """Stop the platform on this machine, also what a killed supervisor left running.

    Example: thunderline down
    """
    home = home_of(load_settings().settings)
    process.wait_until(lambda: not home.is_supervised() or _has_live_board(home), _STARTING_S)
    board = home.board()
    if board is not None and process.is_alive(board.supervisor):
        process.stop(board.supervisor, _GONE_S)
    if home.is_supervised():
        raise Conflict(f"somebody is starting the platform in {home.path}; try again in a second")
    if _sweep(home) or board is not None:
        say("stopped")
    else:
        say(f"nothing was running in {home.path}")


def status(output: OutputOption = Output.TABLE) -> None:
    """Show what runs where; exit 0 when all of it is up, else 1.

    Example: thunderline status --output json
    """
    home = home_of(load_settings().settings)
    board = home.board()
    if board is None:
        say(f"not running in {home.path}; start it: thunderline up --detach")
        if output is not Output.TABLE:
            emit([], output)
        raise typer.Exit(1)
    rows = rows_of(board)
    emit(rows, output)
    if not all(row["is_up"] for row in rows):
        say("not everything is up; see: thunderline doctor")
        raise typer.Exit(1)


@config.command("show")
def config_show(output: OutputOption = Output.TABLE) -> None:
    """Print each setting, its value and where it came from; secrets as stars.

    Example: thunderline config show --output yaml
    """
    emit(show(load_settings()), output)


def rows_of(board: Board) -> list[dict[str, Json]]:
    """Return the board as rows: the supervisor first, then each part."""
    rows: list[dict[str, Json]] = []
    supervisor = ("supervisor", board.is_up, board.state, board.supervisor, 0, board.url, board.started_at)
    parts = [
        (one.name, one.is_up, one.state, one.running, one.restarts, one.where, one.since)
        for one in board.parts
    ]
    for name, is_up, state, running, restarts, where, since in (supervisor, *parts):
        is_gone = running is not None and not process.is_alive(running)
        resident = process.resident_bytes(running.pid) if running and not is_gone else None
        rows.append(
            {
                "part": name,
                "is_up": is_up,
                "state": "gone" if is_gone else state,
                "pid": running.pid if running and not is_gone else None,
                "memory_mb": round(resident / 1e6, 1) if resident else None,
                "restarts": restarts,
                "since": since[:19],
                "where": where,
            }
        )
    return rows


def _is_stopping(home: Home) -> bool:
    board = home.board()
    return board is not None and board.state == "stopping" and home.is_supervised()


def _has_live_board(home: Home) -> bool:
    board = home.board()
    return board is not None and process.is_alive(board.supervisor)


def _sweep(home: Home) -> bool:
    from thunderline.cli.supervisor import end_orphans

    end_orphans(home)
    postgres = home.postgres()
    was_running = postgres.running() is not None
    postgres.stop()
    home.board_file.unlink(missing_ok=True)
    return was_running


def _start_detached(settings: Settings, home: Home) -> None:
    home.make()
    log = home.logs / "supervisor.log"
    mark = log.stat().st_size if log.exists() else 0
    environment = {
        **os.environ,
        "THUNDERLINE_HOME": str(home.path),
        "THUNDERLINE_WEB__PORT": str(settings.web.port),
    }
    child = process.start(
        [sys.executable, "-m", "thunderline.cli.main", "up", "--supervised"], log=log, environment=environment
    )
    try:
        board = _wait_until_ready(home, child)
    except Unavailable:
        said = log.read_bytes()[mark:].decode(errors="replace").strip().splitlines()
        problem = next((one for one in said if one.startswith("error: ")), said[-1] if said else "")
        say(f"the platform did not come up; {log} says:\n{problem}")
        raise typer.Exit(child.exit_code() or Unavailable.exit) from None
    _describe(home, board, settings)


def _wait_until_ready(home: Home, child: process.Child | None) -> Board:
    """Wait for whichever supervisor has the home; a racing one may have been faster than ours."""
    end = time.monotonic() + _READY_S
    while time.monotonic() < end:
        board = home.board()
        if board is not None and board.is_up:
            return board
        is_ours_gone = child is None or child.exit_code() is not None
        if is_ours_gone and not home.is_supervised():
            break
        time.sleep(0.05)
    raise Unavailable(
        "platform", f"not ready; read {home.logs / 'supervisor.log'} or run: thunderline doctor"
    )


def _describe(home: Home, board: Board, settings: Settings) -> None:
    port = board.url.rpartition(":")[2]
    if settings.web.port not in (0, int(port)):
        say(f"port {settings.web.port} is taken, so the API listens on {port}")
    say(f"up: {board.url}\nkey: {home.key_file}\nlogs: {home.logs}\nstop it: thunderline down")


def _supervise(settings: Settings, on_change: Callable[[Board], None], log: TextIO) -> None:
    from thunderline.cli.supervisor import Supervisor

    write_json_logs("supervisor", log)
    stop = Stop()

    def tell(number: int, frame: FrameType | None) -> None:
        del number, frame
        stop.set()

    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        signal.signal(number, tell)
    Supervisor(settings, on_change).run(stop)


class _Teller:
    """Writes a line for each change, where there is no terminal to draw on."""

    def __init__(self) -> None:
        self._told: set[tuple[str, str, str]] = set()

    def __call__(self, board: Board) -> None:
        """Say what is new on the board."""
        if board.state == "up" and ("platform", "up", board.url) not in self._told:
            self._told.add(("platform", "up", board.url))
            say(f"platform up at {board.url}")
        for part in board.parts:
            line = (part.name, part.state, f"{part.since} {part.where}")
            if line not in self._told:
                self._told.add(line)
                say(f"{part.name} {part.state} {part.where}")


def _supervise_live(settings: Settings, log: TextIO) -> None:
    from rich.console import Console
    from rich.live import Live

    from thunderline.cli.live_board import drawn

    def draw(board: Board) -> None:
        live.update(drawn(rows_of(board), board, home_of(settings)), refresh=True)

    with Live(console=Console(stderr=True), auto_refresh=False) as live:
        _supervise(settings, draw, log)

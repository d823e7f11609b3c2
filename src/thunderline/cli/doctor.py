"""``doctor``: look at everything, and say what to do about what is wrong."""

import os
import shutil
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta

import typer

from thunderline.canonical import Json
from thunderline.cli.home import Home, dsn_of, home_of
from thunderline.cli.output import Output, OutputOption, emit, say
from thunderline.clock import SystemClock
from thunderline.db.pool import Connected, Database
from thunderline.errors import ThunderlineError, Unavailable
from thunderline.settings import Settings, load_settings

_OLDEST = (3, 11)
_LATE = timedelta(seconds=10)  # an event that waits longer is held up


@dataclass(frozen=True, slots=True)
class Finding:
    """What one check came to."""

    is_ok: bool
    found: str
    next_step: str = ""


def doctor(output: OutputOption = Output.TABLE) -> None:
    """Check this machine and the platform on it; exit 0 when all is well, else 1.

    Example: thunderline doctor
    """
    settings = load_settings().settings
    rows: list[dict[str, Json]] = []
    for name, check in _CHECKS.items():
        finding = _tried(check, settings)
        ok = "ok" if finding.is_ok else "bad"
        rows.append({"check": name, "is": ok, "found": finding.found, "next_step": finding.next_step})
    emit(rows, output)
    bad = [str(row["check"]) for row in rows if row["is"] == "bad"]
    if bad:
        say(f"not well: {', '.join(bad)}")
        raise typer.Exit(1)


def _tried(check: Callable[[Settings], Finding], settings: Settings) -> Finding:
    try:
        return check(settings)
    except (ThunderlineError, OSError) as error:
        return Finding(is_ok=False, found=str(error), next_step="thunderline up --detach, then look again")


def _python(settings: Settings) -> Finding:
    del settings
    found = ".".join(map(str, sys.version_info[:3]))
    return Finding(sys.version_info >= _OLDEST, found, "" if sys.version_info >= _OLDEST else "install 3.11")


def _home(settings: Settings) -> Finding:
    home = home_of(settings)
    if not home.path.is_dir():
        return Finding(is_ok=False, found=f"{home.path} is not there", next_step="thunderline up --detach")
    free, keep = shutil.disk_usage(home.path).free, settings.store.keep_free_bytes
    found = f"{home.path}, {free / 1e9:.1f} GB free"
    if not os.access(home.path, os.W_OK):
        return Finding(is_ok=False, found=f"{found}, not writable", next_step="run as the user who owns it")
    step = "" if free > keep else f"make room: uploads need more than {keep} bytes free"
    return Finding(free > keep, found, step)


def _supervisor(settings: Settings) -> Finding:
    home = home_of(settings)
    board = home.board()
    if board is None or not board.is_up:
        return Finding(is_ok=False, found="not running", next_step="thunderline up --detach")
    return Finding(is_ok=True, found=f"pid {board.supervisor.pid} since {board.started_at[:19]}")


@contextmanager
def _connection(settings: Settings) -> Iterator[Connected]:
    if settings.db.url is None and home_of(settings).postgres().running() is None:
        raise Unavailable("postgres", "the embedded server does not run")
    database = Database(dsn_of(settings), system_connections=1)
    try:
        with database.system() as connection:
            yield connection
    finally:
        database.close()


def _postgres(settings: Settings) -> Finding:
    with _connection(settings) as connection:
        number = connection.info.server_version
    where = "DATABASE_URL" if settings.db.url else f"embedded in {home_of(settings).postgres().home}"
    return Finding(is_ok=True, found=f"{number // 10_000}.{number % 10_000}, {where}")


def _migrations(settings: Settings) -> Finding:
    from thunderline.db.migrate import unapplied

    embedded = settings.db.url is None
    lacking = unapplied(home_of(settings).postgres().admin_dsn if embedded else dsn_of(settings))
    step = "thunderline down && thunderline up --detach" if lacking else ""
    return Finding(not lacking, f"lacks {', '.join(lacking)}" if lacking else "all applied", step)


def _store(settings: Settings) -> Finding:
    from thunderline.wiring import objects_folder, open_store

    is_directory = settings.store.url is None and settings.store.endpoint is None
    if is_directory and not (folder := objects_folder(settings)).is_dir():  # looking must not make it
        raise Unavailable("store", f"{folder} is not there; is its volume mounted?")
    store = open_store(settings)
    store.check()
    free = store.free_bytes()
    return Finding(is_ok=True, found="writable" if free is None else f"writable, {free / 1e9:.1f} GB free")


def _api(settings: Settings) -> Finding:
    from thunderline.cli.supervisor import answers

    board = home_of(settings).board()
    url = board.url if board else f"http://{settings.web.host}:{settings.web.port}"
    is_ok = answers(url)
    found = f"{url}/readyz {'answers' if is_ok else 'is not ready'}"
    return Finding(is_ok, found, "" if is_ok else _log(settings, "api"))


def _relay(settings: Settings) -> Finding:
    from thunderline.events.outbox import last_position, pending

    with _connection(settings) as connection:
        last, waiting = last_position(connection), pending(connection, limit=1)
    lag = SystemClock().now() - waiting[0].at if waiting else timedelta()
    found = f"at position {last}, the oldest event waits {lag.total_seconds():.1f} s"
    is_ok = lag < _LATE and _is_part_up(home_of(settings), "relay")
    return Finding(is_ok, found, "" if is_ok else _log(settings, "relay"))


def _driver(settings: Settings) -> Finding:
    is_ok = _is_part_up(home_of(settings), "driver")
    return Finding(is_ok, "alive" if is_ok else "not running", "" if is_ok else _log(settings, "driver"))


def _is_part_up(home: Home, name: str) -> bool:
    board = home.board()
    return board is not None and any(one.name == name and one.is_up for one in board.parts)


def _log(settings: Settings, name: str) -> str:
    return f"read {home_of(settings).logs / name}.log; thunderline up --detach if nothing runs"


_CHECKS: dict[str, Callable[[Settings], Finding]] = {
    "python": _python,
    "home": _home,
    "supervisor": _supervisor,
    "postgres": _postgres,
    "migrations": _migrations,
    "store": _store,
    "api": _api,
    "relay": _relay,
    "driver": _driver,
}

"""One part of the platform in this process: the API, the relay, the federation driver."""

import os
import signal
import socket
import sys
import time
from contextlib import closing
from threading import Event as Stop
from threading import Thread
from types import FrameType
from typing import Annotated, NoReturn

import typer

from thunderline import process
from thunderline.cli.home import dsn_of, home_of
from thunderline.errors import Unavailable
from thunderline.settings import Settings, load_settings
from thunderline.telemetry import EventLog, write_json_logs

app = typer.Typer(
    no_args_is_help=True,
    rich_markup_mode=None,
    help="Run one part of the platform by itself.\n\nExample: thunderline serve relay",
)
_LOG = EventLog("cli.serve")
_QUIET_FLOWER = {"FLWR_TELEMETRY_ENABLED": "0", "FLWR_DISABLE_UPDATE_CHECK": "1"}  # it would call home
_GRACE_S = 4.0  # less than the driver allows

ParentOption = Annotated[
    int | None, typer.Option("--parent", hidden=True, help="End when this process ends.")
]


@app.command()
def api(
    parent: ParentOption = None,
    fd: Annotated[int | None, typer.Option("--fd", hidden=True, help="A listening socket.")] = None,
) -> None:
    """Serve the HTTP API.

    Example: thunderline serve api
    """
    settings = _begin("api", parent)
    import uvicorn
    import uvloop

    from thunderline.web.app import create_app
    from thunderline.wiring import open_services

    listening = socket.socket(fileno=fd) if fd is not None else _listen(settings)
    services = open_services(settings, dsn_of(settings))
    config = uvicorn.Config(
        create_app(services),
        http="httptools",
        ws="none",  # else uvicorn loads a library that nothing here speaks
        access_log=False,
        log_config=None,
        server_header=False,
        timeout_graceful_shutdown=5,
    )
    server = uvicorn.Server(config)

    host, port = listening.getsockname()[:2]
    _LOG.info("api_started", host=host, port=port)
    _told()  # uvicorn stops on the signal, then raises it once more; this one takes it
    try:
        uvloop.run(server.serve(sockets=[listening]))
    finally:
        services.close()
    _LOG.info("api_stopped")


@app.command()
def relay(parent: ParentOption = None) -> None:
    """Number committed events and publish what must precede them.

    Example: thunderline serve relay
    """
    settings = _begin("relay", parent)
    from thunderline.events.relay import Relay
    from thunderline.promotion.latest import publisher
    from thunderline.wiring import open_services

    services = open_services(settings, dsn_of(settings), app_connections=1)
    Relay(services.database, [publisher(services.database, services.store)]).run(_told())
    services.close()


@app.command()
def driver(parent: ParentOption = None) -> None:
    """Give every federation that was started a process of its own, and look after it.

    Example: thunderline serve driver
    """
    settings = _begin("driver", parent)
    from thunderline.federation.driver import Driver
    from thunderline.federation.records import Attempt
    from thunderline.wiring import open_services

    home = home_of(settings)
    home.make()

    def start(attempt: Attempt) -> process.Child:
        arguments = [
            sys.executable, "-m", "thunderline.cli.main", "serve", "federation",
            attempt.tenant, attempt.federation_id, str(attempt.attempt), "--parent", str(os.getpid()),
        ]  # fmt: skip
        log = home.logs / f"federation-{attempt.federation_id}.log"
        return process.start(arguments, log=log, environment={**os.environ, **_QUIET_FLOWER})

    services = open_services(settings, dsn_of(settings), app_connections=1)
    Driver(services.database, services.clock, start).run(_told())
    services.close()


@app.command(hidden=True)
def federation(tenant: str, federation_id: str, attempt: int, parent: ParentOption = None) -> None:
    """Run one attempt at a federation in this process; the driver starts these.

    Example: thunderline serve federation default 0199… 1
    """
    settings = _begin("federation", parent)
    from thunderline.federation.progress import Places
    from thunderline.federation.records import Attempt
    from thunderline.federation.run import run_attempt
    from thunderline.wiring import open_services

    stop = _told()
    Thread(target=_end_soon_after, args=(stop,), daemon=True).start()
    try:
        services = open_services(settings, dsn_of(settings), app_connections=2)
        places = Places(services.database, services.store, services.clock)
        with closing(services):
            run_attempt(places, Attempt(tenant, federation_id, attempt), is_told_to_end=stop.is_set)
    except Unavailable as error:
        _LOG.warning("attempt_waits", federation_id=federation_id, problem=str(error))
        _end(Unavailable.exit)  # of a full store too: it is waited for
    _end(0)


def _end_soon_after(stop: Stop) -> None:
    """Let a round in progress have a few seconds, then end; what is not committed was never there."""
    stop.wait()
    time.sleep(_GRACE_S)
    _end(Unavailable.exit)


def _end(code: int) -> NoReturn:
    """End this process at once: a client that still trains, too late to count, would be waited for."""
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)


def _begin(service: str, parent: int | None) -> Settings:
    if parent is not None:
        process.die_with_parent(parent)
    write_json_logs(service)
    return load_settings().settings


def _listen(settings: Settings) -> socket.socket:
    return socket.create_server((settings.web.host, settings.web.port), backlog=1024)


def _told() -> Stop:
    """Return an event that SIGTERM and SIGINT set; a second Ctrl-C ends the process at once."""
    stop = Stop()

    def tell(number: int, frame: FrameType | None) -> None:
        del frame
        stop.set()
        if number == signal.SIGINT:
            signal.signal(number, signal.SIG_DFL)

    signal.signal(signal.SIGTERM, tell)
    signal.signal(signal.SIGINT, tell)
    return stop

"""``consumer``: who serves what; serve something."""

import json
import signal
import sys
from pathlib import Path
from threading import Event
from typing import Annotated

import typer

from thunderline.cli.client import Api, Refused, connected
from thunderline.cli.models import rows_of
from thunderline.cli.output import Output, OutputOption, emit, say
from thunderline.errors import NotFound, Unavailable
from thunderline.promotion.stage import Target, parse_target

app = typer.Typer(no_args_is_help=True, add_completion=False, rich_markup_mode=None)


@app.command("list")
def list_consumers(output: OutputOption = Output.TABLE) -> None:
    """List consumers, what each serves, and how far it lags behind its reference.

    Example: thunderline consumer list
    """
    with connected() as api:
        found = rows_of(api.get("/api/consumers"), "consumers")
    if output is Output.TABLE:
        fields = (
            "consumer_id",
            "reference",
            "watch",
            "state",
            "adopted",
            "seq",
            "lag",
            "sha256",
            "last_seen",
            "reason",
        )
        found = [{key: one.get(key) for key in fields} for one in found]
    emit(found, output)


@app.command()
def run(
    ref: Annotated[str, typer.Option("--ref", help="The reference: name:label.")],
    *,
    watch: Annotated[str, typer.Option(help="events or polling.")] = "events",
    cache: Annotated[
        Path | None, typer.Option(help="Where copies lie; by default below the home directory.")
    ] = None,
    consumer_id: Annotated[str | None, typer.Option("--id", help="A stable name for this consumer.")] = None,
) -> int:
    """Follow a reference, keep a verified copy of what it holds, and tell of each change.

    Prints one JSON line for each new version: its seq, sha256 and the file; "is_from_copy" says that the API
    does not answer and the last verified copy serves. Ctrl-C ends it.

    Example: thunderline consumer run --ref digits:prod --watch polling
    """
    from thunderline.cli.home import home_of
    from thunderline.consumer.consumer import Consumer
    from thunderline.settings import load_settings
    from thunderline.telemetry import write_warnings

    write_warnings()
    own = consumer_id or parse_target(ref, "--ref").ref.replace(":", "-")
    folder = cache or home_of(load_settings().settings).path / "copies" / own
    stop, files = Event(), dict[str, str]()

    def load(path: Path) -> Path:
        files["path"] = str(path)
        return path

    def tell(seq: int, sha256: str) -> None:
        line: dict[str, object] = {"seq": seq, "sha256": sha256, "path": files["path"]}
        if consumer.stats().is_from_copy:
            line["is_from_copy"] = True
        sys.stdout.write(f"{json.dumps(line)}\n")
        sys.stdout.flush()

    with connected() as api:
        consumer = Consumer(
            reference=ref,
            load=load,
            url=api.url,
            api_key=api.headers["X-API-Key"],
            watch=watch,
            cache=folder,
            consumer_id=consumer_id,
            on_swap=tell,
        )
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, lambda *_: stop.set())
        _look_once(api, parse_target(ref, "--ref"))
        consumer.start(wait_s=None)
        say(f"following {ref} by {watch}; Ctrl-C ends it")
        stop.wait()
        consumer.stop()
    return 0


def _look_once(api: Api, target: Target) -> None:
    """Say at once what a consumer would wait for in silence; a key that may not ask is refused."""
    try:
        api.get(f"/api/models/{target.model}/references/{target.label}")
    except Unavailable as error:
        say(f"{error}; until it does, the last verified copy serves if there is one")
    except Refused as error:
        if error.exit not in (NotFound.exit, Unavailable.exit):
            raise
        say(f"{error}; waiting")

"""``events``: the news as it comes."""

import sys
import time
from collections.abc import Iterator, Mapping
from typing import Annotated

import typer

from thunderline.canonical import Json
from thunderline.cli.client import Api, connected
from thunderline.cli.output import Output, OutputOption, emit, say
from thunderline.document import parse_json
from thunderline.errors import Unavailable

app = typer.Typer(no_args_is_help=True, add_completion=False, rich_markup_mode=None)
_AGAIN_S = 1.0


@app.callback()
def group() -> None:
    """Follow the news."""


@app.command()
def tail(
    start: Annotated[str, typer.Option("--from", help="A position, 0 for the beginning, or end.")] = "end",
    types: Annotated[str | None, typer.Option(help="Only these types, separated by commas.")] = None,
    limit: Annotated[int, typer.Option(help="Stop after so many; 0: never.")] = 0,
    output: OutputOption = Output.TABLE,
) -> None:
    """Print events as they happen, and go on where it was when the connection is lost.

    Example: thunderline events tail --from 0 --types fl.artifact.promoted --output jsonl
    """
    with connected() as api:
        for number, event in enumerate(follow(api, start, types), start=1):
            if output is Output.TABLE:
                _print_line(event)
            else:
                emit(event, Output.JSONL if output is Output.JSON else output)
            if number == limit:
                return


def _print_line(event: Mapping[str, Json]) -> None:
    data = event.get("data")
    told = " ".join(f"{key}={value}" for key, value in data.items()) if isinstance(data, Mapping) else ""
    sys.stdout.write(f"{event.get('sequence'):>6}  {event.get('time')}  {event.get('type'):<26} {told}\n")
    sys.stdout.flush()


def follow(api: Api, start: str, types: str | None) -> Iterator[Mapping[str, Json]]:
    """Yield events from a position on, for ever, across lost connections."""
    after = start
    while True:
        params = {"after": after} | ({"types": types} if types else {})
        try:
            with api.stream("/api/events/stream", **params) as response:
                for line in response.iter_lines():
                    if line.startswith("data:"):
                        event = parse_json(line.removeprefix("data:").strip().encode(), field="event")
                        if isinstance(event, Mapping):
                            after = str(event.get("sequence"))
                            yield event
        except Unavailable as error:
            if after == "end":  # nothing seen yet: nothing to go on from
                raise
            say(f"{error}; going on at {after}")
        time.sleep(_AGAIN_S)

"""Data to stdout as a table, JSON, JSON lines or YAML; talk to stderr."""

import json
import sys
from collections.abc import Mapping, Sequence
from enum import StrEnum
from typing import Annotated

import typer

from thunderline.canonical import Json

Row = Mapping[str, Json]


class Output(StrEnum):
    """How data is printed."""

    TABLE = "table"
    JSON = "json"
    JSONL = "jsonl"
    YAML = "yaml"


OutputOption = Annotated[Output, typer.Option("--output", "-o", help="How to print the data.")]


def emit(data: Row | Sequence[Row], output: Output = Output.TABLE, *, title: str | None = None) -> None:
    """Print one object or a list of rows on stdout.

    Args:
        data: a mapping is one object, a sequence is rows.
        output: the form; a table is for people and may change, the others are for programs.
        title: above a table.
    """
    rows = [data] if isinstance(data, Mapping) else list(data)
    if output is Output.JSON:
        text = json.dumps(data if isinstance(data, Mapping) else rows, indent=2, ensure_ascii=False)
        sys.stdout.write(f"{text}\n")
    elif output is Output.JSONL:
        for row in rows:
            sys.stdout.write(f"{json.dumps(row, ensure_ascii=False)}\n")
    elif output is Output.YAML:
        from thunderline.document import write_yaml

        sys.stdout.write(write_yaml(data if isinstance(data, Mapping) else rows))
    elif isinstance(data, Mapping):
        _print_table([{"name": name, "value": value} for name, value in data.items()], title)
    else:
        _print_table(rows, title)
    sys.stdout.flush()


def say(text: str) -> None:
    """Tell the person at the terminal something, on stderr."""
    sys.stderr.write(f"{printable(text)}\n")
    sys.stderr.flush()


def printable(text: str) -> str:
    """Return text whose control characters, but line ends and tabs, are written out, never obeyed."""
    return "".join(one if one.isprintable() or one in "\n\t" else repr(one)[1:-1] for one in text)


def cell(value: Json) -> str:
    """Write a value as a table shows it.

    >>> cell(None), cell(True), cell(0.123456789), cell({"a": 1})
    ('', 'yes', '0.123457', '{"a": 1}')
    """
    if value is None:
        return ""
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float):
        return f"{value:.6g}"
    if isinstance(value, int | str):
        return printable(str(value))
    return printable(json.dumps(value, ensure_ascii=False))


def _print_table(rows: Sequence[Row], title: str | None) -> None:
    from rich import box
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    if not rows:
        say("nothing to show")
        return
    columns = list(dict.fromkeys(name for row in rows for name in row))
    table = Table(box=box.SIMPLE_HEAD, title=title, title_justify="left", pad_edge=False)
    for name in columns:
        is_number = all(isinstance(row.get(name), int | float | None) for row in rows)
        table.add_column(name.replace("_", " "), justify="right" if is_number else "left", overflow="fold")
    for row in rows:
        table.add_row(*(Text(cell(row.get(name))) for name in columns))
    console = Console(width=None if sys.stdout.isatty() else 400)
    console.print(table)

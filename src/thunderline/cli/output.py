"""Data to stdout as a table, JSON, JSON lines or YAML; talk to stderr."""

import json
import re
import sys
from collections.abc import Mapping, Sequence
from enum import StrEnum
from typing import Annotated

import typer

from thunderline.canonical import Json

Row = Mapping[str, Json]
_NOBODY_LOOKS = 400  # columns, where a line is not to be broken
_BETWEEN = 3  # columns that a table puts between two of its own
_DIGEST = re.compile("([0-9a-f]{12})[0-9a-f]{52}")
_INSTANT = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?Z")


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
        _print_table([{"name": name, "value": value} for name, value in data.items()], title, whole=True)
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


def _print_table(rows: Sequence[Row], title: str | None, *, whole: bool = False) -> None:
    from rich import box
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    if not rows:
        say("nothing to show")
        return
    columns = list(dict.fromkeys(name for row in rows for name in row))
    table = Table(box=box.SIMPLE_HEAD, title=title, title_justify="left", pad_edge=False, show_edge=False)
    for name in columns:
        is_number = all(isinstance(row.get(name), int | float | None) for row in rows)
        table.add_column(name.replace("_", " "), justify="right" if is_number else "left", overflow="fold")
    lines = [[cell(row.get(name)) for name in columns] for row in rows]
    console = Console(width=None if sys.stdout.isatty() else _NOBODY_LOOKS)
    if not whole and _width_of(columns, lines) > console.width:
        lines = [[_shortened(one) for one in line] for line in lines]
        table.collapse_padding = True
    for line in lines:
        table.add_row(*map(Text, line))
    if title is not None:
        console.print()
    console.print(table)


def _width_of(columns: Sequence[str], lines: Sequence[Sequence[str]]) -> int:
    widest = [max(map(len, each)) for each in zip(columns, *lines, strict=True)]
    return sum(widest) + _BETWEEN * len(columns)


def _shortened(text: str) -> str:
    """Shorten what is long and says little to a person: a digest, and the parts of a second.

    >>> _shortened(f"artifacts/{'ab' * 32}/m.npz"), _shortened("2026-11-24T18:06:26.575810Z")
    ('artifacts/abababababab…/m.npz', '2026-11-24 18:06:26')
    """
    if _INSTANT.fullmatch(text):
        return text[:19].replace("T", " ")
    return _DIGEST.sub(r"\1…", text)

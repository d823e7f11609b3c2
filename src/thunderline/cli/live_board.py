"""The board that ``thunderline up`` draws on a terminal."""

from collections.abc import Sequence

from rich import box
from rich.console import Group
from rich.table import Table
from rich.text import Text

from thunderline.cli.home import Board, Home
from thunderline.cli.output import Row, cell

_COLOURS = {
    "up": "green",
    "external": "green",
    "directory": "green",
    "starting": "yellow",
    "stopping": "yellow",
    "restarting": "red",
}


def drawn(rows: Sequence[Row], board: Board, home: Home) -> Group:
    """Return the board: what runs where, then where everything is."""
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    for name in ("part", "state", "pid", "restarts", "where"):
        table.add_column(name, overflow="fold")
    for row in rows:
        state = cell(row["state"])
        table.add_row(
            Text(cell(row["part"]), style="bold"),
            Text(state, style=_COLOURS.get(state, "red")),
            cell(row["pid"]),
            cell(row["restarts"]) if row["restarts"] else "",
            Text(cell(row["where"])),
        )
    close = "Ctrl-C stops everything; nothing is lost." if board.state == "up" else f"{board.state} ..."
    return Group(table, Text(f"key {home.key_file}\nlogs {home.logs}\n{close}", style="dim"))

"""A room's named statements, read from the ``queries.sql`` that lies beside its ``records.py``."""

import re
from importlib.resources import files

_NAME = re.compile(r"^-- name: (\w+)$", re.MULTILINE)


class Statements:
    """SQL by name; every statement is written once, in a file, never built from strings."""

    def __init__(self, room: str, file: str = "queries.sql") -> None:
        """Read a room's statements.

        Args:
            room: dotted name of the package that holds the file.
            file: its name.

        Raises:
            ValueError: a statement without a name, or a name that stands twice.
        """
        self.room = room
        text = files(room).joinpath(file).read_text(encoding="utf-8")
        parts = _NAME.split(text)
        if parts[0].strip():
            raise ValueError(f"{room}/{file}: text before the first name")
        names, bodies = parts[1::2], parts[2::2]
        if len(set(names)) != len(names):
            raise ValueError(f"{room}/{file}: a name stands twice")
        self._by_name = {name: body.strip().encode() for name, body in zip(names, bodies, strict=True)}

    def __getitem__(self, name: str) -> bytes:
        """Return the statement of that name, ready for psycopg."""
        return self._by_name[name]

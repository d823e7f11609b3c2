"""Which paths are safe, and the list of a directory's files with their digests; pure."""

import re
from collections.abc import Iterable
from dataclasses import dataclass

from thunderline.canonical import Json, canonical_bytes
from thunderline.errors import UnsafePath

SCHEMA = "thunderline/manifest/v1"
MOST_CHARACTERS = 100
MOST_PARTS = 8
_PART = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._-]{0,99}", re.ASCII)
_DEVICES = re.compile(r"(?:con|prn|aux|nul|com\d|lpt\d)(?:\..*)?", re.ASCII | re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Entry:
    """One file of a directory."""

    path: str
    size_bytes: int
    sha256: str


def parse_path(text: str, field: str = "path") -> str:
    """Return a relative path if it is safe on every system.

    Args:
        text: such as ``weights/model.safetensors``.
        field: how a refusal names it.

    Raises:
        UnsafePath: absolute, longer than 100 characters, deeper than 8, or a part that starts with a dot or
            dash, holds other characters than letters, digits, ``._-``, or is a device's name.

    >>> parse_path("a/b-1.bin")
    'a/b-1.bin'
    """
    parts = text.split("/")
    is_safe = (
        len(text) <= MOST_CHARACTERS
        and len(parts) <= MOST_PARTS
        and all(_PART.fullmatch(part) and not _DEVICES.fullmatch(part) for part in parts)
    )
    if not is_safe:
        raise UnsafePath(
            f"{field}: {text[:120]!r} is not a safe relative path; use at most {MOST_PARTS} parts of "
            f"letters, digits, '.', '_', '-', {MOST_CHARACTERS} characters in all"
        )
    return text


def write_manifest(entries: Iterable[Entry]) -> bytes:
    """Return the manifest of a directory's files (format.md, section 4)."""
    files: list[Json] = [
        {"path": one.path, "size_bytes": one.size_bytes, "sha256": one.sha256}
        for one in sorted(entries, key=lambda one: one.path)
    ]
    return canonical_bytes({"schema": SCHEMA, "files": files})

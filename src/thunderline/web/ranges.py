"""One byte range of a request; pure."""

import re
from dataclasses import dataclass

from thunderline.errors import BadRange

_RANGE = re.compile(r"bytes=(\d{0,20})-(\d{0,20})", re.ASCII)


@dataclass(frozen=True, slots=True)
class ByteRange:
    """From ``start`` to before ``stop``."""

    start: int
    stop: int


def parse_range(header: str | None, size_bytes: int) -> ByteRange | None:
    """Read a ``Range`` header for an object of this size.

    Args:
        header: its value, None when absent.
        size_bytes: of the whole object.

    Returns:
        The range, or None when the header is absent or of a form that asks for the whole object: several
        ranges, another unit, an end before the start.

    Raises:
        BadRange: a well-formed range that holds no byte of the object.

    Source:
        RFC 9110, section 14.

    >>> parse_range("bytes=-5", 10)
    ByteRange(start=5, stop=10)
    """
    match = _RANGE.fullmatch(header.strip()) if header else None
    if match is None or match[0].endswith("=-"):
        return None
    first, last = match[1], match[2]
    if not first:
        return _suffix(int(last), size_bytes)
    start = int(first)
    if last and int(last) < start:
        return None
    if start >= size_bytes:
        raise BadRange(size_bytes)
    return ByteRange(start, min(int(last) + 1, size_bytes) if last else size_bytes)


def _suffix(length: int, size_bytes: int) -> ByteRange | None:
    if length == 0:
        raise BadRange(size_bytes)
    if size_bytes == 0:
        return None
    return ByteRange(max(0, size_bytes - length), size_bytes)

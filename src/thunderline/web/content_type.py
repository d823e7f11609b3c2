"""Content types as they may be kept and sent; pure."""

import re

ANY_BYTES = "application/octet-stream"
_NAME = r"[\w!#$&^.+-]{1,100}"
_SANE = re.compile(rf"{_NAME}/{_NAME}(?:\s?;[\x20-\x7e]{{0,200}})?", re.ASCII)


def sane_content_type(given: str) -> str:
    """Return a content type that is safe in a header, ``application/octet-stream`` instead of any other.

    >>> sane_content_type("text/csv; charset=utf-8"), sane_content_type("a b")
    ('text/csv; charset=utf-8', 'application/octet-stream')
    """
    return given if _SANE.fullmatch(given) else ANY_BYTES

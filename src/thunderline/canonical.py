"""Canonical JSON and digests: the one place that decides which bytes are hashed."""

import hashlib
import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Protocol

import rfc8785

from thunderline.errors import InvalidInput

Json = None | bool | int | float | str | Sequence["Json"] | Mapping[str, "Json"]

_DIGEST = re.compile(r"[0-9a-f]{64}", re.ASCII)


class Hasher(Protocol):
    """A running sha256."""

    def update(self, chunk: bytes | memoryview, /) -> None:
        """Take the next bytes in."""

    def hexdigest(self) -> str:
        """Return the digest so far as 64 lowercase hex digits."""

    def digest(self) -> bytes:
        """Return the digest so far as 32 bytes."""


def new_hasher() -> Hasher:
    """Start an empty sha256."""
    return hashlib.sha256()


def sha256_hex(content: bytes) -> str:
    """Hash bytes held in memory to 64 lowercase hex digits.

    >>> sha256_hex(b"")[:16]
    'e3b0c44298fc1c14'
    """
    return hashlib.sha256(content).hexdigest()


def sha256_of_chunks(chunks: Iterable[bytes]) -> str:
    """Hash a stream of chunks without holding more than one of them."""
    running = hashlib.sha256()
    for chunk in chunks:
        running.update(chunk)
    return running.hexdigest()


def is_digest(text: str) -> bool:
    """Tell whether ``text`` is a sha256 as we write it: 64 lowercase hex digits."""
    return _DIGEST.fullmatch(text) is not None


def parse_digest(text: str, field: str = "sha256") -> str:
    """Return ``text`` if it is a digest as we write it.

    Raises:
        InvalidInput: anything but 64 lowercase hex digits.
    """
    if not is_digest(text):
        raise InvalidInput(field, f"expected 64 lowercase hex digits, got {text[:80]!r}")
    return text


def canonical_bytes(value: Json) -> bytes:
    """Write a JSON value in its one canonical form, as UTF-8.

    Raises:
        InvalidInput: NaN, infinity, or an integer beyond 2**53.

    Source:
        RFC 8785.

    >>> canonical_bytes({"b": 1, "a": [True, None]})
    b'{"a":[true,null],"b":1}'
    """
    try:
        return rfc8785.dumps(value)
    except rfc8785.CanonicalizationError as error:
        raise InvalidInput("document", f"cannot be written as canonical JSON: {error}") from error

"""What a place that keeps bytes must be able to do."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Protocol


@dataclass(frozen=True, slots=True)
class Stored:
    """A blob that is durable now."""

    digest: str
    size_bytes: int
    is_new: bool  # False: the same bytes were there already


class Receiver(Protocol):
    """One upload: takes bytes, hashing them on the way; nothing is visible before ``commit``."""

    size_bytes: int  # taken so far

    def write(self, chunk: bytes | memoryview) -> None:
        """Take the next bytes."""

    def digest(self) -> str:
        """Return the sha256 of what was taken so far."""

    def commit(self, expected: str | None = None) -> Stored:
        """Make the blob durable and visible under its digest.

        Raises:
            ChecksumMismatch: the bytes have another digest than ``expected``; nothing stays.
        """

    def abort(self) -> None:
        """Forget what was taken; safe to repeat, and after ``commit`` without effect."""


class BlobStore(Protocol):
    """Keys and bytes: a blob lies at ``cas/<2 digits>/<digest>``, written once; other keys are copies."""

    def receive(self) -> Receiver:
        """Begin an upload."""

    def open(self, key: str, start: int, stop: int | None) -> Iterator[bytes]:
        """Yield the bytes from ``start`` to before ``stop`` (None: the end) in chunks of 1 MiB at most.

        Raises:
            NotFound: no such key.
        """

    def size(self, key: str) -> int | None:
        """Return the size in bytes, None when there is no such key."""

    def copy(self, digest: str, key: str) -> None:
        """Let a readable key hold a blob's bytes, atomically, whatever it held.

        Raises:
            NotFound: no such blob.
        """

    def write(self, key: str, content: bytes) -> None:
        """Let a key hold a small document, atomically and durably."""

    def delete(self, key: str) -> None:
        """Remove a key; missing is fine."""

    def check(self) -> None:
        """Write and remove a probe.

        Raises:
            Unavailable: it cannot be written.
        """

    def free_bytes(self) -> int | None:
        """Return the space left, None when there is no telling."""


def blob_key(digest: str) -> str:
    """Return where a blob lies.

    >>> blob_key("ab" + "0" * 62)[:9]
    'cas/ab/ab'
    """
    return f"cas/{digest[:2]}/{digest}"

"""Taking an upload in: constant memory, one batch being written while the next arrives."""

import asyncio
from collections.abc import Iterator

from fastapi import Request

from thunderline.artifacts.bank import Bank
from thunderline.artifacts.blob_store import Receiver
from thunderline.artifacts.records import FileRecord
from thunderline.canonical import new_hasher
from thunderline.errors import ChecksumMismatch, InvalidInput, TooLarge, UnsupportedType
from thunderline.identity.principal import Principal
from thunderline.settings import WebSettings
from thunderline.web.body import incoming
from thunderline.web.content_type import sane_content_type
from thunderline.web.multipart import FilePart

_BATCH = 1 << 20


async def receive_upload(
    request: Request, bank: Bank, who: Principal, limits: WebSettings, *, announced: str | None
) -> FileRecord:
    """Take a body in, hash it, keep it.

    Args:
        request: raw or multipart.
        bank: where it goes.
        who: the caller.
        limits: size and idle time.
        announced: the sha256 that the caller announced of the body.

    Raises:
        TooLarge: announced or sent more than allowed.
        UnsupportedType: a content coding.
        InvalidInput: malformed, cut short, or other bytes than announced.
        TimedOut: nothing came for too long.
        StoreFull: the guard on free space says no.
    """
    expected_bytes = _announced_bytes(request, limits)
    content_type = request.headers.get("content-type", "application/octet-stream")
    is_multipart = content_type.lower().startswith("multipart/form-data")
    part = FilePart(content_type) if is_multipart else None
    receiver = await asyncio.to_thread(bank.store.receive, expected_bytes=expected_bytes)
    pump = _Pump(receiver, part, limits.max_upload_bytes)
    try:
        async for chunk in incoming(request, limits.idle_timeout_s):
            await pump.take(chunk)
        raw_digest = await pump.finish()
        if announced is not None and part is not None and raw_digest != announced:
            raise InvalidInput("Repr-Digest", f"announced {announced}, received {raw_digest}")
        return await asyncio.to_thread(
            bank.keep,
            who,
            receiver,
            content_type=sane_content_type(part.content_type if part else content_type),
            expected=announced if part is None else None,
        )
    except ChecksumMismatch as error:
        raise InvalidInput("Repr-Digest", f"announced {error.recorded}, received {error.read}") from error
    finally:
        await pump.rest()  # no thread may still write when the file is closed
        await asyncio.to_thread(receiver.abort)  # freeing a large unnamed file takes its time


def _announced_bytes(request: Request, limits: WebSettings) -> int | None:
    if request.headers.get("content-encoding", "identity").lower() != "identity":
        raise UnsupportedType("Content-Encoding", "send the bytes as they are, without a content coding")
    text = request.headers.get("content-length")
    if text is None:
        return None
    size = int(text) if text.isascii() and text.isdigit() else -1
    if size < 0:
        raise InvalidInput("Content-Length", f"{text[:40]!r} is not a size")
    if size > limits.max_upload_bytes:
        raise _too_large(limits.max_upload_bytes)
    return size


def _too_large(limit_bytes: int) -> TooLarge:
    return TooLarge("body", f"more than the {limit_bytes} bytes allowed; the setting is web.max_upload_bytes")


class _Pump:
    """Collects batches and writes each in a thread while the next arrives."""

    def __init__(self, receiver: Receiver, part: FilePart | None, limit_bytes: int) -> None:
        self._receiver, self._part, self._limit = receiver, part, limit_bytes
        self._raw = new_hasher() if part is not None else None
        self._batch: list[bytes] = []
        self._held = self._seen = 0
        self._writing: asyncio.Task[None] | None = None

    async def take(self, chunk: bytes) -> None:
        self._seen += len(chunk)
        if self._seen > self._limit:
            raise _too_large(self._limit)
        for piece in self._pieces(chunk):
            self._batch.append(piece)
            self._held += len(piece)
        if self._held >= _BATCH:
            await self._write()

    def _pieces(self, chunk: bytes) -> Iterator[bytes]:
        if self._part is None or self._raw is None:
            yield chunk
            return
        self._raw.update(chunk)
        yield from self._part.feed(chunk)

    async def _write(self) -> None:
        await self._settle()
        batch, self._batch, self._held = self._batch, [], 0
        self._writing = asyncio.create_task(asyncio.to_thread(self._write_all, batch))

    def _write_all(self, batch: list[bytes]) -> None:
        for piece in batch:
            self._receiver.write(piece)

    async def _settle(self) -> None:
        if self._writing is not None:
            await self._writing
            self._writing = None

    async def rest(self) -> None:
        """Wait for the batch being written, whatever becomes of it."""
        if self._writing is not None:
            await asyncio.wait([self._writing])

    async def finish(self) -> str:
        """Write what is left; return the digest of the raw body when it was multipart, else nothing."""
        await self._write()
        await self._settle()
        if self._part is None or self._raw is None:
            return ""
        self._part.finish()
        return self._raw.hexdigest()

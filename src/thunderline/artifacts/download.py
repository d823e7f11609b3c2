"""Fetching a file of the Data Bank: resumed, verified, in place only when whole."""

import os
from collections.abc import Mapping
from pathlib import Path

import httpx

from thunderline.canonical import Hasher, new_hasher, parse_digest
from thunderline.errors import (
    ArtifactError,
    ChecksumMismatch,
    NotAuthenticated,
    NotFound,
    NotPermitted,
    TooLarge,
    Unavailable,
)

_CHUNK = 1 << 20
_TIMEOUT = httpx.Timeout(10, read=60)
_OK, _PARTIAL, _BAD_RANGE, _DAMAGED = 200, 206, 416, 422


def download(
    url: str,
    file_id: str,
    target: Path,
    *,
    headers: Mapping[str, str],
    size_bytes: int | None = None,
    timeout: httpx.Timeout = _TIMEOUT,
) -> Path:
    """Fetch a file by its digest.

    Bytes go to ``<target>.part``; an earlier try's part is continued by a range request. The file appears
    under its own name only after its digest was found right.

    Args:
        url: of the API.
        file_id: sha256 of the bytes.
        target: where to put them.
        headers: such as ``X-API-Key``.
        size_bytes: as recorded; more bytes are refused.
        timeout: of connecting and of each read.

    Returns:
        ``target``.

    Raises:
        ChecksumMismatch: other bytes came; the part is removed.
        ArtifactError: the server found its own copy damaged.
        TooLarge: more than ``size_bytes`` came.
        NotFound: there is no such file.
        NotAuthenticated: the key is not valid.
        NotPermitted: the key may not read files.
        Unavailable: the connection broke or the server failed; call again to go on.
    """
    parse_digest(file_id, "file_id")
    part = target.with_name(f"{target.name}.part")
    target.parent.mkdir(parents=True, exist_ok=True)
    try:
        running = _fetch(f"{url}/files/{file_id}", part, dict(headers), size_bytes, timeout)
    except httpx.TransportError as error:
        raise Unavailable(
            "api",
            f"{url} broke off ({error}); the part fetched so far is kept. If it breaks off again and again, "
            f"the store may be damaged: thunderline artifact verify {file_id}",
        ) from error
    if running.hexdigest() != file_id:
        part.unlink(missing_ok=True)
        raise ChecksumMismatch(str(target), recorded=file_id, read=running.hexdigest())
    _settle(part, target)
    return target


def _fetch(
    url: str, part: Path, headers: dict[str, str], size_bytes: int | None, timeout: httpx.Timeout
) -> Hasher:
    running, have = _resume(part)
    if have:
        headers["Range"] = f"bytes={have}-"
    with (
        httpx.Client(timeout=timeout, trust_env=False, follow_redirects=False) as client,
        client.stream("GET", url, headers={**headers, "Accept-Encoding": "identity"}) as response,
    ):
        if response.status_code == _BAD_RANGE and have:
            return running  # all of it was there already; the digest decides
        if response.status_code not in (_OK, _PARTIAL):
            raise _refused(response, url)
        if response.status_code == _OK:
            running, have = new_hasher(), 0
        with part.open("ab" if have else "wb") as file:
            for chunk in response.iter_raw(_CHUNK):
                have += len(chunk)
                if size_bytes is not None and have > size_bytes:
                    part.unlink(missing_ok=True)
                    raise TooLarge("file", f"more than the {size_bytes} bytes recorded came from {url}")
                running.update(chunk)
                file.write(chunk)
            file.flush()
            os.fsync(file.fileno())
    return running


def _resume(part: Path) -> tuple[Hasher, int]:
    running, have = new_hasher(), 0
    if part.is_file():
        with part.open("rb") as file:
            while chunk := file.read(_CHUNK):
                running.update(chunk)
                have += len(chunk)
    return running, have


def _refused(response: httpx.Response, url: str) -> Exception:
    leaf = {401: NotAuthenticated, 403: NotPermitted, 404: NotFound}.get(response.status_code)
    if leaf is not None:
        return leaf(f"{url} answered {response.status_code}")
    if response.status_code == _DAMAGED:
        return ArtifactError(
            f"{url}: the store holds other bytes than recorded (CHECKSUM_MISMATCH); restore the object "
            "from a copy, or promote another artifact"
        )
    return Unavailable("api", f"{url} answered {response.status_code}")


def _settle(part: Path, target: Path) -> None:
    part.replace(target)
    descriptor = os.open(target.parent, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)

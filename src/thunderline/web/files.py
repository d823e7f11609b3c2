"""The Data Bank: ``/files``, bytes in and out by their digest."""

import base64
import itertools
from collections.abc import Iterator
from typing import Annotated

from fastapi import APIRouter, Depends, Request
from starlette.responses import JSONResponse, Response, StreamingResponse

from thunderline.artifacts.bank import Bank
from thunderline.artifacts.records import FileRecord
from thunderline.artifacts.store import Store
from thunderline.canonical import Json, new_hasher
from thunderline.clock import to_wire
from thunderline.errors import ChecksumMismatch
from thunderline.identity.principal import Principal
from thunderline.telemetry import EventLog
from thunderline.web.access import needs
from thunderline.web.auth import current_principal, services
from thunderline.web.content_type import sane_content_type
from thunderline.web.digests import announced_by
from thunderline.web.ranges import parse_range
from thunderline.web.upload import receive_upload
from thunderline.wiring import Services

router = APIRouter(tags=["files"])
_BYTES: dict[str, object] = {"type": "string", "format": "binary"}
_FORM: dict[str, object] = {"type": "object", "required": ["file"], "properties": {"file": _BYTES}}
_BODY: dict[str, object] = {
    "requestBody": {
        "required": True,
        "content": {"application/octet-stream": {"schema": _BYTES}, "multipart/form-data": {"schema": _FORM}},
    }
}
Who = Annotated[Principal, Depends(current_principal)]
Parts = Annotated[Services, Depends(services)]
_LOG = EventLog("web.files")


def _bank(parts: Services) -> Bank:
    return Bank(parts.database, parts.store, parts.clock)


def _described(record: FileRecord) -> dict[str, Json]:
    return {
        "file_id": record.file_id,
        "size": record.size_bytes,
        "sha256": record.file_id,
        "content_type": record.content_type,
        "created_at": to_wire(record.created_at),
    }


def _headers(record: FileRecord) -> dict[str, str]:
    digest = base64.b64encode(bytes.fromhex(record.file_id)).decode()
    return {
        "ETag": f'"{record.file_id}"',
        "Repr-Digest": f"sha-256=:{digest}:",
        "Accept-Ranges": "bytes",
        "Content-Length": str(record.size_bytes),
        "Content-Type": sane_content_type(record.content_type),
        "X-Content-Type-Options": "nosniff",
        "Content-Disposition": "attachment",
    }


@router.post("/files", status_code=201, openapi_extra=_BODY)
@needs("files:write")
async def post_file(request: Request, who: Who, parts: Parts) -> Response:
    """Upload a file: the raw body, or `multipart/form-data` with one part `file`; same bytes, same id."""
    announced = announced_by(
        [(name, request.headers.getlist(name)) for name in ("Repr-Digest", "Content-Digest")]
    )
    record = await receive_upload(request, _bank(parts), who, parts.settings.web, announced=announced)
    headers = {"Location": f"/files/{record.file_id}", "ETag": f'"{record.file_id}"'}
    return JSONResponse(_described(record), status_code=201, headers=headers)


def _matches(header: str | None, etag: str) -> bool:
    if header is None:
        return False
    given = [one.strip().removeprefix("W/") for one in header.split(",")]
    return "*" in given or etag in given


@router.head("/files/{file_id}")
@router.get("/files/{file_id}")
@needs("files:read")
def get_file(request: Request, who: Who, parts: Parts, file_id: str) -> Response:
    """Download a file, or one byte range of it; the whole is compared with its digest on the way."""
    record = _bank(parts).find(who, file_id)
    headers = _headers(record)
    if _matches(request.headers.get("If-None-Match"), headers["ETag"]):
        return Response(status_code=304, headers={"ETag": headers["ETag"]})
    if request.method == "HEAD":
        return Response(headers=headers)
    wanted = request.headers.get("Range")
    unchanged = request.headers.get("If-Range")
    if unchanged is not None and unchanged.strip() != headers["ETag"]:
        wanted = None
    found = parse_range(wanted, record.size_bytes)
    if found is None:
        return StreamingResponse(_begun(_whole(parts.store, record)), headers=headers)
    headers["Content-Length"] = str(found.stop - found.start)
    headers["Content-Range"] = f"bytes {found.start}-{found.stop - 1}/{record.size_bytes}"
    chunks = parts.store.open(record.file_id, found.start, found.stop)
    return StreamingResponse(chunks, status_code=206, headers=headers)


def _begun(chunks: Iterator[bytes]) -> Iterator[bytes]:
    """Fetch the first chunk before the answer begins: a missing or short damaged file is refused aloud."""
    return itertools.chain([next(chunks)], chunks)


def _whole(store: Store, record: FileRecord) -> Iterator[bytes]:
    """Yield every byte, the last chunk only after the digest is known to be right.

    A damaged file so ends short of its Content-Length, which every client notices.
    """
    running, held = new_hasher(), b""
    for chunk in store.open(record.file_id):
        running.update(chunk)
        if held:
            yield held
        held = chunk
    if running.hexdigest() != record.file_id:
        error = ChecksumMismatch(record.file_id, recorded=record.file_id, read=running.hexdigest())
        _LOG.error("file_damaged", file_id=record.file_id, error_code=error.code, problem=str(error))
        raise error
    yield held


@router.get("/files/{file_id}/info")
@needs("files:read")
def file_info(who: Who, parts: Parts, file_id: str) -> dict[str, Json]:
    """Return what is known of a file."""
    return _described(_bank(parts).find(who, file_id))


@router.delete("/files/{file_id}", status_code=204)
@needs("files:delete")
def delete_file(who: Who, parts: Parts, file_id: str) -> Response:
    """Delete a file, also when it is missing; refused while anything refers to it."""
    _bank(parts).delete(who, file_id)
    return Response(status_code=204)

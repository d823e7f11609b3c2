"""The events: a page of them, or a stream that resumes where it was left."""

import asyncio
import re
from collections.abc import AsyncIterator
from typing import Annotated

from fastapi import APIRouter, Depends, Query, Request
from sse_starlette import EventSourceResponse, ServerSentEvent
from starlette.responses import Response

from thunderline.errors import InvalidInput
from thunderline.events.catalog import CATALOG
from thunderline.events.envelope import to_cloudevent
from thunderline.events.outbox import last_position, page
from thunderline.events.stream import Resumption, Wakeup, follow
from thunderline.identity.principal import Principal
from thunderline.web.access import needs
from thunderline.web.auth import current_principal, services
from thunderline.wiring import Services

router = APIRouter(prefix="/api", tags=["events"])
Who = Annotated[Principal, Depends(current_principal)]
Parts = Annotated[Services, Depends(services)]
_POSITION = re.compile(r"\d{1,18}", re.ASCII)


def _types(text: str | None) -> list[str] | None:
    if text is None:
        return None
    wanted = [one.strip() for one in text.split(",") if one.strip()]
    for one in wanted:
        if one not in CATALOG:
            raise InvalidInput("types", f"{one!r} is unknown; known are {', '.join(sorted(CATALOG))}")
    return wanted


@router.get("/events")
@needs("events:read")
def list_events(
    who: Who,
    parts: Parts,
    *,
    after: int = 0,
    types: str | None = None,
    limit: Annotated[int, Query(ge=1, le=1000)] = 200,
) -> Response:
    """Return events after a position, as a batch of CloudEvents."""
    with parts.database.transaction(who.tenant) as connection:
        found = page(connection, after=after, limit=limit, types=_types(types))
    content = b"[" + b",".join(to_cloudevent(one) for one in found) + b"]"
    return Response(content, media_type="application/cloudevents-batch+json")


@router.get("/events/stream")
@needs("events:read")
async def stream_events(
    request: Request, who: Who, parts: Parts, after: str | None = None, types: str | None = None
) -> EventSourceResponse:
    """Stream events as they come (SSE). `Last-Event-ID`, or `after`, resumes; `after=end` skips the past."""
    wanted = _types(types)
    start = await _start(request, who, parts, after)
    wakeup = request.app.state.wakeup
    if not isinstance(wakeup, Wakeup):
        raise TypeError("the application was made without a listener")
    where = Resumption(who.tenant, start, wanted)
    return EventSourceResponse(_stream(parts, wakeup, where), ping=15)


async def _start(request: Request, who: Principal, parts: Services, after: str | None) -> int:
    given = request.headers.get("last-event-id") or after or "0"
    if given == "end":
        return await asyncio.to_thread(_newest, parts, who.tenant)
    if not _POSITION.fullmatch(given):
        raise InvalidInput("Last-Event-ID", f"expected a position, a whole number, got {given[:80]!r}")
    return int(given)


def _newest(parts: Services, tenant: str) -> int:
    with parts.database.transaction(tenant) as connection:
        return last_position(connection)


async def _stream(parts: Services, wakeup: Wakeup, where: Resumption) -> AsyncIterator[ServerSentEvent]:
    async for recorded in follow(parts.database, wakeup, where):
        if recorded is not None:
            yield ServerSentEvent(
                to_cloudevent(recorded).decode(), id=str(recorded.position), event=recorded.type
            )

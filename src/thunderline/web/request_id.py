"""A request's id: taken if it is sane, made if absent, echoed and logged always."""

import re
import time
from uuid import uuid4

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from thunderline.telemetry import EventLog

_SANE = re.compile(rb"[A-Za-z0-9._:-]{1,128}")
_HEADER = b"x-request-id"
_LOG = EventLog("web.request")
_UNLOGGED = frozenset({"/healthz", "/readyz"})  # asked every second by whoever watches


class RequestId:
    """Middleware that puts ``request_id`` into the scope and the header into the answer."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle one connection."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        given = next((value for name, value in scope["headers"] if name == _HEADER), b"")
        chosen = given if _SANE.fullmatch(given) else uuid4().hex.encode()
        scope["request_id"] = chosen.decode("ascii")

        started = time.monotonic()

        async def answer(message: Message) -> None:
            if message["type"] == "http.response.start":
                _tell(scope, message["status"], time.monotonic() - started)
                message["headers"] = [*message["headers"], (_HEADER, chosen)]
            await send(message)

        await self._app(scope, receive, answer)


def _tell(scope: Scope, status: int, seconds: float) -> None:
    if scope["path"] not in _UNLOGGED:
        _LOG.info(
            "request_answered",
            request_id=scope["request_id"],
            method=scope["method"],
            path=scope["path"],
            status=status,
            ms=round(seconds * 1000, 1),
        )

"""Every error as a problem document; a bad request never gives a traceback or a 5xx."""

import json
from collections.abc import Mapping

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.responses import Response
from starlette.routing import compile_path

from thunderline.errors import BadRange, NotAuthenticated, ThunderlineError, Unavailable
from thunderline.telemetry import EventLog
from thunderline.web.access import routes

_LOG = EventLog("web")
_BODY_LEFT = frozenset({401, 403, 408, 413, 415, 507})
_NOT_ALLOWED = 405
MEDIA_TYPE = "application/problem+json"
_CODES = {404: "NOT_FOUND", 405: "METHOD_NOT_ALLOWED", 408: "REQUEST_TIMEOUT", 415: "UNSUPPORTED_MEDIA_TYPE"}


def problem(
    request: Request,
    *,
    status: int,
    code: str,
    message: str,
    facts: Mapping[str, object] | None = None,
    headers: Mapping[str, str] | None = None,
) -> Response:
    """Return a problem document.

    Args:
        request: whose id is named.
        status: HTTP status.
        code: the stable code.
        message: what happened and what to do.
        facts: what a machine may want beside.
        headers: to send along.

    Source:
        RFC 9457; CONTRACTS 1.1.
    """
    body = {
        **(facts or {}),
        "type": f"urn:thunderline:problem:{code.lower().replace('_', '-')}",
        "title": code.replace("_", " ").capitalize(),
        "status": status,
        "detail": message,
        "code": code,
        "message": message,
        "request_id": request.scope.get("request_id", ""),
    }
    sent = dict(headers or {})
    if request.method in {"POST", "PUT"} and status in _BODY_LEFT:
        sent["Connection"] = "close"  # else the server swallows the whole body that nobody wants
    return Response(json.dumps(body, default=str), status_code=status, media_type=MEDIA_TYPE, headers=sent)


def _headers(error: ThunderlineError) -> dict[str, str]:
    if isinstance(error, Unavailable):
        return {"Retry-After": str(error.retry_after_s)}
    if isinstance(error, BadRange):
        return {"Content-Range": f"bytes */{error.size_bytes}"}
    if isinstance(error, NotAuthenticated):
        return {"WWW-Authenticate": 'ApiKey realm="thunderline"'}
    return {}


def _thunderline(request: Request, error: Exception) -> Response:
    if not isinstance(error, ThunderlineError):
        return _unforeseen(request, error)
    return problem(
        request,
        status=error.status,
        code=error.code,
        message=str(error),
        facts=error.facts,
        headers=_headers(error),
    )


def _http(request: Request, error: Exception) -> Response:
    if not isinstance(error, HTTPException):
        return _unforeseen(request, error)
    code = _CODES.get(error.status_code, f"HTTP_{error.status_code}")
    message = f"{request.method} {request.url.path}: {error.detail}"
    headers = dict(error.headers or {})
    if error.status_code == _NOT_ALLOWED:
        headers["Allow"] = ", ".join(_allowed(request))
    return problem(request, status=error.status_code, code=code, message=message, headers=headers)


def _allowed(request: Request) -> list[str]:
    """Return every method that some route of this path takes; the router knows those of the first only."""
    found: set[str] = set()
    for one in routes(request.app):
        if compile_path(one.path)[0].match(request.url.path):
            found |= one.methods
    return sorted(found)


def _validation(request: Request, error: Exception) -> Response:
    if not isinstance(error, RequestValidationError):
        return _unforeseen(request, error)
    first = error.errors()[0]
    field = ".".join(str(part) for part in first["loc"])
    return problem(
        request,
        status=400,
        code="INVALID_INPUT",
        message=f"{field}: {first['msg']}",
        facts={"field": field},
    )


def _unforeseen(request: Request, error: Exception) -> Response:
    _LOG.error(
        "request_failed",
        exception=error,
        path=request.url.path,
        request_id=request.scope.get("request_id"),
        error_code="INTERNAL",
    )
    return problem(
        request,
        status=500,
        code="INTERNAL",
        message="something went wrong on our side; the log has it under this request id",
        headers={
            "X-Request-ID": str(request.scope.get("request_id", "")),  # this is sent from outside RequestId
            "Connection": "close",  # the server closes after an exception: let the caller not reuse it
        },
    )


def install(app: FastAPI) -> None:
    """Map every error of the application to a problem document, once."""
    app.add_exception_handler(ThunderlineError, _thunderline)
    app.add_exception_handler(HTTPException, _http)
    app.add_exception_handler(RequestValidationError, _validation)
    app.add_exception_handler(Exception, _unforeseen)

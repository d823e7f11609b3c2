"""Is it alive, is it ready."""

from typing import Annotated

from fastapi import APIRouter, Depends, Request
from starlette.responses import JSONResponse, Response

from thunderline.canonical import Json
from thunderline.errors import ThunderlineError
from thunderline.web.access import public
from thunderline.web.auth import services
from thunderline.wiring import Services

router = APIRouter(tags=["health"])


@router.get("/healthz")
@public
async def alive() -> dict[str, Json]:
    """Answer while the process lives."""
    return {"status": "alive"}


@router.get("/readyz")
@public
def ready(request: Request, parts: Annotated[Services, Depends(services)]) -> Response:
    """Answer 200 when Postgres answers and the store can be written and has room, else 503 (S0-04)."""
    checks = checks_of(parts)
    ok = all(problem is None for problem in checks.values())
    body = {
        "status": "ready" if ok else "not ready",
        "checks": {name: problem or "ok" for name, problem in checks.items()},
        "request_id": request.scope.get("request_id", ""),
    }
    return JSONResponse(body, status_code=200 if ok else 503)


def checks_of(parts: Services) -> dict[str, str | None]:
    """Return, for each outside part, what is wrong with it; None when nothing is."""
    return {"postgres": _postgres(parts), "store": _store(parts)}


def _postgres(parts: Services) -> str | None:
    try:
        with parts.database.system() as connection:
            connection.execute("select 1 from tl.relay")
    except ThunderlineError as error:
        return str(error)
    return None


def _store(parts: Services) -> str | None:
    try:
        parts.store.check()
    except ThunderlineError as error:
        return str(error)
    return None

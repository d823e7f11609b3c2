"""The first page: what runs where, and what to try."""

from typing import Annotated

from fastapi import APIRouter, Depends, Request
from jinja2 import Environment, PackageLoader, StrictUndefined, select_autoescape
from starlette.responses import HTMLResponse, JSONResponse

from thunderline.release import VERSION
from thunderline.web.access import PUBLIC, public, routes
from thunderline.web.auth import services
from thunderline.web.health import checks_of
from thunderline.wiring import Services, running_parts

router = APIRouter(include_in_schema=False)
_PAGES = Environment(
    loader=PackageLoader("thunderline.web"), autoescape=select_autoescape(), undefined=StrictUndefined
)
_POLICY = (
    "default-src 'none'; style-src 'unsafe-inline'; base-uri 'none'; form-action 'none'; "
    "frame-ancestors 'none'"
)
_HEADERS = {"Cache-Control": "no-store", "Content-Security-Policy": _POLICY}


@router.get("/")
@public
def first_page(request: Request, parts: Annotated[Services, Depends(services)]) -> HTMLResponse:
    """Show what runs where on this machine; no tenant's data."""
    checks = checks_of(parts)
    running = {one.name: one for one in running_parts(parts.settings) if one.name != "api"}
    rows = [
        {
            "name": name,
            "problem": checks.get(name),
            "state": running[name].state if name in running else "answers",
            "where": running[name].where if name in running else "",
        }
        for name in dict.fromkeys([*running, *checks])
    ]
    page = _PAGES.get_template("home.html").render(
        version=VERSION,
        url=str(request.base_url).rstrip("/"),
        home=parts.settings.platform.home.resolve(),
        store=parts.store.uri(parts.settings.platform.tenant, ""),
        rows=rows,
        is_ready=all(problem is None for problem in checks.values()),
    )
    return HTMLResponse(page, headers=_HEADERS)


@router.get("/docs")
@public
def reference_page(request: Request) -> HTMLResponse:
    """List every route with the right it needs; made from the routes themselves, no script, no network."""
    listed = [
        {
            "method": method,
            "path": one.path,
            "right": one.right or "nobody",
            "summary": one.summary,
        }
        for one in routes(request.app)
        for method in sorted(one.methods - {"HEAD", "OPTIONS"} or one.methods)
        if one.is_documented
    ]
    page = _PAGES.get_template("routes.html").render(version=VERSION, routes=listed)
    return HTMLResponse(page, headers=_HEADERS)


@router.get("/openapi.json")
@public
def openapi_document(request: Request) -> JSONResponse:
    """Return the OpenAPI document, with the right that each route needs."""
    found = request.app.openapi()
    for one in routes(request.app):
        for method in one.methods if one.is_documented and one.right != PUBLIC else ():
            found["paths"][one.path][method.lower()].update(
                {"security": [{"key": []}], "x-thunderline-right": one.right}
            )
    key = {"type": "apiKey", "in": "header", "name": "X-API-Key"}
    found.setdefault("components", {})["securitySchemes"] = {"key": key}
    return JSONResponse(found)

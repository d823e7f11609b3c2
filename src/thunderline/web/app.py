"""The application: routes and lifespan, nothing else."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from anyio.to_thread import current_default_thread_limiter
from fastapi import Depends, FastAPI

from thunderline.events.stream import Wakeup
from thunderline.release import VERSION
from thunderline.web import (
    artifacts,
    console,
    consumers,
    events,
    federations,
    files,
    health,
    models,
    promotions,
    rpc,
)
from thunderline.web.access import refuse_undeclared
from thunderline.web.auth import authorize
from thunderline.web.problems import install
from thunderline.web.request_id import RequestId
from thunderline.wiring import Services

_THREADS = 16  # sync handlers at once; more only queue for the connections to Postgres
_ROOMS = (files, artifacts, models, promotions, rpc, events, consumers, federations, health, console)


def create_app(services: Services) -> FastAPI:
    """Make the application over these services.

    Args:
        services: from ``wiring.open_services``; closed by whoever opened them.

    Raises:
        RuntimeError: a route declares no right.
    """

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        current_default_thread_limiter().total_tokens = _THREADS
        wakeup = Wakeup(services.database)
        wakeup.start()
        app.state.wakeup = wakeup
        try:
            yield
        finally:
            wakeup.stop()

    app = FastAPI(
        title="Thunderline",
        version=VERSION,
        description="The control plane from training to production. Send a key as `X-API-Key`.",
        lifespan=lifespan,
        dependencies=[Depends(authorize)],
        openapi_url=None,
        docs_url=None,
        redoc_url=None,
        redirect_slashes=False,  # an address has one spelling
    )
    app.state.services = services
    return _furnished(app)


def describe_app() -> FastAPI:
    """Make the application without services: it serves nothing, its routes can be read."""
    return _furnished(
        FastAPI(
            title="Thunderline",
            version=VERSION,
            openapi_url=None,
            docs_url=None,
            redoc_url=None,
            redirect_slashes=False,
        )
    )


def _furnished(app: FastAPI) -> FastAPI:
    for room in _ROOMS:
        app.include_router(room.router)
    install(app)
    app.add_middleware(RequestId)
    refuse_undeclared(app)
    return app

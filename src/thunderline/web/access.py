"""Deny by default: each route declares the right it needs, or the application does not start."""

from collections.abc import Callable, Iterator
from typing import TypeVar

from fastapi import FastAPI
from fastapi.routing import APIRoute, iter_route_contexts

from thunderline.identity.principal import SCOPES

PUBLIC = "public"
_MARK = "__thunderline_right__"
Handler = TypeVar("Handler", bound=Callable[..., object])


def needs(scope: str) -> Callable[[Handler], Handler]:
    """Declare the right that a handler's caller must have.

    Args:
        scope: one of ``identity.principal.SCOPES``.

    Raises:
        ValueError: an unknown right, at import time.
    """
    if scope not in SCOPES:
        raise ValueError(f"unknown right {scope}")

    def mark(handler: Handler) -> Handler:
        setattr(handler, _MARK, scope)
        return handler

    return mark


def public(handler: Handler) -> Handler:
    """Declare that anybody may call a handler."""
    setattr(handler, _MARK, PUBLIC)
    return handler


def right_of(endpoint: object) -> str | None:
    """Return what a handler declares, None for nothing: then nobody may call it."""
    found = getattr(endpoint, _MARK, None)
    return found if isinstance(found, str) else None


def routes(app: FastAPI) -> Iterator[tuple[str, frozenset[str], str | None]]:
    """Yield each route's path, methods and declared right (None: undeclared)."""
    for context in iter_route_contexts(app.routes):
        route = context.original_route
        if isinstance(route, APIRoute):
            yield (
                route.path if context.path is None else context.path,
                frozenset(route.methods or ()),
                right_of(route.endpoint),
            )
        else:
            yield str(context.path or route), frozenset(), None


def refuse_undeclared(app: FastAPI) -> None:
    """Stop the start-up of an application with a route that declares no right.

    Raises:
        RuntimeError: names each such route.
    """
    undeclared = [path for path, _, right in routes(app) if right is None]
    if undeclared:
        raise RuntimeError(f"these routes declare no right: {', '.join(sorted(undeclared))}")

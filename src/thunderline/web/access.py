"""Deny by default: each route declares the right it needs, or the application does not start."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import ParamSpec, TypeVar, get_origin

from fastapi import FastAPI
from fastapi.routing import APIRoute, iter_route_contexts

from thunderline.identity.principal import SCOPES

PUBLIC = "public"
_MARK = "__thunderline_right__"
Given = ParamSpec("Given")
Answer = TypeVar("Answer")


def needs(scope: str) -> Callable[[Callable[Given, Answer]], Callable[Given, Answer]]:
    """Declare the right that a handler's caller must have.

    Args:
        scope: one of ``identity.principal.SCOPES``.

    Raises:
        ValueError: an unknown right, at import time.
    """
    if scope not in SCOPES:
        raise ValueError(f"unknown right {scope}")

    def mark(handler: Callable[Given, Answer]) -> Callable[Given, Answer]:
        _declare(handler, scope)
        return handler

    return mark


def public(handler: Callable[Given, Answer]) -> Callable[Given, Answer]:
    """Declare that anybody may call a handler."""
    _declare(handler, PUBLIC)
    return handler


def _declare(handler: Callable[Given, Answer], right: str) -> None:
    setattr(handler, _MARK, right)
    if get_origin(handler.__annotations__.get("return")) is dict:
        # FastAPI would make a response model of it: slower, and it cannot follow the recursion of ``Json``.
        del handler.__annotations__["return"]


def right_of(endpoint: object) -> str | None:
    """Return what a handler declares, None for nothing: then nobody may call it."""
    found = getattr(endpoint, _MARK, None)
    return found if isinstance(found, str) else None


@dataclass(frozen=True, slots=True)
class DeclaredRoute:
    """A route as it is served, and the right it declares (None: undeclared)."""

    path: str
    methods: frozenset[str]
    right: str | None
    summary: str
    is_documented: bool


def routes(app: FastAPI) -> Iterator[DeclaredRoute]:
    """Yield every route, those of included routers too."""
    for context in iter_route_contexts(app.routes):
        route, path = context.original_route, str(context.path or context.original_route)
        if isinstance(route, APIRoute):
            yield DeclaredRoute(
                path,
                frozenset(route.methods or ()),
                right_of(route.endpoint),
                (route.description or route.summary or "").partition("\n")[0],
                route.include_in_schema,
            )
        else:
            yield DeclaredRoute(path, frozenset(), None, "", is_documented=False)


def refuse_undeclared(app: FastAPI) -> None:
    """Stop the start-up of an application with a route that declares no right.

    Raises:
        RuntimeError: names each such route.
    """
    undeclared = sorted(one.path for one in routes(app) if one.right is None)
    if undeclared:
        raise RuntimeError(f"these routes declare no right: {', '.join(undeclared)}")

"""From a request to the services and the principal.

What only looks at the request is ``async`` though it awaits nothing: FastAPI would send a plain function to a
thread, for a fifth of what a small request costs.
"""

from typing import Annotated
from urllib.parse import unquote_to_bytes

from fastapi import Depends, Request

from thunderline.errors import InvalidInput, NotAuthenticated, NotPermitted
from thunderline.identity.principal import Principal
from thunderline.web.access import PUBLIC, right_of
from thunderline.wiring import Services


async def services(request: Request) -> Services:
    """Return what the application was made with."""
    found = request.app.state.services
    if not isinstance(found, Services):
        raise TypeError("the application was made without services")
    return found


def authorize(request: Request, parts: Annotated[Services, Depends(services)]) -> Principal | None:
    """Let a request reach its handler only if its key carries the right that the route declares.

    Runs for every route, before the body is read.

    Returns:
        Who asks; None on a public route.

    Raises:
        NotAuthenticated: no valid key.
        NotPermitted: the key lacks the right, or the route declares none.
        InvalidInput: a zero byte in the address, which no name and no row can hold.
    """
    right = right_of(request.scope.get("endpoint"))
    if right == PUBLIC:
        return None
    principal = parts.authenticator.principal(request.headers.get("x-api-key"))
    if right is None:
        raise NotPermitted("this route declares no right, so nobody may call it")
    principal.require(right)
    if b"\0" in unquote_to_bytes(f"{request.url.path}?{request.url.query}"):
        raise InvalidInput("url", "a zero byte (%00) is part of no name here; leave it out")
    return principal


async def current_principal(found: Annotated[Principal | None, Depends(authorize)]) -> Principal:
    """Return who asks.

    Raises:
        NotAuthenticated: the route is public and so knows nobody.
    """
    if found is None:
        raise NotAuthenticated("this route knows no caller")
    return found

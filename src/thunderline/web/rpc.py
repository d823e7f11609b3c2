"""``POST /rpc/run``: the same acts by name, for callers that speak ``{domain, action, params}``."""

from collections.abc import Callable, Mapping
from typing import Annotated

from fastapi import APIRouter, Depends

from thunderline.canonical import Json
from thunderline.errors import InvalidInput
from thunderline.identity.principal import Principal
from thunderline.web.access import needs
from thunderline.web.auth import current_principal, services
from thunderline.web.body import Document, checked, described, json_body
from thunderline.web.promotions import promote, roll_back
from thunderline.wiring import Services

router = APIRouter(tags=["rpc"])
DOMAIN = "Thunderline.Thundercrown.Domain"
_ACTIONS: Mapping[str, Callable[[Principal, Services, Json], dict[str, Json]]] = {
    "promote_artifact": promote,
    "rollback_artifact": roll_back,
}


class _Call(Document):
    domain: str
    action: str
    params: dict[str, object]


@router.post("/rpc/run", openapi_extra=described(_Call))
@needs("promotions:write")
def run(
    who: Annotated[Principal, Depends(current_principal)],
    parts: Annotated[Services, Depends(services)],
    body: Annotated[Json, Depends(json_body)],
) -> dict[str, Json]:
    """Run an action of the domain (S0-25): `{"success": true, "data": ...}`."""
    form = checked(_Call, body)
    if form.domain != DOMAIN:
        raise InvalidInput("domain", f"{form.domain!r} is unknown; it is {DOMAIN}")
    act = _ACTIONS.get(form.action)
    if act is None:
        raise InvalidInput("action", f"{form.action!r} is unknown; known are {', '.join(_ACTIONS)}")
    params = body.get("params") if isinstance(body, Mapping) else None
    return {"success": True, "action": form.action, "data": act(who, parts, params)}

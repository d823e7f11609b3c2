"""Promote, dry run, roll back."""

from collections.abc import Mapping
from typing import Annotated

from fastapi import APIRouter, Depends
from starlette.responses import JSONResponse, Response

from thunderline.canonical import Json
from thunderline.errors import InvalidInput
from thunderline.identity.principal import Principal
from thunderline.promotion.promote import Outcome
from thunderline.promotion.records import row_by_id
from thunderline.promotion.stage import parse_address, parse_target
from thunderline.web.access import needs
from thunderline.web.auth import current_principal, services
from thunderline.web.body import Document, checked, described, json_body
from thunderline.web.identifier import parse_uuid
from thunderline.wiring import Services

router = APIRouter(prefix="/api", tags=["promotions"])
Who = Annotated[Principal, Depends(current_principal)]
Parts = Annotated[Services, Depends(services)]
Body = Annotated[Json, Depends(json_body)]


class _Promotion(Document):
    """Either ``artifact`` (any address), or ``federation_id`` with ``artifact_uri`` (S0-23)."""

    target_ref: str
    reason: str
    artifact: str | None = None
    federation_id: str | None = None
    artifact_uri: str | None = None
    metadata: dict[str, object] | None = None
    expected_seq: int | None = None
    dry_run: bool = False


class _Rollback(Document):
    target_ref: str
    reason: str
    again: bool = False
    dry_run: bool = False


def promote(who: Principal, parts: Services, body: Json) -> dict[str, Json]:
    """Promote as a document says.

    Args:
        who: the caller.
        parts: the services.
        body: the document.

    Raises:
        InvalidInput: a field is missing, unknown or of a wrong form.
    """
    form = checked(_Promotion, body)
    given = body if isinstance(body, Mapping) else {}
    if (form.artifact is None) == (form.artifact_uri is None):
        raise InvalidInput("artifact_uri", "give artifact_uri with federation_id, or artifact alone")
    if form.artifact_uri is not None and "federation_id" not in given:
        raise InvalidInput("federation_id", "missing; null says that the artifact comes from no federation")
    metadata = given.get("metadata")
    outcome = parts.promotions.promote(
        who,
        target=parse_target(form.target_ref),
        address=parse_address(form.artifact_uri or form.artifact or "", "artifact_uri"),
        reason=form.reason,
        metadata=metadata if isinstance(metadata, Mapping) else {},
        expected_seq=form.expected_seq,
        federation_id=parse_uuid(form.federation_id, "federation_id")
        if form.federation_id is not None
        else None,
        is_dry_run=form.dry_run,
    )
    return answer(outcome, dry_run=form.dry_run)


def roll_back(who: Principal, parts: Services, body: Json) -> dict[str, Json]:
    """Roll back as a document says.

    Args:
        who: the caller.
        parts: the services.
        body: the document.
    """
    form = checked(_Rollback, body)
    outcome = parts.promotions.rollback(
        who,
        target=parse_target(form.target_ref),
        reason=form.reason,
        again=form.again,
        is_dry_run=form.dry_run,
    )
    return answer(outcome, dry_run=form.dry_run)


def answer(outcome: Outcome, *, dry_run: bool) -> dict[str, Json]:
    """Return what came of it: ``planned``, ``unchanged``, ``promoted`` or ``rolled_back``."""
    if dry_run:
        return {"status": "planned", "plan": outcome.plan.to_json()}
    done = "rolled_back" if outcome.plan.intent.kind == "rollback" else "promoted"
    return {
        "status": "unchanged" if outcome.plan.is_noop else done,
        "promotion": dict(outcome.row.document()) if outcome.row else None,
        "latest_published": outcome.is_published,
    }


def _response(done: dict[str, Json]) -> Response:
    return JSONResponse(done, status_code=201 if done["status"] in {"promoted", "rolled_back"} else 200)


@router.post("/promotions", openapi_extra=described(_Promotion))
@needs("promotions:write")
def post_promotion(who: Who, parts: Parts, body: Body) -> Response:
    """Promote an artifact: 201 when the reference moved, 200 when nothing had to change or for a dry run."""
    return _response(promote(who, parts, body))


@router.get("/promotions/{promotion_id}")
@needs("models:read")
def show_promotion(who: Who, parts: Parts, promotion_id: str) -> dict[str, Json]:
    """Return one promotion as its history row tells it."""
    with parts.database.transaction(who.tenant) as connection:
        return dict(row_by_id(connection, parse_uuid(promotion_id, "promotion_id")).document())


@router.post("/rollbacks", openapi_extra=described(_Rollback))
@needs("promotions:rollback")
def post_rollback(who: Who, parts: Parts, body: Body) -> Response:
    """Let a reference hold again what it held before."""
    return _response(roll_back(who, parts, body))

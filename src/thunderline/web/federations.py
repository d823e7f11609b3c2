"""Federations: created from a spec, started, watched, paused, stopped."""

from typing import Annotated
from uuid import UUID

from fastapi import APIRouter, Depends, Query
from starlette.responses import JSONResponse, Response

from thunderline.canonical import Json
from thunderline.clock import to_wire
from thunderline.federation.lease import Lease
from thunderline.federation.lifecycle import Federations
from thunderline.federation.records import (
    Federation,
    Rollup,
    Round,
    completed_rounds,
    federations,
    find_federation,
    leases,
    rollups,
    rounds,
)
from thunderline.identity.principal import Principal
from thunderline.web.access import needs
from thunderline.web.auth import current_principal, services
from thunderline.web.body import raw_body
from thunderline.wiring import Services

router = APIRouter(prefix="/api", tags=["federations"])
Who = Annotated[Principal, Depends(current_principal)]
Parts = Annotated[Services, Depends(services)]
DryRun = Annotated[bool, Query()]
Limit = Annotated[int, Query(ge=1, le=1000)]
_BODY: dict[str, object] = {
    "requestBody": {"required": True, "content": {"application/yaml": {"schema": {"type": "string"}}}}
}


def _acts(parts: Services) -> Federations:
    return Federations(parts.database, parts.store, parts.clock)


def _found(who: Principal, parts: Services, federation: str) -> Federation:
    """Return a federation by id or name."""
    with parts.database.transaction(who.tenant) as connection:
        return find_federation(connection, federation, is_id=_is_id(federation))


def _is_id(text: str) -> bool:
    try:
        return str(UUID(text)) == text.lower()
    except ValueError:
        return False


def _described(one: Federation) -> dict[str, Json]:
    return {
        "id": one.id,
        "name": one.name,
        "model": one.model,
        "status": one.status,
        "message": one.message,
        "tenant_id": one.tenant_id,
        "prefix": one.prefix,
        "rounds_total": one.rounds,
        "created_by": one.created_by,
        "created_at": to_wire(one.created_at),
        "started_at": to_wire(one.started_at) if one.started_at else None,
        "completed_at": to_wire(one.completed_at) if one.completed_at else None,
    }


def _round(one: Round) -> dict[str, Json]:
    return {
        "id": one.id,
        "federation_id": one.federation_id,
        "round_num": one.round_num,
        "status": one.status,
        "metrics_json": one.metrics_json,
        "checkpoint_sha256": one.checkpoint_sha256,
        "started_at": to_wire(one.started_at),
        "completed_at": to_wire(one.completed_at) if one.completed_at else None,
    }


def _rollup(one: Rollup) -> dict[str, Json]:
    return {
        "id": one.id,
        "federation_id": one.federation_id,
        "round_id": one.round_id,
        "aggregates_json": one.aggregates_json,
        "created_at": to_wire(one.created_at),
    }


def _lease(one: Lease) -> dict[str, Json]:
    return {
        "id": one.id,
        "federation_id": one.federation_id,
        "client_id": one.client_id,
        "manifest_uri": one.manifest_uri,
        "lease_expires_at": to_wire(one.lease_expires_at),
        "epochs_max": one.epochs_max,
        "tokens_max": one.tokens_max,
        "status": one.status,
        "created_at": to_wire(one.created_at),
    }


@router.post("/federations", status_code=201, openapi_extra=_BODY)
@needs("federations:write")
def create_federation(
    who: Who,
    parts: Parts,
    content: Annotated[bytes, Depends(raw_body)],
    *,
    dry_run: DryRun = False,
) -> Response:
    """Accept a FederationSpec (YAML or JSON, kept verbatim); `dry_run=true` only checks it."""
    accepted = _acts(parts).create(who, content, is_dry_run=dry_run)
    warnings: list[Json] = list(accepted.warnings)
    if accepted.federation is None:
        spec = accepted.spec
        checked = {
            "name": spec.name,
            "model": spec.model,
            "rounds_total": spec.rounds,
            "clients": len(spec.shards),
        }
        return JSONResponse({"status": "valid", **checked, "warnings": warnings})
    made = accepted.federation
    return JSONResponse(
        {**_described(made), "warnings": warnings},
        status_code=201,
        headers={"Location": f"/api/federations/{made.id}"},
    )


@router.get("/federations")
@needs("federations:read")
def list_federations(who: Who, parts: Parts, limit: Limit = 200) -> dict[str, Json]:
    """List federations, newest first, with how many rounds are completed."""
    with parts.database.transaction(who.tenant) as connection:
        found = federations(connection, limit=limit)
        done = completed_rounds(connection)
    return {
        "federations": [{**_described(one), "rounds_completed": done.get(one.id, 0)} for one in found],
    }


@router.get("/federations/{federation}")
@needs("federations:read")
def show_federation(who: Who, parts: Parts, federation: str) -> dict[str, Json]:
    """Show a federation, named by id or name, with its spec as it was given."""
    found = _found(who, parts, federation)
    with parts.database.transaction(who.tenant) as connection:
        done = completed_rounds(connection).get(found.id, 0)
    return {**_described(found), "rounds_completed": done, "spec_yaml": found.spec_yaml}


@router.get("/federations/{federation}/rounds")
@needs("federations:read")
def list_rounds(
    who: Who, parts: Parts, federation: str, after: Annotated[int, Query(ge=0)] = 0, limit: Limit = 1000
) -> dict[str, Json]:
    """List a federation's rounds in order, those beyond number `after`."""
    found = _found(who, parts, federation)
    with parts.database.transaction(who.tenant) as connection:
        listed = rounds(connection, found.id, after=after, limit=limit)
    return {"federation_id": found.id, "status": found.status, "rounds": [_round(one) for one in listed]}


@router.get("/federations/{federation}/rollups")
@needs("federations:read")
def list_rollups(who: Who, parts: Parts, federation: str, limit: Limit = 1000) -> dict[str, Json]:
    """List the figures of a federation's rounds, oldest first."""
    found = _found(who, parts, federation)
    with parts.database.transaction(who.tenant) as connection:
        listed = rollups(connection, found.id, limit=limit)
    return {"federation_id": found.id, "rollups": [_rollup(one) for one in listed]}


@router.get("/federations/{federation}/leases")
@needs("federations:read")
def list_leases(who: Who, parts: Parts, federation: str, limit: Limit = 1000) -> dict[str, Json]:
    """List a federation's leases, newest first: which client may work, until when."""
    found = _found(who, parts, federation)
    with parts.database.transaction(who.tenant) as connection:
        listed = leases(connection, found.id, limit=limit)
    return {"federation_id": found.id, "leases": [_lease(one) for one in listed]}


@router.post("/federations/{federation}/{action}")
@needs("federations:write")
def act_on_federation(
    who: Who, parts: Parts, federation: str, action: str, *, dry_run: DryRun = False
) -> dict[str, Json]:
    """Start, pause, resume or stop a federation; repeating what already is so changes nothing."""
    found = _found(who, parts, federation)
    return _described(_acts(parts).act(who, found.id, action, is_dry_run=dry_run))

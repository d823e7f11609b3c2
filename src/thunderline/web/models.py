"""Models, versions, lineage, references, candidates, history."""

from typing import Annotated

from fastapi import APIRouter, Depends, Query, Request
from pydantic import Field
from starlette.responses import Response

from thunderline.artifacts.records import artifact_by_id
from thunderline.canonical import Json, canonical_bytes
from thunderline.clock import to_wire
from thunderline.identity.principal import Principal
from thunderline.promotion.candidates import rank
from thunderline.promotion.find import find_artifact
from thunderline.promotion.history import check_chain
from thunderline.promotion.latest import reference_document
from thunderline.promotion.records import history
from thunderline.promotion.stage import parse_address, target_of
from thunderline.registry.lineage import ancestors
from thunderline.registry.model import Model, ModelVersion, parse_gates, parse_model_name
from thunderline.registry.records import (
    edges_above,
    ensure_model,
    find_reference,
    first_hash,
    model_named,
    models,
    references,
    register_version,
    set_gates,
    versions,
)
from thunderline.registry.reference import Reference
from thunderline.web.access import needs
from thunderline.web.auth import current_principal, services
from thunderline.web.body import Document, checked, described, json_body
from thunderline.wiring import Services

router = APIRouter(prefix="/api", tags=["models"])
Who = Annotated[Principal, Depends(current_principal)]
Parts = Annotated[Services, Depends(services)]
Body = Annotated[Json, Depends(json_body)]
Limit = Annotated[int, Query(ge=1, le=1000)]


class _NewModel(Document):
    name: str
    gates: dict[str, object] = Field(default_factory=dict)


class _NewVersion(Document):
    artifact: str


def _model(model: Model) -> dict[str, Json]:
    return {
        "name": model.name,
        "gates": model.gates.to_json(),
        "head_seq": model.head_seq,
        "head_hash": model.head_hash,
        "created_at": to_wire(model.created_at),
        "created_by": model.created_by,
    }


def _version(version: ModelVersion) -> dict[str, Json]:
    return {
        "model": version.model,
        "version": version.version,
        "artifact_id": version.artifact_id,
        "sha256": version.sha256,
        "created_at": to_wire(version.created_at),
        "created_by": version.created_by,
    }


def _reference(reference: Reference) -> dict[str, Json]:
    return {
        "reference": f"{reference.model}:{reference.label}",
        "label": reference.label,
        "version": reference.version,
        "sha256": reference.sha256,
        "seq": reference.seq,
        "promotion_id": reference.promotion_id,
        "updated_at": to_wire(reference.updated_at),
    }


@router.get("/models")
@needs("models:read")
def list_models(who: Who, parts: Parts, after: str = "", limit: Limit = 200) -> dict[str, Json]:
    """List models by name; `after` pages on."""
    with parts.database.transaction(who.tenant) as connection:
        found = models(connection, after=after, limit=limit)
        held = references(connection)
    by_model: dict[str, dict[str, Json]] = {}
    for one in held:
        by_model.setdefault(one.model, {})[one.label] = {"version": one.version, "seq": one.seq}
    return {"models": [{**_model(one), "references": by_model.get(one.name, {})} for one in found]}


@router.post("/models", status_code=201, openapi_extra=described(_NewModel))
@needs("models:write")
def register_model(who: Who, parts: Parts, body: Body) -> dict[str, Json]:
    """Register a model; the same again is the same model. Gates may change until the first promotion."""
    form = checked(_NewModel, body)
    name = parse_model_name(form.name, "name")
    given = body.get("gates") if isinstance(body, dict) else None
    gates = parse_gates(given if given is not None else {})
    with parts.database.transaction(who.tenant) as connection:
        model = ensure_model(
            connection, tenant=who.tenant, name=name, gates=gates, actor=who.actor, at=parts.clock.now()
        )
        if given is not None and model.gates != gates:
            model = set_gates(connection, name, gates)
    return _model(model)


@router.get("/models/{name}")
@needs("models:read")
def show_model(who: Who, parts: Parts, name: str, limit: Limit = 200) -> dict[str, Json]:
    """Show a model with its references and newest versions."""
    with parts.database.transaction(who.tenant) as connection:
        return {
            **_model(model_named(connection, name)),
            "references": [_reference(one) for one in references(connection, name)],
            "versions": [_version(one) for one in versions(connection, name, limit=limit)],
        }


@router.post("/models/{name}/versions", status_code=201, openapi_extra=described(_NewVersion))
@needs("models:write")
def add_version(who: Who, parts: Parts, name: str, body: Body) -> dict[str, Json]:
    """Give an artifact the model's next version number; the same artifact keeps its number."""
    form = checked(_NewVersion, body)
    with parts.database.transaction(who.tenant) as connection:
        artifact = find_artifact(connection, parse_address(form.artifact, "artifact"), model=name)
        return _version(
            register_version(connection, model=name, artifact=artifact, actor=who.actor, at=parts.clock.now())
        )


@router.get("/models/{name}/references/{label}")
@needs("models:read")
def show_reference(who: Who, parts: Parts, request: Request, name: str, label: str) -> Response:
    """Return the reference document that consumers follow, with an ETag that changes when it does."""
    target = target_of(name, label, "label")
    with parts.database.transaction(who.tenant) as connection:
        found = reference_document(connection, tenant=who.tenant, model=name, label=target.label)
    etag = f'"{found["seq"]}-{found["sha256"]}"'
    if etag in [one.strip() for one in request.headers.get("if-none-match", "").split(",")]:
        return Response(status_code=304, headers={"ETag": etag})
    return Response(
        canonical_bytes(found),
        media_type="application/json",
        headers={"ETag": etag, "Cache-Control": "no-cache"},
    )


@router.get("/models/{name}/candidates")
@needs("models:read")
def list_candidates(
    who: Who, parts: Parts, name: str, by: str = "metric", limit: Limit = 200
) -> dict[str, Json]:
    """Rank a model's versions, each with the reasons for and against."""
    with parts.database.transaction(who.tenant) as connection:
        model = model_named(connection, name)
        found = [
            (one, artifact_by_id(connection, one.artifact_id))
            for one in versions(connection, name, limit=limit)
        ]
        active = find_reference(connection, name, "prod")
        champion = artifact_by_id(connection, active.artifact_id) if active else None
        held = references(connection, name)
    return {
        "model": name,
        "by": by,
        "candidates": [one.to_json() for one in rank(model, found, held, champion, by=by)],
    }


@router.get("/models/{name}/history")
@needs("models:read")
def show_history(
    who: Who, parts: Parts, name: str, *, label: str | None = None, after: int = 0, limit: Limit = 1000
) -> dict[str, Json]:
    """Return a model's history, oldest first, and whether its whole chain is sound."""
    with parts.database.transaction(who.tenant) as connection:
        model = model_named(connection, name)
        rows = history(connection, name)
    report = check_chain(
        rows, first_hash=first_hash(who.tenant, name), head_seq=model.head_seq, head_hash=model.head_hash
    )
    wanted = None if label is None else target_of(name, label, "label").label
    shown = [row for row in rows if row.seq > after and wanted in (None, row.label)][:limit]
    return {
        "model": name,
        "chain": {
            "sound": report.is_sound,
            "rows": report.rows,
            "head_hash": report.head_hash,
            "broken_seq": report.broken_seq,
            "problem": report.problem,
        },
        "history": [row.document() for row in shown],
    }


@router.get("/lineage")
@needs("models:read")
def show_lineage(who: Who, parts: Parts, address: str) -> dict[str, Json]:
    """Return what an artifact came from, nearest first."""
    with parts.database.transaction(who.tenant) as connection:
        artifact = find_artifact(connection, parse_address(address))
        steps = ancestors(edges_above(connection, "artifact", artifact.id), "artifact", artifact.id)
    return {
        "artifact_id": artifact.id,
        "sha256": artifact.sha256,
        "uri": artifact.uri,
        "ancestors": [
            {"depth": one.depth, "relation": one.relation, "kind": one.kind, "id": one.id} for one in steps
        ],
    }

"""Model artifacts: a pushed file becomes one, and each can be verified."""

from collections.abc import Mapping
from typing import Annotated

from fastapi import APIRouter, Depends, Query
from pydantic import Field

from thunderline.artifacts.artifact import Artifact, format_of
from thunderline.artifacts.manifest import parse_path
from thunderline.artifacts.records import artifact_by_id, artifacts, find_file, lock_digest, record_artifact
from thunderline.canonical import Json, parse_digest
from thunderline.clock import to_wire
from thunderline.errors import ChecksumMismatch, InvalidInput, NotFound
from thunderline.identity.principal import Principal
from thunderline.promotion.find import find_artifact
from thunderline.promotion.stage import parse_address
from thunderline.registry.lineage import Edge
from thunderline.registry.records import add_edges, model_named, register_version
from thunderline.web.access import needs
from thunderline.web.auth import current_principal, services
from thunderline.web.body import Document, checked, described, json_body
from thunderline.web.identifier import parse_uuid
from thunderline.wiring import Services

router = APIRouter(prefix="/api", tags=["artifacts"])
Who = Annotated[Principal, Depends(current_principal)]
Parts = Annotated[Services, Depends(services)]
Body = Annotated[Json, Depends(json_body)]
_KINDS = ("checkpoint", "adapter", "snapshot", "tokenizer", "run", "other")


class _NewArtifact(Document):
    file_id: str
    name: str
    kind: str = "checkpoint"
    model: str | None = None
    metrics: dict[str, float] = Field(default_factory=dict)
    metadata: dict[str, object] = Field(default_factory=dict)
    trained_on: list[str] = Field(default_factory=list)


def described_artifact(artifact: Artifact) -> dict[str, Json]:
    """Return an artifact as sent: the seven fields of the contract and what else is known."""
    return {
        "id": artifact.id,
        "federation_id": artifact.federation_id,
        "round_id": artifact.round_id,
        "uri": artifact.uri,
        "sha256": artifact.sha256,
        "size_bytes": artifact.size_bytes,
        "format": artifact.format,
        "created_at": to_wire(artifact.created_at),
        "kind": artifact.kind,
        "metrics": artifact.metrics,
        "metadata": artifact.metadata,
        "created_by": artifact.created_by,
    }


@router.post("/artifacts", status_code=201, openapi_extra=described(_NewArtifact))
@needs("artifacts:write")
def post_artifact(who: Who, parts: Parts, body: Body) -> dict[str, Json]:
    """Make an artifact of a file uploaded before; with `model`, a version of that model too."""
    form = checked(_NewArtifact, body)
    given = body if isinstance(body, Mapping) else {}
    digest = parse_digest(form.file_id, "file_id")
    if form.kind not in _KINDS:
        raise InvalidInput("kind", f"expected one of {', '.join(_KINDS)}, got {form.kind!r}")
    name = parse_path(form.name, "name")
    now = parts.clock.now()
    metrics, metadata = given.get("metrics"), given.get("metadata")
    with parts.database.transaction(who.tenant) as connection:
        lock_digest(connection, digest, is_exclusive=False)  # nobody deletes the file meanwhile
        file = find_file(connection, digest)
        if file is None:
            raise NotFound(f"there is no file {digest}; upload it with POST /files first")
        if form.model:
            model_named(connection, form.model)  # before a key is published for it
        uri = parts.store.publish(who.tenant, digest, f"artifacts/{digest}/{name}")
        artifact = record_artifact(
            connection,
            kind=form.kind,
            uri=uri,
            sha256=digest,
            size_bytes=file.size_bytes,
            format=format_of(name),
            metrics=metrics if isinstance(metrics, Mapping) else {},
            metadata=metadata if isinstance(metadata, Mapping) else {},
            actor=who.actor,
            at=now,
        )
        edges = [
            Edge("artifact", artifact.id, "trained_on", "file", parse_digest(one, "trained_on"))
            for one in form.trained_on
        ]
        add_edges(connection, edges, at=now)
        version = (
            register_version(connection, model=form.model, artifact=artifact, actor=who.actor, at=now)
            if form.model
            else None
        )
    return {
        **described_artifact(artifact),
        "model": version.model if version else None,
        "version": version.version if version else None,
    }


@router.get("/artifacts")
@needs("artifacts:read")
def list_artifacts(
    who: Who,
    parts: Parts,
    federation_id: str | None = None,
    limit: Annotated[int, Query(ge=1, le=1000)] = 200,
) -> dict[str, Json]:
    """List artifacts, newest first; of one federation, or of all."""
    wanted = parse_uuid(federation_id, "federation_id") if federation_id else None
    with parts.database.transaction(who.tenant) as connection:
        found = artifacts(connection, federation_id=wanted, limit=limit)
    return {"artifacts": [described_artifact(one) for one in found]}


@router.get("/artifacts/resolve")
@needs("artifacts:read")
def resolve_artifact(who: Who, parts: Parts, address: str) -> dict[str, Json]:
    """Return the artifact that an address names: `name@3`, `name#active`, `name:prod`, `s3://…`, a sha256."""
    with parts.database.transaction(who.tenant) as connection:
        return described_artifact(find_artifact(connection, parse_address(address)))


@router.get("/artifacts/{artifact_id}")
@needs("artifacts:read")
def show_artifact(who: Who, parts: Parts, artifact_id: str) -> dict[str, Json]:
    """Show one artifact."""
    with parts.database.transaction(who.tenant) as connection:
        return described_artifact(artifact_by_id(connection, parse_uuid(artifact_id, "artifact_id")))


@router.post("/artifacts/{artifact_id}/verify")
@needs("artifacts:read")
def verify_artifact(who: Who, parts: Parts, artifact_id: str) -> dict[str, Json]:
    """Read every byte at the artifact's readable key again and compare; a mismatch names both digests."""
    with parts.database.transaction(who.tenant) as connection:
        artifact = artifact_by_id(connection, parse_uuid(artifact_id, "artifact_id"))
    read = parts.store.digest_of(who.tenant, artifact.uri)
    if read != artifact.sha256:
        raise ChecksumMismatch(artifact.uri, recorded=artifact.sha256, read=read)
    return {"verified": True, "sha256": read, "size_bytes": artifact.size_bytes, "uri": artifact.uri}

"""What an applied plan writes: the history row, the reference, the event; pure."""

from collections.abc import Iterable
from datetime import datetime

from thunderline.canonical import Json
from thunderline.clock import to_wire
from thunderline.events.catalog import ArtifactPromoted
from thunderline.promotion.history import HistoryRow, entry_hash, write_entry
from thunderline.promotion.plan import Plan
from thunderline.promotion.stage import stage_of_label
from thunderline.registry.model import Model
from thunderline.registry.reference import Reference


def row_of(plan: Plan, *, tenant: str, model: Model, version: int, identity: str, at: datetime) -> HistoryRow:
    """Return the next row of a model's history (format.md, section 5).

    Args:
        plan: about to be applied.
        tenant: whose history.
        model: as locked, with the head that the row hangs on.
        version: the model's number for the artifact.
        identity: a new UUID.
        at: now.
    """
    intent, situation = plan.intent, plan.situation
    artifact, current, target = situation.artifact, situation.current, intent.target
    previous: Json = None
    if current is not None:
        previous = {"sha256": current.sha256, "seq": current.seq, "version": current.version}
    seq = model.head_seq + 1
    entry = write_entry(
        {
            "actor": intent.actor,
            "artifact_id": artifact.id,
            "artifact_uri": artifact.uri,
            "at": to_wire(at),
            "federation_id": artifact.federation_id,
            "from_stage": situation.from_stage,
            "gates": plan.verdict.to_json(),
            "id": identity,
            "kind": intent.kind,
            "label": target.label,
            "metadata": dict(intent.metadata),
            "model": target.model,
            "prev_hash": model.head_hash,
            "previous": previous,
            "reason": intent.reason,
            "seq": seq,
            "sha256": artifact.sha256,
            "stage": target.stage,
            "target_ref": target.ref,
            "tenant": tenant,
            "version": version,
        }
    )
    return HistoryRow(
        id=identity,
        model=target.model,
        seq=seq,
        kind=intent.kind,
        label=target.label,
        artifact_id=artifact.id,
        version=version,
        sha256=artifact.sha256,
        previous_sha256=current.sha256 if current else None,
        actor=intent.actor,
        reason=intent.reason,
        at=at,
        entry=entry,
        prev_hash=model.head_hash,
        hash=entry_hash(model.head_hash, entry),
    )


def reference_of(row: HistoryRow) -> Reference:
    """Return what the row's reference holds from now on."""
    return Reference(row.model, row.label, row.artifact_id, row.version, row.sha256, row.seq, row.id, row.at)


def event_of(plan: Plan, row: HistoryRow) -> ArtifactPromoted:
    """Return the event that tells of the row (S0-31, S0-39)."""
    return ArtifactPromoted(
        federation_id=plan.situation.artifact.federation_id,
        artifact_uri=plan.situation.artifact.uri,
        target_ref=plan.intent.target.ref,
        sha256=row.sha256,
        model=row.model,
        label=row.label,
        stage=plan.intent.target.stage,
        seq=row.seq,
        version=row.version,
        previous_sha256=row.previous_sha256,
        kind=row.kind,
        actor=row.actor,
        reason=row.reason,
        promotion_id=row.id,
    )


def stage_before(labels: Iterable[str]) -> str | None:
    """Return the stage of the last of these labels that stands for one (decision 5 of the requirements).

    >>> stage_before(["shadow", "edge-eu"])
    'shadow'
    """
    found: str | None = None
    for label in labels:
        found = stage_of_label(label) or found
    return found

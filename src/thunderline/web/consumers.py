"""Consumers: what each runs, and how far a reference is adopted."""

import re
from typing import Annotated, Literal

from fastapi import APIRouter, Depends
from pydantic import Field

from thunderline.canonical import Json, parse_digest
from thunderline.clock import to_wire
from thunderline.errors import InvalidInput, NotFound
from thunderline.identity.principal import Principal
from thunderline.monitor.adoption import ConsumerState, adoption, has_adopted, is_silent
from thunderline.monitor.records import consumers, record_report
from thunderline.promotion.stage import parse_target
from thunderline.registry.records import find_reference, references
from thunderline.web.access import needs
from thunderline.web.auth import current_principal, services
from thunderline.web.body import Document, checked, described, json_body
from thunderline.wiring import Services

router = APIRouter(prefix="/api", tags=["consumers"])
Who = Annotated[Principal, Depends(current_principal)]
Parts = Annotated[Services, Depends(services)]
_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9._:-]{0,127}", re.ASCII)
_REASON_LIMIT = 1000


class _Report(Document):
    reference: str
    watch: Literal["events", "polling"]
    state: Literal["starting", "serving", "rejected"]
    sha256: str | None = None
    seq: Annotated[int, Field(ge=0)] | None = None
    reason: str | None = None


@router.put("/consumers/{consumer_id}", openapi_extra=described(_Report))
@needs("consumers:write")
def put_consumer(
    who: Who, parts: Parts, consumer_id: str, body: Annotated[Json, Depends(json_body)]
) -> dict[str, Json]:
    """Take a consumer's report of what it runs."""
    if not _ID.fullmatch(consumer_id):
        raise InvalidInput("consumer_id", f"{consumer_id[:140]!r} is not an id of letters, digits, '._:-'")
    form = checked(_Report, body)
    target = parse_target(form.reference, "reference")
    with parts.database.transaction(who.tenant) as connection:
        changed = record_report(
            connection,
            consumer_id=consumer_id,
            model=target.model,
            label=target.label,
            watch=form.watch,
            state=form.state,
            sha256=parse_digest(form.sha256) if form.sha256 else None,
            seq=form.seq,
            reason=form.reason[:_REASON_LIMIT] if form.reason else None,
            at=parts.clock.now(),
        )
    return {"consumer_id": consumer_id, "changed": changed}


@router.get("/consumers")
@needs("consumers:read")
def list_consumers(who: Who, parts: Parts) -> dict[str, Json]:
    """List consumers: what each serves, what its reference holds, and how far it lags."""
    with parts.database.transaction(who.tenant) as connection:
        known = consumers(connection)
        held = {(one.model, one.label): one for one in references(connection)}
    now = parts.clock.now()

    def described_consumer(one: ConsumerState) -> dict[str, Json]:
        reference = held.get((one.model, one.label))
        return {
            "consumer_id": one.consumer_id,
            "reference": f"{one.model}:{one.label}",
            "watch": one.watch,
            "state": "silent" if is_silent(one, now) else one.state,
            "adopted": reference is not None and has_adopted(one, reference.sha256, now),
            "sha256": one.sha256,
            "seq": one.seq,
            "reference_seq": reference.seq if reference else None,
            "lag": reference.seq - (one.seq or 0) if reference else None,
            "reason": one.reason,
            "first_seen": to_wire(one.first_seen),
            "last_seen": to_wire(one.last_seen),
        }

    return {"consumers": [described_consumer(one) for one in known]}


@router.get("/consumers/adoption")
@needs("consumers:read")
def show_adoption(who: Who, parts: Parts, reference: str) -> dict[str, Json]:
    """Tell which share of a reference's consumers serves what it holds, and who does not."""
    target = parse_target(reference, "reference")
    with parts.database.transaction(who.tenant) as connection:
        held = find_reference(connection, target.model, target.label)
        known = consumers(connection, model=target.model, label=target.label)
    if held is None:
        raise NotFound(f"{target.ref} holds nothing yet")
    found = adoption(known, held.sha256, parts.clock.now())
    return {
        "reference": target.ref,
        "sha256": held.sha256,
        "consumers": found.consumers,
        "adopted": found.adopted,
        "share": found.share,
        "stragglers": list(found.stragglers),
    }

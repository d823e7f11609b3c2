"""References: ``name:label``, what one holds, and the document that consumers read."""

import re
from dataclasses import dataclass
from datetime import datetime

from thunderline.canonical import Json
from thunderline.clock import to_wire
from thunderline.errors import InvalidInput

SCHEMA = "thunderline/reference/v1"
_LABEL = re.compile(r"[a-z0-9][a-z0-9._-]{0,62}", re.ASCII)


@dataclass(frozen=True, slots=True)
class Reference:
    """What a label holds now."""

    model: str
    label: str
    artifact_id: str
    version: int
    sha256: str
    seq: int  # of the promotion that set it; never goes back
    promotion_id: str
    updated_at: datetime


def parse_label(text: str, field: str = "label") -> str:
    """Return ``text`` if it can be a label.

    Raises:
        InvalidInput: anything but 1 to 63 of lowercase letters, digits, ``._-``; or ``latest``, which
            names the published copy and cannot be promoted to.
    """
    if not _LABEL.fullmatch(text):
        raise InvalidInput(
            field, f"{text[:80]!r} is not a label; use 1 to 63 of a-z, 0-9, '.', '_', '-', such as prod"
        )
    if text == "latest":
        raise InvalidInput(field, "'latest' is written by Thunderline itself; promote to prod instead")
    return text


@dataclass(frozen=True, slots=True)
class Held:
    """What a label holds, with all that a consumer asks of it."""

    model: str
    label: str
    version: int
    sha256: str
    seq: int
    promotion_id: str
    updated_at: datetime
    size_bytes: int
    format: str
    uri: str
    previous_sha256: str | None  # what the promotion replaced
    kind: str  # ``promotion`` or ``rollback``


def document(held: Held, *, tenant: str, stage: str | None) -> dict[str, Json]:
    """Return the reference document of docs/reference/format.md, section 6.

    Args:
        held: what the label holds.
        tenant: whose reference it is.
        stage: the stage the label stands for, None for a free label.
    """
    return {
        "schema": SCHEMA,
        "tenant": tenant,
        "model": held.model,
        "label": held.label,
        "stage": stage,
        "seq": held.seq,
        "version": held.version,
        "sha256": held.sha256,
        "size_bytes": held.size_bytes,
        "format": held.format,
        "uri": held.uri,
        "promotion_id": held.promotion_id,
        "promoted_at": to_wire(held.updated_at),
        "previous_sha256": held.previous_sha256,
        "kind": held.kind,
    }

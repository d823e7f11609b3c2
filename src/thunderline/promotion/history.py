"""The history of a model: entries chained by hash, and the check of a chain."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime

from thunderline.canonical import Json, canonical_bytes, sha256_hex
from thunderline.document import parse_json
from thunderline.errors import IntegrityError

SCHEMA = "thunderline/promotion/v1"


@dataclass(frozen=True, slots=True)
class HistoryRow:
    """One row as stored: the exact bytes that were hashed, and what they hang on."""

    id: str
    model: str
    seq: int
    kind: str
    label: str
    artifact_id: str
    version: int
    sha256: str
    previous_sha256: str | None
    actor: str
    reason: str
    at: datetime
    entry: bytes
    prev_hash: str
    hash: str

    def document(self) -> Mapping[str, Json]:
        """Return the entry as JSON, with its hash beside."""
        entry = parse_json(self.entry, field="entry")
        if not isinstance(entry, Mapping):
            raise IntegrityError(f"history row {self.seq} of {self.model} is not an object")
        return {**entry, "hash": self.hash}


def entry_hash(prev_hash: str, entry: bytes) -> str:
    """Hash an entry onto the chain: sha256 of the previous hash's 32 bytes and the entry's bytes."""
    return sha256_hex(bytes.fromhex(prev_hash) + entry)


def write_entry(fields: Mapping[str, Json]) -> bytes:
    """Return the bytes of an entry: canonical JSON with its schema (format.md, section 5)."""
    return canonical_bytes({"schema": SCHEMA, **fields})


@dataclass(frozen=True, slots=True)
class ChainReport:
    """What a check of a chain found: sound up to the head, or the first broken row and why."""

    rows: int
    head_hash: str
    broken_seq: int | None = None
    problem: str = ""

    @property
    def is_sound(self) -> bool:
        """Tell whether every row hangs on the one before it."""
        return self.broken_seq is None


def check_chain(rows: Iterable[HistoryRow], *, first_hash: str, head_seq: int, head_hash: str) -> ChainReport:
    """Walk a chain from its first row to the head that the model remembers.

    Args:
        rows: oldest first.
        first_hash: what the first row hangs on.
        head_seq: the number of rows there must be.
        head_hash: the hash of the last.

    Returns:
        A report; an edited, missing, doubled or reordered row is named by its number.
    """
    previous, count = first_hash, 0
    for row in rows:
        count += 1
        problem = _problem(row, count, previous)
        if problem:
            return ChainReport(count, previous, count, problem)
        previous = row.hash
    if count != head_seq or previous != head_hash:
        return ChainReport(
            count, previous, count + 1, f"the model remembers {head_seq} rows ending in {head_hash}"
        )
    return ChainReport(count, previous)


def _problem(row: HistoryRow, expected_seq: int, previous: str) -> str:
    if row.seq != expected_seq:
        return f"expected row {expected_seq}, found {row.seq}"
    if row.prev_hash != previous:
        return f"row {row.seq} hangs on {row.prev_hash}, the row before it is {previous}"
    if entry_hash(row.prev_hash, row.entry) != row.hash:
        return f"row {row.seq} was changed: its entry hashes to {entry_hash(row.prev_hash, row.entry)}"
    said = row.document()
    told = (row.seq, row.id, row.label, row.sha256, row.artifact_id, row.version, row.prev_hash, row.actor)
    kept = tuple(
        said.get(key)
        for key in ("seq", "id", "label", "sha256", "artifact_id", "version", "prev_hash", "actor")
    )
    return "" if told == kept else f"row {row.seq}: its columns and its entry disagree"

"""Artifacts, models and history rows for the tests of promotion."""

from datetime import UTC, datetime

from thunderline.artifacts.artifact import Artifact
from thunderline.canonical import Json, sha256_hex
from thunderline.promotion.entry import row_of
from thunderline.promotion.history import HistoryRow
from thunderline.promotion.plan import Intent, Plan, Situation, plan_promotion
from thunderline.promotion.stage import parse_target
from thunderline.registry.model import Gates, MetricGate, Model
from thunderline.registry.records import first_hash
from thunderline.registry.reference import Reference

NOW = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
ACCURACY = Gates(MetricGate("accuracy", "higher", margin=0.01, floor=0.5))


def artifact(name: str = "one", *, metadata: dict[str, Json] | None = None, **metrics: float) -> Artifact:
    return Artifact(
        id=f"00000000-0000-0000-0000-{sha256_hex(name.encode())[:12]}",
        federation_id=None,
        round_id=None,
        kind="checkpoint",
        uri=f"s3://bucket/artifacts/{name}",
        sha256=sha256_hex(name.encode()),
        size_bytes=3,
        format="safetensors",
        metrics=dict(metrics),
        metadata=metadata or {},
        created_at=NOW,
        created_by="ada@default",
    )


def model(gates: Gates = ACCURACY, *, seq: int = 0, head: str | None = None) -> Model:
    return Model("m", gates, seq, head or first_hash("default", "m"), NOW, "ada@default")


def reference(held: Artifact, *, seq: int, version: int = 1, label: str = "prod") -> Reference:
    return Reference(
        "m", label, held.id, version, held.sha256, seq, f"00000000-0000-0000-0000-{seq:012}", NOW
    )


def plan(
    candidate: Artifact,
    *,
    champion: Artifact | None = None,
    gates: Gates = ACCURACY,
    target: str = "m:prod",
    kind: str = "promotion",
    reason: str = "because",
    expected_seq: int | None = None,
    digest_read: str | None = "",
) -> Plan:
    current = reference(champion, seq=4) if champion else None
    intent = Intent(parse_target(target), kind, "ada@default", reason, {}, expected_seq)
    situation = Situation(
        model=model(gates),
        artifact=candidate,
        version=2,
        current=current,
        champion=champion,
        champion_seq=4 if champion else 0,
        from_stage=None,
        digest_read=candidate.sha256 if digest_read == "" else digest_read,
    )
    return plan_promotion(intent, situation)


def chain(*names: str, kinds: str = "") -> list[HistoryRow]:
    """A history in which prod held these artifacts in turn; a kind of ``r`` is a rollback."""
    rows: list[HistoryRow] = []
    for number, name in enumerate(names):
        kind = "rollback" if kinds[number : number + 1] == "r" else "promotion"
        now = model(seq=len(rows), head=rows[-1].hash if rows else None)
        planned = plan(artifact(name, accuracy=0.9), kind=kind)
        rows.append(row_of(planned, tenant="default", model=now, version=1, identity=f"id-{number}", at=NOW))
    return rows

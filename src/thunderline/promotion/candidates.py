"""Candidates: versions ranked, each with the reasons for and against; pure."""

from collections.abc import Iterable
from dataclasses import dataclass

from thunderline.artifacts.artifact import Artifact
from thunderline.canonical import Json
from thunderline.errors import InvalidInput
from thunderline.policy.gates import metric_finding
from thunderline.promotion.plan import as_candidate
from thunderline.registry.model import Model, ModelVersion
from thunderline.registry.reference import Reference

ORDERS = ("metric", "recency")


@dataclass(frozen=True, slots=True)
class RankedCandidate:
    """A version, its place, and why it may or may not become active."""

    rank: int
    version: int
    sha256: str
    uri: str
    round_num: int | None
    metric: str | None
    value: float | None
    is_eligible: bool
    reasons: tuple[str, ...]
    held_by: tuple[str, ...]  # labels that hold it now

    def to_json(self) -> dict[str, Json]:
        """Return the candidate as sent."""
        return {
            "rank": self.rank,
            "version": self.version,
            "sha256": self.sha256,
            "uri": self.uri,
            "round_num": self.round_num,
            "metric": self.metric,
            "value": self.value,
            "eligible": self.is_eligible,
            "reasons": list(self.reasons),
            "held_by": list(self.held_by),
        }


def rank(
    model: Model,
    found: Iterable[tuple[ModelVersion, Artifact]],
    references: Iterable[Reference],
    champion: Artifact | None,
    *,
    by: str = "metric",
) -> list[RankedCandidate]:
    """Rank a model's versions, eligible ones first.

    Args:
        model: whose gates decide.
        found: versions with their artifacts.
        references: what the model's labels hold.
        champion: what is active now, None when nothing is.
        by: ``metric`` (the model's own, in its direction) or ``recency``.

    Raises:
        InvalidInput: another order.

    Source:
        S0-17, S0-18, S3-34.
    """
    if by not in ORDERS:
        raise InvalidInput("by", f"expected one of {', '.join(ORDERS)}, got {by!r}")
    held: dict[str, list[str]] = {}
    for reference in references:
        held.setdefault(reference.sha256, []).append(reference.label)
    rows = [
        _judged(model, version, artifact, champion, tuple(held.get(artifact.sha256, [])))
        for version, artifact in found
    ]
    lower = model.gates.metric is not None and model.gates.metric.direction == "lower"

    def place(one: RankedCandidate) -> tuple[bool, float, int]:
        value = 0.0 if by == "recency" or one.value is None else (one.value if lower else -one.value)
        return (not one.is_eligible, value, -one.version)

    ordered = sorted(rows, key=place)
    return [
        RankedCandidate(
            number, one.version, one.sha256, one.uri, one.round_num, one.metric, one.value,
            one.is_eligible, one.reasons, one.held_by,
        )
        for number, one in enumerate(ordered, start=1)
    ]  # fmt: skip


def _judged(
    model: Model,
    version: ModelVersion,
    artifact: Artifact,
    champion: Artifact | None,
    held_by: tuple[str, ...],
) -> RankedCandidate:
    rule = model.gates.metric
    finding = metric_finding(
        as_candidate(artifact), as_candidate(champion) if champion else None, model.gates
    )
    missing = [key for key in model.gates.required if artifact.metadata.get(key) in (None, "")]
    reasons = [f"{finding.observed}; asked for {finding.expected}"]
    reasons += [f"metadata lacks {key}" for key in missing]
    value = artifact.metrics.get(rule.metric) if rule else None
    number = artifact.metadata.get("round_num")
    return RankedCandidate(
        rank=0,
        version=version.version,
        sha256=artifact.sha256,
        uri=artifact.uri,
        round_num=number if isinstance(number, int) else None,
        metric=rule.metric if rule else None,
        value=float(value) if isinstance(value, int | float) and not isinstance(value, bool) else None,
        is_eligible=finding.ok and not missing,
        reasons=tuple(reasons),
        held_by=held_by,
    )

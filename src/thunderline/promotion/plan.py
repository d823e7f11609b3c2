"""What a promotion would do; the dry run is the plan, and applying takes only the plan."""

from collections.abc import Mapping
from dataclasses import dataclass

from thunderline.artifacts.artifact import Artifact
from thunderline.canonical import Json, canonical_bytes, sha256_hex
from thunderline.errors import ArtifactError, ChecksumMismatch, GateRefused, StaleState, ThunderlineError
from thunderline.policy.evidence import Candidate, Evidence
from thunderline.policy.gates import judge, judge_rollback
from thunderline.policy.verdict import Verdict
from thunderline.promotion.stage import Target
from thunderline.registry.model import Model
from thunderline.registry.reference import Reference


@dataclass(frozen=True, slots=True)
class Intent:
    """What somebody asks for."""

    target: Target
    kind: str  # ``promotion`` or ``rollback``
    actor: str
    reason: str
    metadata: Mapping[str, Json]
    expected_seq: int | None = None  # the reference's seq the caller looked at; None: whatever it is now


@dataclass(frozen=True, slots=True)
class Situation:
    """What is so when the plan is made."""

    model: Model
    artifact: Artifact
    version: int | None  # the model's number for the artifact; None: it gets the next one
    current: Reference | None  # what the reference holds
    champion: Artifact | None
    champion_seq: int  # of the reference that holds the champion, 0 when there is none
    from_stage: str | None
    digest_read: str | None  # None when the object is not in the store


@dataclass(frozen=True, slots=True)
class Plan:
    """A promotion thought through: what moves, from what, by whose word, and what the gates say."""

    intent: Intent
    situation: Situation
    verdict: Verdict
    is_noop: bool

    @property
    def current_seq(self) -> int:
        """Return the seq that the reference must still have when the plan is applied."""
        return self.situation.current.seq if self.situation.current else 0

    def to_json(self) -> dict[str, Json]:
        """Return the plan as a dry run prints it; ``seq``, ``id``, time and hashes are known after apply."""
        target, artifact, current = self.intent.target, self.situation.artifact, self.situation.current
        body: dict[str, Json] = {
            "kind": self.intent.kind,
            "target_ref": target.ref,
            "stage": target.stage,
            "from_stage": self.situation.from_stage,
            "before": None
            if current is None
            else {"sha256": current.sha256, "version": current.version, "seq": current.seq},
            "after": {
                "sha256": artifact.sha256,
                "version": self.situation.version,
                "artifact_uri": artifact.uri,
                "federation_id": artifact.federation_id,
            },
            "actor": self.intent.actor,
            "reason": self.intent.reason,
            "metadata": dict(self.intent.metadata),
            "gates": self.verdict.to_json(),
            "allowed": self.verdict.is_allowed,
            "changes_anything": not self.is_noop,
        }
        return {**body, "plan_id": sha256_hex(canonical_bytes(body))}


def as_candidate(artifact: Artifact) -> Candidate:
    """Return an artifact as the gates see it."""
    return Candidate(artifact.sha256, artifact.uri, artifact.metrics, artifact.metadata)


def plan_promotion(intent: Intent, situation: Situation) -> Plan:
    """Think a promotion or a rollback through.

    Args:
        intent: what is asked.
        situation: what is so.

    Returns:
        A plan; whether it may be applied, ``refuse`` tells.
    """
    evidence = Evidence(
        candidate=as_candidate(situation.artifact),
        champion=as_candidate(situation.champion) if situation.champion else None,
        digest_read=situation.digest_read,
        label=intent.target.label,
        stage=intent.target.stage,
        reason=intent.reason,
    )
    verdict = (
        judge_rollback(evidence) if intent.kind == "rollback" else judge(evidence, situation.model.gates)
    )
    current = situation.current
    return Plan(
        intent, situation, verdict, current is not None and current.sha256 == situation.artifact.sha256
    )


def stale(target: Target, expected_seq: int, current: Reference | None) -> StaleState:
    """Return the refusal for a reference that is not where the caller thinks it is."""
    holds = (
        f"it holds version {current.version} ({current.sha256}) since seq {current.seq}"
        if current
        else "it is empty (seq 0)"
    )
    return StaleState(
        f"{target.ref} is not at seq {expected_seq}: {holds}; nothing was changed, look again",
        current={
            "target_ref": target.ref,
            "seq": current.seq if current else 0,
            "version": current.version if current else None,
            "sha256": current.sha256 if current else None,
            "promotion_id": current.promotion_id if current else None,
        },
    )


def refusal(plan: Plan) -> ThunderlineError | None:
    """Return why a plan must not be applied, None when it may.

    The order: a moved reference, then the bytes, then the other gates.
    """
    intent, situation = plan.intent, plan.situation
    if intent.expected_seq is not None and intent.expected_seq != plan.current_seq:
        return stale(intent.target, intent.expected_seq, situation.current)
    if situation.digest_read is None:
        return ArtifactError(
            f"{situation.artifact.uri} is recorded with sha256 {situation.artifact.sha256} "
            "but is not in the store; nothing was changed. Check the bucket: `thunderline doctor`"
        )
    if situation.digest_read != situation.artifact.sha256:
        return ChecksumMismatch(
            situation.artifact.uri, recorded=situation.artifact.sha256, read=situation.digest_read
        )
    if plan.verdict.is_allowed:
        return None
    digest = situation.artifact.sha256[:12]
    told = "; ".join(
        f"{one.gate} expected {one.expected}, observed {one.observed} ({one.source}); {one.next}"
        for one in plan.verdict.refused()
    )
    return GateRefused(
        f"{intent.target.ref} was not moved to {digest}: {told or 'no gate was asked'}",
        gates=[dict(one.to_json()) for one in plan.verdict.findings],
    )

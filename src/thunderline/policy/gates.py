"""The gates that ship with the product: pure, and closed to whatever is unknown."""

import math

from thunderline.canonical import Json
from thunderline.policy.evidence import Candidate, Evidence
from thunderline.policy.verdict import Finding, Verdict
from thunderline.registry.model import Gates, MetricGate

_NEEDS_NOTHING_MORE = frozenset({"shadow"})  # S4-17, S4-18: shadow has no effect on production


def judge(evidence: Evidence, gates: Gates) -> Verdict:
    """Ask every gate of the stage.

    Shadow asks for intact bytes and a reason; every other label also for the model's required metadata
    and its metric.

    Args:
        evidence: what is known; missing facts refuse.
        gates: what the model declares.

    Source:
        S0-27, S0-28, S4-17, S4-21; notes on gates: write ``ok = finite(x) and x >= y``.
    """
    findings = [_integrity(evidence), _reason(evidence)]
    if evidence.stage not in _NEEDS_NOTHING_MORE:
        findings += [_metadata(evidence, gates), metric_finding(evidence.candidate, evidence.champion, gates)]
    return Verdict(tuple(findings))


def judge_rollback(evidence: Evidence) -> Verdict:
    """Ask only what a rollback asks: intact bytes and a reason; it works with the metric gates away."""
    return Verdict((_integrity(evidence), _reason(evidence)))


def _integrity(evidence: Evidence) -> Finding:
    recorded, read = evidence.candidate.sha256, evidence.digest_read
    return Finding(
        "gate.integrity",
        read is not None and read == recorded,
        f"sha256 {recorded}",
        "no such object" if read is None else f"sha256 {read}",
        evidence.candidate.uri,
        "check bucket, prefix and credentials with `thunderline doctor`, or restore the object from a copy",
    )


def _reason(evidence: Evidence) -> Finding:
    given = evidence.reason.strip()
    return Finding(
        "gate.reason", bool(given), "a reason", given or "none", "request", "say why with --reason"
    )


def _metadata(evidence: Evidence, gates: Gates) -> Finding:
    missing = [key for key in gates.required if evidence.candidate.metadata.get(key) in (None, "")]
    return Finding(
        "gate.metadata",
        not missing,
        f"metadata {', '.join(gates.required)}" if gates.required else "no metadata asked for",
        f"missing {', '.join(missing)}" if missing else "complete",
        "artifact metadata",
        "push the artifact again with the missing metadata" if missing else "",
    )


def metric_finding(candidate: Candidate, champion: Candidate | None, gates: Gates) -> Finding:
    """Ask whether the candidate is not worse than the champion by more than the margin, nor beyond the floor.

    Args:
        candidate: with the metrics measured when it was made.
        champion: what serves now, None when nothing does.
        gates: what the model declares.
    """
    rule = gates.metric
    if rule is None:
        return Finding(
            "gate.metric",
            gates.is_ungated,
            "a metric gate, or a model that is ungated by its owner's word",
            "ungated" if gates.is_ungated else "the model declares no metric",
            "model gates",
            "register the model with --metric NAME --floor VALUE, or with --ungated",
        )
    value = _finite(candidate.metrics.get(rule.metric))
    if value is None:
        return _refused(
            rule, f"a finite {rule.metric}", f"{candidate.metrics.get(rule.metric)!r}", "artifact metrics"
        )
    if champion is None and rule.floor is None:
        return _refused(rule, "a champion or a floor to compare with", "neither", "model gates")
    if champion is not None and champion.evaluated_on != candidate.evaluated_on:
        return _refused(
            rule,
            f"measured on the champion's data {champion.evaluated_on}",
            f"measured on {candidate.evaluated_on}",
            "artifact metadata",
        )
    return _compared(rule, value, champion)


def _compared(rule: MetricGate, value: float, champion: Candidate | None) -> Finding:
    bounds: list[tuple[str, float]] = []
    if rule.floor is not None:
        bounds.append(("floor", rule.floor))
    if champion is not None:
        best = _finite(champion.metrics.get(rule.metric))
        if best is None:
            return _refused(rule, f"a champion with a finite {rule.metric}", "none", "champion metrics")
        bounds.append(
            (f"champion {best:.6g}", best - rule.margin if rule.direction == "higher" else best + rule.margin)
        )
    broken = [(name, bound) for name, bound in bounds if not _holds(rule.direction, value, bound)]
    sign = ">=" if rule.direction == "higher" else "<="
    return Finding(
        "gate.metric",
        not broken,
        " and ".join(f"{rule.metric} {sign} {bound:.6g} ({name})" for name, bound in bounds),
        f"{rule.metric} {value:.6g}",
        "artifact metrics",
        "promote a better candidate; `thunderline model candidates` ranks those of a model" if broken else "",
    )


def _holds(direction: str, value: float, bound: float) -> bool:
    return value >= bound if direction == "higher" else value <= bound


def _finite(value: Json) -> float | None:
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    try:
        number = float(value)
    except OverflowError:  # a whole number beyond what a float holds
        return None
    return number if math.isfinite(number) else None


def _refused(rule: MetricGate, expected: str, observed: str, source: str) -> Finding:
    return Finding(
        gate="gate.metric",
        ok=False,
        expected=expected,
        observed=observed,
        source=source,
        next=f"evaluate the candidate's {rule.metric} and push it again",
    )

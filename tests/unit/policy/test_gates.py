"""Each gate: yes, no, and unknown, which is no."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from thunderline.canonical import Json
from thunderline.policy.evidence import Candidate, Evidence
from thunderline.policy.gates import judge, judge_rollback, metric_finding
from thunderline.policy.verdict import Finding, Verdict
from thunderline.registry.model import Gates, MetricGate

GOOD, BAD = "a" * 64, "b" * 64
HIGHER = Gates(MetricGate("accuracy", "higher", margin=0.05, floor=0.5))
LOWER = Gates(MetricGate("loss", "lower", margin=0.1, floor=2.0))


def candidate(metadata: dict[str, Json] | None = None, **metrics: Json) -> Candidate:
    return Candidate(GOOD, "s3://b/k", metrics, metadata or {})


def evidence(
    one: Candidate | None = None,
    *,
    champion: Candidate | None = None,
    read: str | None = GOOD,
    stage: str | None = "active",
    reason: str = "because",
) -> Evidence:
    return Evidence(one or candidate(accuracy=0.9), champion, read, "prod", stage, reason)


def refusers(verdict: Verdict) -> list[str]:
    return [one.gate for one in verdict.refused()]


def test_what_is_whole_explained_and_good_enough_may_go() -> None:
    verdict = judge(evidence(), HIGHER)
    assert verdict.is_allowed
    assert [one.gate for one in verdict.findings] == [
        "gate.integrity",
        "gate.reason",
        "gate.metadata",
        "gate.metric",
    ]


@pytest.mark.parametrize("read", [BAD, None, ""])
def test_other_bytes_or_none_may_not_go(read: str | None) -> None:
    for verdict in (judge(evidence(read=read), HIGHER), judge_rollback(evidence(read=read))):
        assert refusers(verdict) == ["gate.integrity"]
        assert GOOD in verdict.refused()[0].expected


@pytest.mark.parametrize("reason", ["", "  ", "\n\t"])
def test_nothing_moves_without_a_reason(reason: str) -> None:
    assert refusers(judge(evidence(reason=reason), HIGHER)) == ["gate.reason"]
    assert refusers(judge_rollback(evidence(reason=reason))) == ["gate.reason"]


@pytest.mark.parametrize("value", [None, ""])
def test_required_metadata_must_say_something(value: Json) -> None:
    gates = Gates(HIGHER.metric, required=("git_sha", "dataset_id"))
    partly = candidate({"git_sha": value, "dataset_id": "d"}, accuracy=0.9)
    (refused,) = judge(evidence(partly), gates).refused()
    assert (refused.gate, refused.observed) == ("gate.metadata", "missing git_sha")
    assert refused.next
    whole = candidate({"git_sha": "1", "dataset_id": 0}, accuracy=0.9)
    assert judge(evidence(whole), gates).is_allowed


@pytest.mark.parametrize(
    ("gates", "name", "value", "champion", "ok"),
    [
        (HIGHER, "accuracy", 0.5, None, True),
        (HIGHER, "accuracy", 0.499, None, False),
        (HIGHER, "accuracy", 0.85, 0.9, True),
        (HIGHER, "accuracy", 0.849, 0.9, False),
        (HIGHER, "accuracy", 0.46, 0.5, False),  # within the margin, below the floor
        (HIGHER, "accuracy", 1, 0.9, True),
        (LOWER, "loss", 2.0, None, True),
        (LOWER, "loss", 2.001, None, False),
        (LOWER, "loss", 1.1, 1.0, True),
        (LOWER, "loss", 1.11, 1.0, False),
        (LOWER, "loss", -5.0, 1.0, True),
    ],
)
def test_the_metric_is_held_against_champion_and_floor(
    gates: Gates, name: str, value: Json, champion: Json, *, ok: bool
) -> None:
    against = candidate(**{name: champion}) if champion is not None else None
    finding = metric_finding(candidate(**{name: value}), against, gates)
    assert finding.ok is ok
    assert bool(finding.next) is not ok


SENSELESS = [None, math.nan, math.inf, -math.inf, True, "0.9", [0.9], {"value": 0.9}, 10**400]


@pytest.mark.parametrize("value", SENSELESS)
@pytest.mark.parametrize("gates", [HIGHER, LOWER])
def test_a_figure_that_says_nothing_is_no(value: Json, gates: Gates) -> None:
    assert gates.metric is not None
    name = gates.metric.metric
    assert not metric_finding(candidate(**{name: value}), None, gates).ok
    assert not metric_finding(candidate(**{name: 1.0}), candidate(**{name: value}), gates).ok


def test_nothing_to_compare_with_is_no() -> None:
    without_floor = Gates(MetricGate("accuracy", "higher", margin=0.0, floor=None))
    assert not metric_finding(candidate(accuracy=0.99), None, without_floor).ok
    assert metric_finding(candidate(accuracy=0.99), candidate(accuracy=0.9), without_floor).ok


def test_figures_from_two_sets_of_data_are_no_comparison() -> None:
    here, there = {"evaluated_on": "x"}, {"evaluated_on": "y"}
    old, new = candidate(here, accuracy=0.9), candidate(there, accuracy=0.99)
    assert not metric_finding(new, old, HIGHER).ok
    assert not metric_finding(candidate(accuracy=0.99), old, HIGHER).ok
    assert metric_finding(candidate(here, accuracy=0.99), old, HIGHER).ok


def test_a_model_that_asks_nothing_lets_nothing_through_until_it_says_so() -> None:
    assert refusers(judge(evidence(), Gates())) == ["gate.metric"]
    assert judge(evidence(), Gates(is_ungated=True)).is_allowed


def test_only_shadow_asks_for_less() -> None:
    unknown = candidate()
    assert judge(evidence(unknown, stage="shadow"), Gates()).is_allowed
    for stage in ("staging", "active", None, "Shadow", ""):
        assert refusers(judge(evidence(unknown, stage=stage), Gates())) == ["gate.metric"]


def test_a_rollback_asks_for_no_figures() -> None:
    assert judge_rollback(evidence(candidate())).is_allowed


def test_no_gate_at_all_is_a_no() -> None:
    assert not Verdict(()).is_allowed


def test_one_no_is_a_no() -> None:
    yes, no = (
        Finding("a", ok=True, expected="", observed="", source=""),
        Finding("b", ok=False, expected="", observed="", source=""),
    )
    assert not Verdict((yes, no, yes)).is_allowed
    assert Verdict((yes, no, yes)).refused() == (no,)
    assert Verdict((yes, yes)).is_allowed


@given(value=st.floats(), champion=st.none() | st.floats(), margin=st.floats(0, 10), floor=st.floats(-10, 10))
def test_a_yes_is_always_a_finite_figure_within_its_bounds(
    value: float, champion: float | None, margin: float, floor: float
) -> None:
    gates = Gates(MetricGate("accuracy", "higher", margin=margin, floor=floor))
    against = None if champion is None else candidate(accuracy=champion)
    if metric_finding(candidate(accuracy=value), against, gates).ok:
        assert math.isfinite(value)
        assert value >= floor
        assert champion is None or (math.isfinite(champion) and value >= champion - margin)

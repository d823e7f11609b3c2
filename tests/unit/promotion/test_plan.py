"""What a plan refuses, and in which words."""

import math

import pytest

from tests.unit.promotion.builders import ACCURACY, artifact, plan
from thunderline.errors import ArtifactError, ChecksumMismatch, GateRefused, StaleState
from thunderline.promotion.plan import refusal
from thunderline.registry.model import Gates, MetricGate


def test_a_better_candidate_may_go() -> None:
    assert refusal(plan(artifact("b", accuracy=0.95), champion=artifact("a", accuracy=0.9))) is None


def test_a_candidate_within_the_margin_may_go() -> None:
    assert refusal(plan(artifact("b", accuracy=0.895), champion=artifact("a", accuracy=0.9))) is None


@pytest.mark.parametrize("accuracy", [0.88, 0.0, math.nan, math.inf, -math.inf])
def test_a_worse_or_senseless_metric_is_refused(accuracy: float) -> None:
    refused = refusal(plan(artifact("b", accuracy=accuracy), champion=artifact("a", accuracy=0.9)))
    assert isinstance(refused, GateRefused)
    assert "gate.metric" in str(refused)


def test_a_lower_metric_is_better_when_the_model_says_so() -> None:
    gates = Gates(MetricGate("perplexity", "lower", margin=0.5, floor=100.0))
    champion = artifact("a", perplexity=20.0)
    assert refusal(plan(artifact("b", perplexity=20.4), champion=champion, gates=gates)) is None
    assert isinstance(
        refusal(plan(artifact("b", perplexity=20.6), champion=champion, gates=gates)), GateRefused
    )


def test_a_missing_metric_is_refused() -> None:
    assert isinstance(refusal(plan(artifact("b"), champion=artifact("a", accuracy=0.9))), GateRefused)


def test_without_champion_and_floor_nothing_is_known_and_so_refused() -> None:
    gates = Gates(MetricGate("accuracy", "higher", margin=0.0, floor=None))
    assert isinstance(refusal(plan(artifact("b", accuracy=0.99), gates=gates)), GateRefused)


def test_a_champion_without_the_metric_is_no_comparison() -> None:
    assert isinstance(refusal(plan(artifact("b", accuracy=0.99), champion=artifact("a"))), GateRefused)


def test_figures_from_other_data_are_no_comparison() -> None:
    champion = artifact("a", metadata={"evaluated_on": "x" * 64}, accuracy=0.9)
    candidate = artifact("b", metadata={"evaluated_on": "y" * 64}, accuracy=0.99)
    refused = refusal(plan(candidate, champion=champion))
    assert isinstance(refused, GateRefused)
    assert "champion's data" in str(refused)


def test_a_model_without_declared_gates_is_refused_until_somebody_says_ungated() -> None:
    assert isinstance(refusal(plan(artifact("b"), gates=Gates())), GateRefused)
    assert refusal(plan(artifact("b"), gates=Gates(is_ungated=True))) is None


def test_required_metadata_is_asked_for() -> None:
    gates = Gates(ACCURACY.metric, required=("git_sha",))
    refused = refusal(plan(artifact("b", accuracy=0.9), gates=gates))
    assert isinstance(refused, GateRefused)
    assert "missing git_sha" in str(refused)
    assert refusal(plan(artifact("b", metadata={"git_sha": "1"}, accuracy=0.9), gates=gates)) is None


def test_shadow_asks_for_bytes_and_a_reason_only() -> None:
    assert refusal(plan(artifact("b"), gates=Gates(), target="m:shadow")) is None
    assert isinstance(refusal(plan(artifact("b"), target="m:shadow", reason="  ")), GateRefused)


def test_a_free_label_is_gated_as_active_is() -> None:
    assert isinstance(refusal(plan(artifact("b"), target="m:edge-eu")), GateRefused)


def test_other_bytes_are_refused_with_both_digests() -> None:
    candidate = artifact("b", accuracy=0.9)
    refused = refusal(plan(candidate, digest_read="f" * 64))
    assert isinstance(refused, ChecksumMismatch)
    assert candidate.sha256 in str(refused)
    assert "f" * 64 in str(refused)


def test_absent_bytes_are_refused() -> None:
    refused = refusal(plan(artifact("b", accuracy=0.9), digest_read=None))
    assert isinstance(refused, ArtifactError)
    assert "not in the store" in str(refused)


def test_a_moved_reference_is_told_before_anything_else() -> None:
    refused = refusal(
        plan(artifact("b"), champion=artifact("a", accuracy=0.9), expected_seq=3, digest_read=None)
    )
    assert isinstance(refused, StaleState)
    assert refused.current["seq"] == 4


def test_a_rollback_asks_for_intact_bytes_only() -> None:
    worse, champion = artifact("b", accuracy=0.1), artifact("a", accuracy=0.9)
    assert refusal(plan(worse, champion=champion, kind="rollback")) is None
    assert isinstance(
        refusal(plan(worse, champion=champion, kind="rollback", digest_read="f" * 64)), ChecksumMismatch
    )


def test_what_already_stands_changes_nothing() -> None:
    same = artifact("a", accuracy=0.9)
    assert plan(same, champion=same).is_noop


def test_the_same_plan_has_the_same_id_and_another_plan_another() -> None:
    first, again = plan(artifact("b", accuracy=0.9)), plan(artifact("b", accuracy=0.9))
    other = plan(artifact("b", accuracy=0.9), reason="else")
    assert first.to_json()["plan_id"] == again.to_json()["plan_id"]
    assert first.to_json()["plan_id"] != other.to_json()["plan_id"]

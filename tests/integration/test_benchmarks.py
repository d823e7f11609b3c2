"""The benchmarks run, and what they write is whole; whether a figure is good is not for a test to say."""

import json
import math
import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

import pytest

from benchmarks.__main__ import QUESTIONS, main
from benchmarks.answer import RESULTS, Figure, Peer, Target, percentile
from benchmarks.report import PAGE, page, read_results

ROOT = Path(__file__).resolve().parents[2]
FIELDS = {
    "schema", "question", "asks", "date", "quick", "machine", "load_average", "noisy", "skipped", "figures",
}  # fmt: skip
FIGURE_FIELDS = {
    "name", "unit", "runs", "median", "peer", "peer_runs", "peer_median", "ratio", "target", "met",
}  # fmt: skip
MAY_BE_ZERO = {"difference"}  # two ways to the same model


def figure(*runs: float, peer: tuple[float, ...] | None = None, target: Target | None = None) -> Figure:
    return Figure("it", "ms", runs, None if peer is None else Peer("other", peer), target)


def problems_of(result: Mapping[str, object]) -> list[str]:
    """Name everything that a whole result would not have."""
    figures = result["figures"]
    assert isinstance(figures, list)
    found = [] if set(result) == FIELDS else [f"fields {sorted(result)}"]
    found += [] if figures else ["no figures"]
    for one in figures:
        numbers = [*one["runs"], one["median"]]
        if one["peer"] is not None:
            numbers += [*one["peer_runs"], one["peer_median"], one["ratio"]]
        if set(one) != FIGURE_FIELDS or len(one["runs"]) < 2:
            found.append(f"{one['name']}: fields or runs are missing")
        least = 0 if one["unit"] in MAY_BE_ZERO else math.ulp(0.0)
        if not all(
            isinstance(number, float) and math.isfinite(number) and number >= least for number in numbers
        ):
            found.append(f"{one['name']}: {numbers}")
        if (one["target"] is None) != (one["met"] is None):
            found.append(f"{one['name']}: a target without a verdict, or a verdict without a target")
    return found


@pytest.mark.slow
@pytest.mark.timeout(240)
@pytest.mark.parametrize("question", ["promote", "lookup", "events", "federation", "transfer"])
def test_a_quick_run_of_a_question_leaves_a_whole_result(question: str, tmp_path: Path) -> None:
    measured = subprocess.run(
        [sys.executable, "-m", "benchmarks", "--quick", "--into", str(tmp_path), question],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT / "src")},
        capture_output=True,
        text=True,
        check=False,
        timeout=200,
    )
    assert measured.returncode == 0, measured.stderr
    (result,) = read_results(tmp_path)
    assert problems_of(result) == []
    assert (result["question"], result["quick"]) == (question, True)
    assert measured.stdout.startswith("| figure | median |")
    figures = result["figures"]
    assert isinstance(figures, list)
    assert len(measured.stdout.splitlines()) == 2 + len(figures)


@pytest.mark.parametrize("question", QUESTIONS)
def test_every_question_has_a_committed_result_of_a_real_run(question: str) -> None:
    result = json.loads((RESULTS / f"{question}.json").read_text(encoding="utf-8"))
    assert result["skipped"] or problems_of(result) == []
    assert (result["question"], result["quick"]) == (question, False)
    assert result["asks"] == QUESTIONS[question].ASKS


def test_the_page_shows_the_committed_results() -> None:
    assert PAGE.read_text(encoding="utf-8") == page(read_results(RESULTS)), "run: make bench ARGS=--report"


def test_a_committed_result_names_no_place_on_a_machine() -> None:
    places = [f"{one}/" for one in Path("/").iterdir()]
    texts = {one.name: one.read_text(encoding="utf-8") for one in RESULTS.glob("*.json")}
    assert [name for name, text in texts.items() if any(one in text for one in places)] == []


def test_an_unknown_question_is_refused_with_the_known_ones(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["speed"]) == 2
    assert f"no question speed; known are {', '.join(QUESTIONS)}" in capsys.readouterr().err


def test_a_ratio_compares_each_run_with_the_peer_beside_it() -> None:
    assert figure(10, 40, 30, peer=(5, 10, 10)).ratio == 3
    assert figure(10).ratio is None


@pytest.mark.parametrize(
    ("runs", "peer", "target", "verdict"),
    [
        ((1, 2, 9), None, None, None),
        ((1, 2, 9), None, Target(2), True),
        ((1, 3, 9), None, Target(2), False),
        ((1, 3, 9), None, Target(3, is_least=True), True),
        ((1, 2, 9), None, Target(3, is_least=True), False),
        ((8, 8), (4, 4), Target(2, of_ratio=True), True),
        ((9, 9), (4, 4), Target(2, of_ratio=True), False),
        ((9, 9), None, Target(100, of_ratio=True), False),
        ((math.nan,), None, Target(100), False),
    ],
)
def test_a_target_is_met_only_when_the_middle_keeps_to_it(
    runs: tuple[float, ...], peer: tuple[float, ...] | None, target: Target | None, verdict: object
) -> None:
    assert figure(*runs, peer=peer, target=target).is_met is verdict


@pytest.mark.parametrize(("share", "expected"), [(0.5, 50), (0.99, 99), (1.0, 100), (0.001, 1)])
def test_a_percentile_is_a_value_that_was_measured(share: float, expected: float) -> None:
    assert percentile([float(one) for one in range(100, 0, -1)], share) == expected

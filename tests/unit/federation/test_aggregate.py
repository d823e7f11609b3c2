"""What a round's average promises."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as some

from tests.federations import base_model
from thunderline.errors import InvalidInput
from thunderline.federation.aggregate import Update, problem_of, weighted_mean


def update(*values: float, examples: float = 1) -> Update:
    return Update({"w0": np.array(values, np.float32)}, examples)


def test_the_mean_is_the_one_computed_by_hand() -> None:
    mean = weighted_mean([update(1, 10, examples=1), update(3, 20, examples=2), update(5, 60, examples=5)])
    assert mean["w0"].tolist() == [(1 + 6 + 25) / 8, (10 + 40 + 300) / 8]


@given(
    some.lists(some.tuples(some.floats(-100, 100, width=32), some.integers(1, 1000)), min_size=1, max_size=20)
)
def test_the_order_of_arrival_does_not_matter_and_the_mean_lies_between(
    found: list[tuple[float, int]],
) -> None:
    updates = [update(value, examples=count) for value, count in found]
    forward, backward = weighted_mean(updates)["w0"], weighted_mean(updates[::-1])["w0"]
    assert forward == pytest.approx(backward)
    values = [value for value, _ in found]
    assert min(values) - 1e-3 <= forward[0] <= max(values) + 1e-3


def test_a_thousand_small_clients_beside_a_large_one_are_not_lost_to_rounding() -> None:
    large = update(2.0**24)  # in float32, adding 1 to it changes nothing
    mean = weighted_mean([large, *[update(1.0)] * 1000])["w0"][0]
    assert mean == pytest.approx((2.0**24 + 1000) / 1001, rel=1e-6)


def test_nothing_to_average_is_refused() -> None:
    with pytest.raises(InvalidInput, match="no client trained"):
        weighted_mean([])


GOOD = base_model()
BAD = {
    "a missing array": ({name: one for name, one in GOOD.items() if name != "b1"}, 5, "instead of"),
    "a foreign array": ({**GOOD, "extra": GOOD["b1"]}, 5, "instead of"),
    "another shape": ({**GOOD, "w0": GOOD["w0"].T}, 5, "array w0"),
    "another type": ({**GOOD, "b0": GOOD["b0"].astype(np.float64)}, 5, "float64"),
    "NaN": ({**GOOD, "b0": np.full_like(GOOD["b0"], np.nan)}, 5, "NaN"),
    "infinity": ({**GOOD, "b0": np.full_like(GOOD["b0"], np.inf)}, 5, "infinity"),
    "no weight": (GOOD, 0, "weight 0"),
    "a negative weight": (GOOD, -30, "weight -30"),
    "a weight beyond its data": (GOOD, 1e12, "weight"),
    "a weight that is NaN": (GOOD, float("nan"), "weight nan"),
}


@pytest.mark.parametrize("name", BAD)
def test_a_broken_update_is_named(name: str) -> None:
    arrays, weight, told = BAD[name]
    found = problem_of(Update(arrays, weight), GOOD, most_examples=10)  # type: ignore[arg-type]
    assert found is not None
    assert told in found


def test_a_good_update_has_no_problem() -> None:
    assert problem_of(Update(GOOD, 10), GOOD, most_examples=10) is None

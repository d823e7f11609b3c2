"""Which clients a round asks."""

import pytest
from hypothesis import given
from hypothesis import strategies as some

from thunderline.errors import InvalidInput
from thunderline.federation.selection import round_seed, select


@given(
    some.sets(some.integers(0, 10_000), min_size=1, max_size=60),
    some.floats(0.01, 1.0),
    some.integers(0, 2**31),
)
def test_a_draw_is_a_sorted_part_of_the_right_size(found: set[int], fraction: float, seed: int) -> None:
    drawn = select(sorted(found), fraction=fraction, min_available=1, seed=seed)
    assert drawn == sorted(set(drawn))
    assert set(drawn) <= found
    assert len(drawn) == max(1, int(len(found) * fraction))


def test_the_order_of_clients_does_not_matter() -> None:
    forward, backward = list(range(30)), list(range(29, -1, -1))
    draws = [select(one, fraction=0.3, min_available=1, seed=4) for one in (forward, backward)]
    assert draws[0] == draws[1]


def test_rounds_and_seeds_draw_differently_and_repeat_themselves() -> None:
    seeds = [round_seed(number, 7) for number in range(1, 20)] + [round_seed(1, 8)]
    assert len(set(seeds)) == len(seeds)
    assert round_seed(3, 7) == seeds[2]
    draws = {tuple(select(list(range(40)), fraction=0.2, min_available=1, seed=one)) for one in seeds}
    assert len(draws) > 15


def test_every_client_is_drawn_about_equally_often() -> None:
    counts = dict.fromkeys(range(10), 0)
    for number in range(1, 2001):
        for client in select(list(counts), fraction=0.3, min_available=1, seed=round_seed(number, 0)):
            counts[client] += 1
    assert min(counts.values()) > 500
    assert max(counts.values()) < 700


def test_at_least_the_minimum_is_asked() -> None:
    assert len(select(list(range(10)), fraction=0.1, min_available=5, seed=1)) == 5


@pytest.mark.parametrize("found", [[], [1, 2]])
def test_too_few_clients_are_refused(found: list[int]) -> None:
    with pytest.raises(InvalidInput, match=f"{len(found)} available, the spec asks for at least 3"):
        select(found, fraction=1.0, min_available=3, seed=0)

"""What every error of the house carries."""

import pytest

from thunderline.errors import (
    BadRange,
    ChecksumMismatch,
    GateRefused,
    InvalidInput,
    StaleState,
    StillReferenced,
    ThunderlineError,
    TooLarge,
    Unavailable,
)


def leaves(stem: type[ThunderlineError]) -> list[type[ThunderlineError]]:
    ours = [one for one in stem.__subclasses__() if one.__module__ == stem.__module__]
    return [stem, *(leaf for child in ours for leaf in leaves(child))]


def test_codes_are_upper_case_and_each_stands_once() -> None:
    codes = [one.code for one in leaves(ThunderlineError)]
    assert len(codes) == len(set(codes)) >= 18
    assert all(code == code.upper() for code in codes)


@pytest.mark.parametrize("kind", leaves(ThunderlineError))
def test_each_error_has_a_status_of_http_and_an_exit_of_the_contract(kind: type[ThunderlineError]) -> None:
    assert 400 <= kind.status <= 599
    assert 1 <= kind.exit <= 8


def test_invalid_input_names_the_field() -> None:
    error = InvalidInput("rounds", "must be at least 1")
    assert str(error) == "rounds: must be at least 1"
    assert error.facts == {"field": "rounds"}
    assert (TooLarge.status, TooLarge.exit) == (413, 2)


def test_a_mismatch_names_both_digests() -> None:
    error = ChecksumMismatch("the object", recorded="a" * 64, read="b" * 64)
    assert "a" * 64 in str(error)
    assert "b" * 64 in str(error)
    assert error.facts == {"recorded": "a" * 64, "read": "b" * 64}
    assert error.exit == 6


def test_facts_say_what_a_machine_wants_beside_the_sentence() -> None:
    assert StaleState("moved", current={"seq": 3}).facts == {"current": {"seq": 3}}
    assert GateRefused("no", gates=[{"name": "metric"}]).facts == {"gates": [{"name": "metric"}]}
    assert Unavailable("postgres", "away").facts == {"part": "postgres"}
    assert "5 bytes" in str(BadRange(5))


def test_what_still_refers_is_listed() -> None:
    error = StillReferenced(
        "file x", [{"kind": "artifact", "id": "1"}, {"kind": "reference", "id": "m:prod"}]
    )
    assert str(error).startswith("file x is still referred to by artifact 1, reference m:prod;")

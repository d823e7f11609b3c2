"""Where a rollback goes."""

import pytest

from tests.unit.promotion.builders import chain
from thunderline.canonical import sha256_hex
from thunderline.promotion.rollback import choose


@pytest.mark.parametrize(
    ("names", "kinds", "expected"),
    [
        ("ab", "pp", "a"),
        ("abc", "ppp", "ba"),
        ("abcb", "pppr", "a"),  # back to b; once more goes on to a, never forward to c
        ("abcbd", "pppr", "ba"),
        ("aba", "ppp", "b"),
        ("abab", "pppp", "a"),
        ("a", "p", ""),
        ("", "", ""),
    ],
)
def test_a_rollback_undoes_promotions_one_by_one(names: str, kinds: str, expected: str) -> None:
    found = choose(chain(*names, kinds=kinds)).targets
    assert [row.sha256 for row in found] == [sha256_hex(name.encode()) for name in expected]


def test_a_head_that_is_a_rollback_is_told() -> None:
    assert choose(chain("a", "b", "a", kinds="ppr")).head_is_rollback
    assert not choose(chain("a", "b", kinds="pp")).head_is_rollback

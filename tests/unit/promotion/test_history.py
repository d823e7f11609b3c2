"""What a chain of promotions proves."""

from dataclasses import replace

import pytest

from tests.unit.promotion.builders import chain
from thunderline.promotion.history import ChainReport, HistoryRow, check_chain
from thunderline.registry.records import first_hash


def check(rows: list[HistoryRow], head: HistoryRow) -> ChainReport:
    return check_chain(rows, first_hash=first_hash("default", "m"), head_seq=head.seq, head_hash=head.hash)


def test_an_untouched_chain_is_sound() -> None:
    rows = chain("a", "b", "c")
    assert check(rows, rows[-1]).is_sound


@pytest.mark.parametrize("number", [0, 1, 2])
def test_an_edited_entry_is_named(number: int) -> None:
    rows = chain("a", "b", "c")
    head = rows[-1]
    rows[number] = replace(rows[number], entry=rows[number].entry.replace(b"because", b"becausE"))
    report = check(rows, head)
    assert report.broken_seq == number + 1


def test_an_edited_column_is_named() -> None:
    rows = chain("a", "b", "c")
    report = check([rows[0], replace(rows[1], actor="eve@default"), rows[2]], rows[2])
    assert report.broken_seq == 2
    assert "columns" in report.problem


def test_a_removed_row_is_named() -> None:
    rows = chain("a", "b", "c")
    assert check([rows[0], rows[2]], rows[2]).broken_seq == 2


def test_a_cut_tail_is_named() -> None:
    rows = chain("a", "b", "c")
    report = check(rows[:2], rows[2])
    assert report.broken_seq == 3
    assert "remembers 3 rows" in report.problem


def test_reordered_rows_are_named() -> None:
    rows = chain("a", "b", "c")
    assert check([rows[1], rows[0], rows[2]], rows[2]).broken_seq == 1


def test_an_entry_tells_who_when_why_and_what_it_replaced() -> None:
    told = chain("a", "b")[1].document()
    assert told["actor"] == "ada@default"
    assert told["at"] == "2026-01-02T03:04:05.000000Z"
    assert told["reason"] == "because"
    assert told["schema"] == "thunderline/promotion/v1"
    assert {"previous", "gates", "sha256", "target_ref", "hash", "prev_hash"} <= set(told)

"""Which bytes a Range header asks for."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from thunderline.errors import BadRange
from thunderline.web.ranges import ByteRange, parse_range


@pytest.mark.parametrize(
    ("header", "start", "stop"),
    [
        ("bytes=0-0", 0, 1),
        ("bytes=2-4", 2, 5),
        ("bytes=9-", 9, 10),
        ("bytes=-5", 5, 10),
        ("bytes=-50", 0, 10),
        ("bytes=0-99999999999999999999", 0, 10),
        (" bytes=0-0 ", 0, 1),
    ],
)
def test_one_range_is_cut_to_the_object(header: str, start: int, stop: int) -> None:
    assert parse_range(header, 10) == ByteRange(start, stop)


@pytest.mark.parametrize(
    "header",
    [
        None,
        "",
        "bytes=5-2",
        "bytes=-",
        "bytes=0-1,4-5",
        "items=0-1",
        "bytes=\u0660-\u0661",
        "bytes",
        "bytes=a-b",
        "bytes=0x0-1",
        "bytes=+1-2",
        "bytes=1--2",
        "bytes=" + "1" * 30 + "-",
    ],
)
def test_what_is_not_one_range_asks_for_the_whole(header: str | None) -> None:
    assert parse_range(header, 10) is None


@pytest.mark.parametrize(
    ("header", "size"), [("bytes=10-", 10), ("bytes=-0", 10), ("bytes=0-0", 0), ("bytes=-0", 0)]
)
def test_a_range_without_a_byte_is_refused_with_the_size(header: str, size: int) -> None:
    with pytest.raises(BadRange) as refused:
        parse_range(header, size)
    assert refused.value.size_bytes == size


def test_the_end_of_nothing_is_the_whole_of_nothing() -> None:
    assert parse_range("bytes=-5", 0) is None


@given(
    header=st.from_regex(r"bytes=\d{0,21}-\d{0,21}", fullmatch=True) | st.text(), size=st.integers(0, 10**12)
)
def test_whatever_is_asked_for_lies_within_the_object(header: str, size: int) -> None:
    try:
        found = parse_range(header, size)
    except BadRange:
        return
    assert found is None or 0 <= found.start < found.stop <= size

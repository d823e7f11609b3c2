"""Time is UTC, and written one way."""

from datetime import UTC, datetime, timedelta, timezone

from thunderline.clock import FrozenClock, SystemClock, to_wire


def test_the_system_clock_tells_aware_utc() -> None:
    before = datetime.now(UTC)
    assert before <= SystemClock().now() <= datetime.now(UTC)
    assert SystemClock().now().tzinfo is UTC


def test_a_frozen_clock_stands_until_moved_either_way() -> None:
    clock = FrozenClock(datetime(2026, 1, 2, tzinfo=UTC))
    assert clock.now() == clock.now() == datetime(2026, 1, 2, tzinfo=UTC)
    clock.advance(timedelta(hours=1))
    clock.advance(timedelta(hours=-3))
    assert clock.now() == datetime(2026, 1, 1, 22, tzinfo=UTC)


def test_a_moment_is_written_in_utc_with_microseconds() -> None:
    elsewhere = timezone(timedelta(hours=5, minutes=30))
    assert to_wire(datetime(2026, 1, 2, 3, 4, 5, tzinfo=elsewhere)) == "2026-01-01T21:34:05.000000Z"

"""What trying again promises: later each time, but always again."""

from thunderline.consumer.backoff import Backoff


class Hand:
    """A clock's hand."""

    at = 100.0

    def now(self) -> float:
        return self.at


def started(hand: Hand) -> Backoff:
    return Backoff(hand.now, lambda: 1.0)


def test_each_failure_of_a_candidate_doubles_the_pause_up_to_the_longest() -> None:
    hand = Hand()
    backoff, pauses = started(hand), []
    for _ in range(9):
        backoff.failed(3, longest_s=60)
        pauses.append(backoff.left_s())
    assert pauses == [0.5, 1, 2, 4, 8, 16, 32, 60, 60]


def test_no_number_of_failures_puts_a_candidate_off_for_ever() -> None:
    hand = Hand()
    backoff = started(hand)
    for _ in range(3000):
        backoff.failed(3, longest_s=60)
    assert not backoff.is_due(3)
    hand.at += 60
    assert backoff.is_due(3)


def test_another_candidate_is_tried_at_once_and_counted_afresh() -> None:
    backoff = started(Hand())
    for _ in range(6):
        backoff.failed(3, longest_s=60)
    assert backoff.is_due(4)
    backoff.failed(4, longest_s=60)
    assert backoff.left_s() == 0.5


def test_after_a_success_nothing_is_put_off() -> None:
    backoff = started(Hand())
    assert backoff.left_s() is None
    backoff.failed(3, longest_s=60)
    backoff.clear()
    assert backoff.is_due(3)
    assert backoff.left_s() is None


def test_retries_of_many_consumers_are_spread_over_half_the_pause() -> None:
    hand = Hand()
    soonest, latest = Backoff(hand.now, lambda: 0.0), Backoff(hand.now, lambda: 1.0)
    for one in (soonest, latest):
        one.failed(1, longest_s=60)
    assert (soonest.left_s(), latest.left_s()) == (0.25, 0.5)

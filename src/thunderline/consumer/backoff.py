"""When a candidate that failed is tried again: later each time, never never."""

import random
import time
from collections.abc import Callable

_FIRST_S = 0.5


class Backoff:
    """Counts the failures of one candidate; another candidate starts afresh."""

    def __init__(
        self, now: Callable[[], float] = time.monotonic, share: Callable[[], float] = random.random
    ) -> None:
        """Count nothing yet.

        Args:
            now: in seconds, never going back.
            share: in [0, 1); spreads the retries of many consumers.
        """
        self._now, self._share = now, share
        self._seq: int | None = None
        self._failures, self._at = 0, 0.0

    def is_due(self, seq: int) -> bool:
        """Tell whether a candidate may be tried now."""
        return seq != self._seq or self._now() >= self._at

    def failed(self, seq: int, *, longest_s: float) -> None:
        """Put the next try of a candidate off, twice as long each time.

        Args:
            seq: the candidate's.
            longest_s: no pause is longer, so that a repair is always found.
        """
        self._failures = self._failures + 1 if seq == self._seq else 1
        self._seq = seq
        pause = min(_FIRST_S * 2 ** min(self._failures - 1, 20), longest_s)
        self._at = self._now() + pause * (0.5 + self._share() / 2)

    def clear(self) -> None:
        """Forget the failures."""
        self._seq, self._failures = None, 0

    def left_s(self) -> float | None:
        """Return the seconds until the next try, None when nothing failed."""
        return None if self._seq is None else max(0.01, self._at - self._now())

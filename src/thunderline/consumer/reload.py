"""Swapping a loaded model under load: each use ends on the model it began with."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from threading import Lock
from typing import Generic, TypeVar

from thunderline.errors import Unavailable
from thunderline.telemetry import EventLog

Model = TypeVar("Model")
_LOG = EventLog("consumer.reload")


class _Slot(Generic[Model]):
    """One loaded model, closed once, after its last use."""

    def __init__(self, model: Model, close: Callable[[Model], None] | None) -> None:
        self.model = model
        self._close = close
        self._lock = Lock()
        self._users = 0
        self._is_retired = False

    def take(self) -> bool:
        """Begin a use; False when the model is on its way out and the caller must look again."""
        with self._lock:
            if self._is_retired:
                return False
            self._users += 1
            return True

    def drop(self) -> None:
        """End a use."""
        with self._lock:
            self._users -= 1
            is_last = self._is_retired and self._users == 0
        if is_last:
            self._end()

    def retire(self) -> None:
        """Let no new use begin."""
        with self._lock:
            is_idle = not self._is_retired and self._users == 0
            self._is_retired = True
        if is_idle:
            self._end()

    def _end(self) -> None:
        if self._close is None:
            return
        try:
            self._close(self.model)
        except Exception as error:  # noqa: BLE001 -- runs inside some request or swap, which must not fail for it
            _LOG.error("model_not_closed", exception=error)


class Switch(Generic[Model]):
    """Holds the model that serves."""

    def __init__(self, close: Callable[[Model], None] | None = None) -> None:
        """Hold nothing yet.

        Args:
            close: called once for each model, after its last use.
        """
        self._close = close
        self._slot: _Slot[Model] | None = None
        self._lock = Lock()
        self._is_ended = False

    @property
    def is_empty(self) -> bool:
        """Tell whether nothing serves yet."""
        return self._slot is None

    def swap(self, model: Model) -> None:
        """Let a model serve from now on; the one before it ends with its last use."""
        slot = _Slot(model, self._close)
        with self._lock:
            out = slot if self._is_ended else self._slot  # loaded too late: it never serves
            self._slot = None if self._is_ended else slot
        if out is not None:
            out.retire()

    @contextmanager
    def use(self) -> Iterator[Model]:
        """Use the model that serves now, for as long as the context lasts.

        Raises:
            Unavailable: nothing serves yet.
        """
        while True:
            slot = self._slot
            if slot is None:
                raise Unavailable("model", "nothing is loaded yet; wait for the first promotion")
            if slot.take():
                break
        try:
            yield slot.model
        finally:
            slot.drop()

    def end(self) -> None:
        """Close what serves, after its last use; whatever comes later is closed at once."""
        with self._lock:
            self._is_ended = True
            slot, self._slot = self._slot, None
        if slot is not None:
            slot.retire()

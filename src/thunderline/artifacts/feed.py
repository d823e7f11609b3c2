"""From push to pull: a sender that wants an iterator runs beside, and is handed one part after another."""

from collections.abc import Callable, Iterator
from queue import Queue
from threading import Thread

from thunderline.errors import ThunderlineError, Unavailable


class Abandoned(Exception):
    """Raised into the sender's iterator when what was handed over is not wanted any more."""


class Feed:
    """One sending; at most one part waits while the sender works on the one before."""

    def __init__(self, send: Callable[[Iterator[bytes]], None]) -> None:
        """Start the sender in a thread of its own.

        Args:
            send: takes all parts, and lets ``Abandoned`` pass.
        """
        self._send = send
        self._parts: Queue[bytes | Abandoned | None] = Queue(maxsize=1)
        self._error: ThunderlineError | None = None
        self._is_sent = self._is_over = False
        self._thread = Thread(target=self._run, name="feed", daemon=True)
        self._thread.start()

    def _run(self) -> None:
        try:
            self._send(self._received())
            self._is_sent = True
        except Abandoned:
            pass
        except ThunderlineError as error:
            self._error = error
        finally:
            while not self._is_over:  # whoever still hands parts over must not wait for ever
                self._is_over = not isinstance(self._parts.get(), bytes)

    def _received(self) -> Iterator[bytes]:
        while isinstance(part := self._parts.get(), bytes):
            yield part
        self._is_over = True
        if part is not None:
            raise part

    def write(self, part: bytes) -> None:
        """Hand a part over; waits while the one before has not been taken.

        Raises:
            ThunderlineError: what made the sender end.
        """
        self._parts.put(part)
        if self._error is not None:
            raise self._error

    def finish(self) -> None:
        """Wait until the sender has sent all of it.

        Raises:
            ThunderlineError: what made the sender end.
            Unavailable: it ended for a reason that nobody foresaw; the log has it.
        """
        self._parts.put(None)
        self._thread.join()
        if self._error is not None:
            raise self._error
        if not self._is_sent:
            raise Unavailable("store", "an upload ended early; try it again")

    def abandon(self) -> None:
        """Let the sender end without a result; safe after a failure."""
        self._parts.put(Abandoned())
        self._thread.join()

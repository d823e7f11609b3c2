"""The relay: gives committed events their positions, in order, after what must come before them."""

from collections.abc import Callable, Sequence
from threading import Event as Stop

import psycopg

from thunderline.db.pool import Database
from thunderline.errors import ThunderlineError
from thunderline.events.outbox import Recorded, pending, relay_step
from thunderline.telemetry import EventLog

_LOG = EventLog("events.relay")
_BATCH = 500
_POLL_S = 0.5

Before = Callable[[Recorded], None]


class Relay:
    """Numbers events; any number may run, one at a time works."""

    def __init__(self, database: Database, before: Sequence[Before] = ()) -> None:
        """Prepare.

        Args:
            database: the system door is used.
            before: done for each event before anybody can read it, such as publishing ``latest``; must be
                safe to repeat. One that raises ``ThunderlineError`` holds the event and those after it back.
        """
        self._database, self._before = database, before

    def step(self) -> int:
        """Number what is pending, ``500`` at most.

        Returns:
            How many events were waiting; 0 when there is nothing to do.

        Raises:
            Unavailable: the database, or what must come before an event, is away; try again.
        """
        with self._database.system() as connection:
            waiting = pending(connection, limit=_BATCH)
        for recorded in waiting:
            for act in self._before:
                act(recorded)
        if not waiting:
            return 0
        with self._database.system() as connection:
            relay_step(connection, waiting)
        return len(waiting)

    def run(self, stop: Stop) -> None:
        """Work until told to stop: woken by writers, and every half second anyway.

        Args:
            stop: set it to end the loop.
        """
        _LOG.info("relay_started")
        while not stop.is_set():
            try:
                self._follow(stop)
            except (ThunderlineError, psycopg.Error) as error:
                _LOG.warning("relay_waits", problem=str(error))
                stop.wait(_POLL_S)
        _LOG.info("relay_stopped")

    def _follow(self, stop: Stop) -> None:
        listener = self._database.listener()
        try:
            listener.execute("listen tl_outbox")
            while not stop.is_set():
                while self.step():
                    pass
                for _ in listener.notifies(timeout=_POLL_S, stop_after=1):
                    break
        finally:
            listener.close()

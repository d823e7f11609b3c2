"""Following the events: one listener wakes every reader of this process."""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass
from threading import Event as Stop
from threading import Thread

import psycopg

from thunderline.db.pool import Database
from thunderline.errors import ThunderlineError
from thunderline.events.outbox import Recorded, page
from thunderline.telemetry import EventLog

_LOG = EventLog("events.stream")
_IDLE_S = 15.0
_RETRY_S = 0.5


@dataclass(frozen=True, slots=True)
class Resumption:
    """Where a reader goes on: events after ``after``, of these types (None: all)."""

    tenant: str
    after: int
    types: list[str] | None


class Wakeup:
    """Turns Postgres' notifications into something that readers on an event loop can wait for."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._loop: asyncio.AbstractEventLoop | None = None
        self._ticket: asyncio.Future[None] | None = None
        self._stop = Stop()
        self._thread: Thread | None = None

    def start(self) -> None:
        """Begin to listen; call on the event loop whose readers will wait."""
        self._loop = asyncio.get_running_loop()
        self._thread = Thread(target=self._listen, name="events-listener", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """End listening and let every reader go."""
        self._stop.set()
        self._wake()
        if self._thread is not None:
            self._thread.join(timeout=5)

    @property
    def is_stopping(self) -> bool:
        """Tell whether readers should come to an end."""
        return self._stop.is_set()

    def ticket(self) -> asyncio.Future[None]:
        """Return a future that the next news completes; take it before looking, so that none is missed."""
        if self._ticket is None or self._ticket.done():
            self._ticket = asyncio.get_running_loop().create_future()
        return self._ticket

    def _wake(self) -> None:
        if self._loop is not None and not self._loop.is_closed():
            self._loop.call_soon_threadsafe(self._complete)

    def _complete(self) -> None:
        if self._ticket is not None and not self._ticket.done():
            self._ticket.set_result(None)

    def _listen(self) -> None:
        while not self._stop.is_set():
            try:
                with self._database.listener() as connection:
                    connection.execute("listen tl_events")
                    self._wake()
                    while not self._stop.is_set():
                        for _ in connection.notifies(timeout=_RETRY_S, stop_after=1):
                            self._wake()
            except (ThunderlineError, psycopg.Error) as error:
                _LOG.warning("listener_waits", problem=str(error))
                self._stop.wait(_RETRY_S)


def _page(database: Database, where: Resumption, after: int) -> list[Recorded]:
    with database.transaction(where.tenant) as connection:
        return page(connection, after=after, types=where.types)


async def follow(database: Database, wakeup: Wakeup, where: Resumption) -> AsyncIterator[Recorded | None]:
    """Yield a tenant's events in order, for ever; None after a while without news.

    Args:
        database: read with the tenant's transaction, in a thread.
        wakeup: shared by all readers of the process.
        where: tenant, the last position already seen, types.
    """
    after = where.after
    while not wakeup.is_stopping:
        ticket = wakeup.ticket()
        found = await asyncio.to_thread(_page, database, where, after)
        for recorded in found:
            after = recorded.position
            yield recorded
        if not found:
            done, _ = await asyncio.wait([ticket], timeout=_IDLE_S)
            if not done:
                yield None

"""The driver: gives each federation that should run a process of its own, and looks after it."""

import time
from collections.abc import Callable
from dataclasses import dataclass
from threading import Event as Stop

from thunderline.clock import Clock
from thunderline.db.pool import Database
from thunderline.errors import Superseded, ThunderlineError, Unavailable
from thunderline.federation.lifecycle import fail
from thunderline.federation.records import Attempt, beat, claim, release
from thunderline.process import Child
from thunderline.telemetry import EventLog

_LOG = EventLog("federation.driver")
_POLL_S = 0.25
_BEAT_S = 1.0
_MOST = 4  # processes at once
_GRACE_S = 5.0
_MOST_CRASHES = 5  # in a row; then something is wrong that trying again does not mend
_LONG_LIFE_S = 60.0
_LONGEST_PAUSE_S = 10.0


@dataclass(slots=True)
class _Running:
    """An attempt and its process."""

    attempt: Attempt
    child: Child
    started: float
    beaten: float
    crashes: int = 0  # in a row, this one too; counted once, however often Postgres is away meanwhile


class Driver:
    """Any number may run: an attempt belongs to one, and only the newest attempt may write."""

    def __init__(self, database: Database, clock: Clock, start: Callable[[Attempt], Child]) -> None:
        """Prepare.

        Args:
            database: the system door is used to claim work.
            clock: of failures.
            start: begins a process that calls ``run_attempt`` and ends with 0, or with 7 when an outside part
                is away.
        """
        self._database, self._clock, self._start = database, clock, start
        self._running: dict[str, _Running] = {}
        self._crashes: dict[str, int] = {}

    def run(self, stop: Stop) -> None:
        """Work until told to stop; then let the processes end, and give their work back.

        Args:
            stop: set it to end the loop.
        """
        _LOG.info("driver_started")
        while not stop.wait(_POLL_S):
            try:
                self.step()
            except (ThunderlineError, OSError) as error:  # such as a full disk: no process can be started
                _LOG.warning("driver_waits", problem=str(error))
        self._end()
        _LOG.info("driver_stopped")

    def step(self) -> None:
        """Look after what runs, then take what waits.

        Raises:
            Unavailable: Postgres is away; what runs goes on.
        """
        for one in list(self._running.values()):
            self._look_after(one)
        while len(self._running) < _MOST:
            with self._database.system() as connection:
                attempt = claim(connection, held=list(self._running))
            if attempt is None:
                return
            now = time.monotonic()
            self._running[attempt.federation_id] = _Running(attempt, self._start(attempt), now, now)
            _LOG.info("attempt_started", federation_id=attempt.federation_id, attempt=attempt.attempt)

    def _look_after(self, one: _Running) -> None:
        code = one.child.exit_code()
        if code is not None:
            self._settle(one, code)
            del self._running[one.attempt.federation_id]
        elif time.monotonic() - one.beaten > _BEAT_S:
            with self._database.system() as connection:
                status = beat(connection, one.attempt)
            one.beaten = time.monotonic()
            if status is None or status == "failed":  # taken over, or stopped: the round counts no more
                one.child.ask_to_end()

    def _settle(self, one: _Running, code: int) -> None:
        """Say what becomes of an attempt whose process has ended."""
        identity = one.attempt.federation_id
        if code in (0, Unavailable.exit):
            self._crashes.pop(identity, None)
            self._release(one.attempt, pause_s=0.0 if code == 0 else 1.0)
            return
        if not one.crashes:
            lived_long = time.monotonic() - one.started > _LONG_LIFE_S
            one.crashes = self._crashes[identity] = 1 if lived_long else self._crashes.get(identity, 0) + 1
            _LOG.warning("attempt_died", federation_id=identity, exit_code=code, in_a_row=one.crashes)
        if one.crashes < _MOST_CRASHES:
            self._release(one.attempt, pause_s=min(_LONGEST_PAUSE_S, 0.1 * 2**one.crashes))
            return
        try:
            fail(
                self._database,
                one.attempt,
                f"its process ended {one.crashes} times in a row, last with exit code {code}; "
                "see the federation's log, then: thunderline federation resume",
                clock=self._clock,
            )
        except Superseded as error:
            _LOG.warning("attempt_superseded", federation_id=identity, problem=str(error))
        self._crashes.pop(identity)

    def _release(self, attempt: Attempt, *, pause_s: float) -> None:
        with self._database.system() as connection:
            release(connection, attempt, pause_s=pause_s)

    def _end(self) -> None:
        for one in self._running.values():
            one.child.ask_to_end()
        for one in self._running.values():
            one.child.end(_GRACE_S)
            try:
                self._release(one.attempt, pause_s=0.0)
            except Unavailable as error:
                _LOG.warning("attempt_not_released", problem=str(error))  # its lease lapses by itself
        self._running.clear()

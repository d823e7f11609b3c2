"""The consumer: follows a reference and serves what it holds, through outages and bad candidates."""

import random
import time
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace
from pathlib import Path
from threading import Event, Lock, Thread
from typing import Generic, TypeVar
from uuid import uuid4

from thunderline.consumer.fetch import Copies
from thunderline.consumer.reload import Switch
from thunderline.consumer.report import Report, Reporter
from thunderline.consumer.watch import Wanted, Watch
from thunderline.errors import InvalidInput, NotFound, ThunderlineError, Unavailable
from thunderline.telemetry import EventLog

Model = TypeVar("Model")
_LOG = EventLog("consumer")
_AGAIN_S = (0.5, 60.0)
_WAYS = ("events", "polling")


@dataclass(frozen=True, slots=True)
class Stats:
    """How it went so far."""

    seq: int = 0  # of what serves; 0: nothing yet
    sha256: str | None = None
    swaps: int = 0
    rejected: int = 0
    reason: str | None = None  # why the last candidate was rejected; None once one was taken
    adoption_ms: float | None = None  # from the promotion to the last swap, by both clocks


class Consumer(Generic[Model]):
    """Serves what a reference holds.

    >>> consumer = Consumer(reference="m:prod", load=Path.read_bytes, url="http://127.0.0.1:1", api_key="k",
    ...                     cache=Path("/tmp"), consumer_id="doc")
    >>> consumer.stats().swaps
    0
    """

    def __init__(
        self,
        *,
        reference: str,
        load: Callable[[Path], Model],
        url: str,
        api_key: str,
        cache: Path,
        watch: str = "events",
        consumer_id: str | None = None,
        check: Callable[[Model], None] | None = None,
        warm: Callable[[Model], object] | None = None,
        close: Callable[[Model], None] | None = None,
        on_swap: Callable[[int, str], None] | None = None,
        interval_s: float = 1.0,
        heartbeat_s: float = 10.0,
    ) -> None:
        """Do nothing yet; ``start`` begins.

        Args:
            reference: ``name:label``.
            load: makes a model of a verified file; what it raises rejects the candidate.
            url: of the API.
            api_key: may read models, files and events, and write consumers.
            cache: a directory of this consumer's own.
            watch: ``events`` or ``polling``.
            consumer_id: a stable name; by default a random one.
            check: raises when a loaded model must not serve.
            warm: called on a loaded model before it serves, such as one prediction.
            close: called once for each model after its last use.
            on_swap: told the seq and the digest after each swap.
            interval_s: between looks when polling.
            heartbeat_s: between reports when nothing changes.

        Raises:
            InvalidInput: a reference or a way of watching of a wrong form.
        """
        model, colon, label = reference.partition(":")
        if not (model and colon and label):
            raise InvalidInput("reference", f"{reference!r} is not name:label")
        if watch not in _WAYS:
            raise InvalidInput("watch", f"expected one of {', '.join(_WAYS)}, got {watch!r}")
        self._load, self._check, self._warm, self._on_swap = load, check, warm, on_swap
        self._reference, self._way, self._heartbeat_s = reference, watch, heartbeat_s
        self._switch: Switch[Model] = Switch(close)
        self._watch = Watch(
            url=url,
            api_key=api_key,
            model=model,
            label=label,
            by_events=watch == "events",
            interval_s=interval_s,
        )
        headers: Mapping[str, str] = {"X-API-Key": api_key}
        self._copies = Copies(cache, url=url, headers=headers)
        self._reporter = Reporter(url=url, api_key=api_key, consumer_id=consumer_id or uuid4().hex)
        self._stop, self._loaded, self._tell, self._lock = Event(), Event(), Event(), Lock()
        self._stats = Stats()
        self._threads: list[Thread] = []
        self._failures = 0
        self._again_at: float | None = None

    def start(self, *, wait_s: float | None = 30.0) -> None:
        """Begin to follow, and wait until the first model serves.

        Args:
            wait_s: at most so long; None: do not wait. Serving begins whenever the model comes.
        """
        self._watch.start()
        for target in (self._follow, self._beat):
            thread = Thread(target=target, name=f"consumer-{target.__name__}", daemon=True)
            thread.start()
            self._threads.append(thread)
        if wait_s is not None:
            self._loaded.wait(wait_s)

    def stop(self) -> None:
        """End following; uses in progress end on their model."""
        self._stop.set()
        self._tell.set()
        self._watch.stop()
        for thread in self._threads:
            thread.join(timeout=10)
        self._reporter.close()
        self._switch.end()

    def model(self) -> AbstractContextManager[Model]:
        """Use the model that serves now, for as long as the context lasts.

        Raises:
            Unavailable: nothing serves yet.
        """
        return self._switch.use()

    def stats(self) -> Stats:
        """Return how it went so far."""
        with self._lock:
            return self._stats

    def _follow(self) -> None:
        """Look, adopt, wait: the loop; it outlives whatever a candidate or an outage does to it."""
        wanted: Wanted | None = None
        while not self._stop.is_set():
            try:
                wanted = self._watch.look() or wanted
            except NotFound:
                pass  # never promoted yet: keep waiting
            except (Unavailable, InvalidInput) as error:
                _LOG.warning("reference_not_read", reference=self._reference, problem=str(error))
            if wanted is not None and wanted.seq > self._stats.seq and self._is_due():
                self._try(wanted)
            self._watch.wait(None if self._again_at is None else max(0.01, self._again_at - time.monotonic()))

    def _is_due(self) -> bool:
        return self._again_at is None or time.monotonic() >= self._again_at

    def _try(self, wanted: Wanted) -> None:
        try:
            self._adopt(wanted)
        except Exception as error:  # noqa: BLE001 -- a loader may raise anything; the old model serves on
            if self._stop.is_set():
                return
            self._failures += 1
            pause = min(_AGAIN_S[0] * 2 ** (self._failures - 1), _AGAIN_S[1])
            self._again_at = time.monotonic() + pause * random.uniform(0.5, 1.0)  # noqa: S311 -- spreads retries
            reason = str(error) if isinstance(error, ThunderlineError) else f"{type(error).__name__}: {error}"
            with self._lock:
                self._stats = replace(self._stats, rejected=self._stats.rejected + 1, reason=reason)
            _LOG.warning("candidate_rejected", reference=self._reference, seq=wanted.seq, reason=reason)
            self._tell.set()

    def _adopt(self, wanted: Wanted) -> None:
        model = self._load(self._copies.obtain(wanted))
        if self._check is not None:
            self._check(model)
        if self._warm is not None:
            self._warm(model)
        self._switch.swap(model)
        self._failures, self._again_at = 0, None
        took_ms = (time.time() - wanted.promoted_at.timestamp()) * 1000
        with self._lock:
            self._stats = replace(
                self._stats,
                seq=wanted.seq,
                sha256=wanted.sha256,
                swaps=self._stats.swaps + 1,
                reason=None,
                adoption_ms=took_ms,
            )
        self._loaded.set()
        _LOG.info("model_swapped", reference=self._reference, seq=wanted.seq, sha256=wanted.sha256)
        if self._on_swap is not None:
            self._on_swap(wanted.seq, wanted.sha256)
        self._tell.set()

    def _beat(self) -> None:
        """Report on each change, and from time to time."""
        while not self._stop.is_set():
            stats = self.stats()
            state = "rejected" if stats.reason else "serving" if stats.swaps else "starting"
            self._reporter.send(
                Report(self._reference, self._way, state, stats.sha256, stats.seq or None, stats.reason)
            )
            self._tell.wait(self._heartbeat_s)
            self._tell.clear()

"""The consumer: follows a reference and serves what it holds, through outages and bad candidates."""

import time
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace
from pathlib import Path
from threading import Event, Lock, Thread
from typing import Generic, TypeVar
from uuid import uuid4

from thunderline.consumer.backoff import Backoff
from thunderline.consumer.fetch import Copies
from thunderline.consumer.reload import Switch
from thunderline.consumer.report import Report, Reporter
from thunderline.consumer.watch import Wanted, Watch
from thunderline.errors import InvalidInput, NotFound, ThunderlineError, Unavailable
from thunderline.promotion.stage import parse_target
from thunderline.telemetry import EventLog

Model = TypeVar("Model")
_LOG = EventLog("consumer")
_LONGEST_S = 60.0  # between two tries of a candidate that was refused
_LONGEST_AWAY_S = 5.0  # between two tries of one that could not be fetched
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
    is_from_copy: bool = False  # begun from the last verified copy; the API has not confirmed it yet


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
            reference: ``name:label`` or ``name#stage``.
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
        target = parse_target(reference, "reference")  # whatever word for a stage: events say its label
        if watch not in _WAYS:
            raise InvalidInput("watch", f"expected one of {', '.join(_WAYS)}, got {watch!r}")
        self._load, self._check, self._warm, self._on_swap = load, check, warm, on_swap
        self._reference, self._way, self._heartbeat_s = target.ref, watch, heartbeat_s
        self._switch: Switch[Model] = Switch(close)
        self._watch = Watch(
            url=url,
            api_key=api_key,
            model=target.model,
            label=target.label,
            by_events=watch == "events",
            interval_s=interval_s,
        )
        headers: Mapping[str, str] = {"X-API-Key": api_key}
        self._copies = Copies(cache, reference=(target.model, target.label), url=url, headers=headers)
        self._reporter = Reporter(url=url, api_key=api_key, consumer_id=consumer_id or uuid4().hex)
        self._stop, self._loaded, self._tell, self._lock = Event(), Event(), Event(), Lock()
        self._stats = Stats()
        self._threads: list[Thread] = []
        self._backoff = Backoff()
        self._may_recall = True

    def start(self, *, wait_s: float | None = 30.0) -> None:
        """Begin to follow, and wait until the first model serves.

        While the API is away, or gives only what cannot serve, the last verified copy in the cache serves.

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
                if not self._stop.is_set():
                    _LOG.warning("reference_not_read", reference=self._reference, problem=str(error))
                    self._recall()
            else:
                if wanted is not None and self._is_news(wanted) and self._backoff.is_due(wanted.seq):
                    self._try(wanted)
            self._watch.wait(self._backoff.left_s())

    def _is_news(self, wanted: Wanted) -> bool:
        """Tell whether a reference asks for another model; the same bytes are only noted."""
        stats = self._stats
        if not stats.is_from_copy and wanted.seq <= stats.seq:
            return False  # late news: what serves was promoted after it
        if wanted.sha256 != stats.sha256:
            return True
        self._note(replace(stats, seq=wanted.seq, reason=None, is_from_copy=False))
        self._copies.remember(wanted)
        self._backoff.clear()
        return False

    def _note(self, stats: Stats) -> None:
        with self._lock:
            self._stats = stats
        self._tell.set()

    def _try(self, wanted: Wanted) -> None:
        try:
            self._serve(wanted, self._copies.obtain(wanted), is_from_copy=False)
        except Exception as error:  # noqa: BLE001 -- a loader may raise anything; the old model serves on
            if not self._stop.is_set():
                self._reject(wanted, error)
        else:
            self._backoff.clear()

    def _reject(self, wanted: Wanted, error: Exception) -> None:
        """Keep what serves, say why, and try again later: a repair must heal without a restart."""
        is_away = isinstance(error, Unavailable)
        self._backoff.failed(wanted.seq, longest_s=_LONGEST_AWAY_S if is_away else _LONGEST_S)
        reason = str(error) if isinstance(error, ThunderlineError) else f"{type(error).__name__}: {error}"
        rejected = self._stats.rejected + (0 if is_away else 1)
        _LOG.warning("candidate_rejected", reference=self._reference, seq=wanted.seq, reason=reason)
        self._recall()
        self._note(replace(self._stats, rejected=rejected, reason=reason))

    def _recall(self) -> None:
        """Serve the last verified copy when nothing else serves; tried once."""
        if not (self._switch.is_empty and self._may_recall):
            return
        self._may_recall = False
        try:
            found = self._copies.recall()
            if found is not None:
                self._serve(*found, is_from_copy=True)
        except Exception as error:  # noqa: BLE001 -- a loader may raise anything; then nothing serves yet
            _LOG.warning("copy_rejected", reference=self._reference, problem=str(error))

    def _serve(self, wanted: Wanted, file: Path, *, is_from_copy: bool) -> None:
        model = self._load(file)
        if self._check is not None:
            self._check(model)
        if self._warm is not None:
            self._warm(model)
        self._switch.swap(model)
        took_ms = None if is_from_copy else (time.time() - wanted.promoted_at.timestamp()) * 1000
        before = self._stats
        self._note(
            Stats(wanted.seq, wanted.sha256, before.swaps + 1, before.rejected, None, took_ms, is_from_copy)
        )
        if not is_from_copy:
            self._copies.remember(wanted)  # before start() returns: killed a moment later, it still serves
        _LOG.info(
            "model_swapped",
            reference=self._reference,
            seq=wanted.seq,
            sha256=wanted.sha256,
            is_from_copy=is_from_copy,
        )
        self._loaded.set()
        self._tell_user(wanted)

    def _tell_user(self, wanted: Wanted) -> None:
        if self._on_swap is None:
            return
        try:
            self._on_swap(wanted.seq, wanted.sha256)
        except Exception as error:  # noqa: BLE001 -- what a listener raises does not undo the swap
            _LOG.error("on_swap_failed", exception=error, reference=self._reference, seq=wanted.seq)

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

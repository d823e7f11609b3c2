"""Following a reference: what it holds now, and when to look again."""

import socket
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from threading import Event, Thread

import httpx

from thunderline.canonical import Json, parse_digest
from thunderline.document import parse_json
from thunderline.errors import InvalidInput, NotFound, ThunderlineError, Unavailable
from thunderline.telemetry import EventLog

_LOG = EventLog("consumer.watch")
_TIMEOUT = httpx.Timeout(10)
_FLOOR_S = 15.0  # how often a reader of events looks anyway
_AGAIN_S = (0.2, 5.0)  # first and longest pause before a broken stream is opened again
_SILENCE_S = 40.0  # a stream that says nothing for so long, not even a keep-alive, is dead
_LIMIT = 64 << 10
_UNCHANGED, _OK, _ABSENT = 304, 200, 404


@dataclass(frozen=True, slots=True)
class Wanted:
    """What a reference holds."""

    seq: int
    sha256: str
    size_bytes: int
    format: str
    version: int
    promoted_at: datetime


def parse_wanted(content: bytes, *, model: str, label: str) -> Wanted:
    """Read a reference document.

    Args:
        content: as the API or the store gives it.
        model: whose it must be.
        label: which of the model's references it must be, whatever word it goes by.

    Raises:
        InvalidInput: not a reference document of this reference.
    """
    told = parse_json(content, field="reference", limit_bytes=_LIMIT)
    if not isinstance(told, Mapping) or told.get("schema") != "thunderline/reference/v1":
        raise InvalidInput("reference", "not a thunderline/reference/v1 document; is the URL right?")
    if (told.get("model"), told.get("label")) != (model, label):
        raise InvalidInput(
            "reference", f"expected {model}:{label}, got {told.get('model')!r}:{told.get('label')!r}"
        )
    try:
        moment = datetime.fromisoformat(str(told.get("promoted_at")))
    except ValueError as error:
        raise InvalidInput("reference.promoted_at", str(error)) from error
    return Wanted(
        seq=_whole(told, "seq"),
        sha256=parse_digest(str(told.get("sha256")), "reference.sha256"),
        size_bytes=_whole(told, "size_bytes"),
        format=str(told.get("format")),
        version=_whole(told, "version"),
        promoted_at=moment,
    )


def _whole(told: Mapping[str, Json], field: str) -> int:
    value = told.get(field)
    if isinstance(value, bool) or not isinstance(value, int) or value < 0:
        raise InvalidInput(f"reference.{field}", f"expected a whole number, got {value!r}")
    return value


class Watch:
    """Looks at a reference, and waits until it is worth looking again."""

    def __init__(
        self, *, url: str, api_key: str, model: str, label: str, by_events: bool, interval_s: float
    ) -> None:
        """Look at nothing yet.

        Args:
            url: of the API.
            api_key: may read models, and events when they are used.
            model: the model.
            label: its label.
            by_events: listen to the stream; else look every ``interval_s``.
            interval_s: pause between looks when polling.
        """
        self._url, self._model, self._label = url.rstrip("/"), model, label
        self._headers = {"X-API-Key": api_key}
        self._by_events, self._interval_s = by_events, interval_s
        self._etag: str | None = None
        self._news, self._stop = Event(), Event()
        self._client = httpx.Client(timeout=_TIMEOUT, headers=self._headers, trust_env=False)
        self._listener: Thread | None = None
        self._stream: httpx.Response | None = None
        self.last_event_id: str | None = None

    def start(self) -> None:
        """Begin to listen, when events are used."""
        if self._by_events:
            self._listener = Thread(target=self._listen, name="reference-events", daemon=True)
            self._listener.start()

    def stop(self) -> None:
        """End listening and wake whoever waits."""
        self._stop.set()
        self._news.set()
        self._client.close()
        self._cut()
        if self._listener is not None:
            self._listener.join(timeout=5)

    def _cut(self) -> None:
        """End the open stream at once; its reader may else wait for the next keep-alive."""
        stream = self._stream.extensions.get("network_stream") if self._stream is not None else None
        opened: object = stream.get_extra_info("socket") if stream is not None else None
        if isinstance(opened, socket.socket):
            with suppress(OSError):  # the other side was faster
                opened.shutdown(socket.SHUT_RDWR)

    def look(self) -> Wanted | None:
        """Return what the reference holds, None when it holds what it held at the last look.

        Raises:
            NotFound: the reference was never set.
            Unavailable: the API does not answer, or answers with an error.
            InvalidInput: the answer is no reference document.
        """
        headers = {"If-None-Match": self._etag} if self._etag else {}
        try:
            with self._client.stream(
                "GET", f"{self._url}/api/models/{self._model}/references/{self._label}", headers=headers
            ) as response:
                return self._read(response)
        except (httpx.HTTPError, RuntimeError) as error:  # a closed client is a RuntimeError
            raise Unavailable("api", f"{self._url} does not answer ({error})") from error

    def _read(self, response: httpx.Response) -> Wanted | None:
        if response.status_code == _UNCHANGED:
            return None
        if response.status_code == _ABSENT:
            raise NotFound(f"{self._model}:{self._label} holds nothing yet")
        if response.status_code != _OK:
            raise Unavailable("api", f"{self._url} answered {response.status_code}")
        content = b""
        for chunk in response.iter_bytes():
            content += chunk
            if len(content) > _LIMIT:
                raise InvalidInput("reference", f"longer than {_LIMIT} bytes")
        found = parse_wanted(content, model=self._model, label=self._label)
        self._etag = response.headers.get("etag")
        return found

    def wait(self, most_s: float | None = None) -> None:
        """Wait until it is worth looking again.

        Args:
            most_s: at most so long, when something is to be tried again.
        """
        patience = _FLOOR_S if self._by_events else self._interval_s
        self._news.wait(patience if most_s is None else min(patience, most_s))
        if not self._stop.is_set():
            self._news.clear()

    def _listen(self) -> None:
        pause = _AGAIN_S[0]
        while not self._stop.is_set():
            try:
                self._follow()
            except (httpx.HTTPError, ThunderlineError) as error:
                if not self._stop.is_set():
                    _LOG.warning("event_stream_broke", problem=str(error), again_in_s=pause)
            was_open, self._stream = self._stream is not None, None
            self._news.set()  # whatever happened meanwhile is seen by looking
            pause = _AGAIN_S[0] if was_open else pause
            self._stop.wait(pause)
            pause = min(pause * 2, _AGAIN_S[1])

    def _follow(self) -> None:
        resume = {"Last-Event-ID": self.last_event_id} if self.last_event_id else {}
        with httpx.stream(
            "GET",
            f"{self._url}/api/events/stream",
            params={"types": "fl.artifact.promoted", "after": "end"},
            headers={**self._headers, **resume},
            timeout=httpx.Timeout(10, read=_SILENCE_S),
            trust_env=False,
        ) as response:
            if response.status_code != _OK:
                raise Unavailable("api", f"the event stream answered {response.status_code}")
            self._stream = response
            if self._stop.is_set():  # stopped while connecting: nobody would cut this stream
                return
            self._news.set()
            for line in response.iter_lines():
                if self._stop.is_set():
                    return
                self._hear(line)

    def _hear(self, line: str) -> None:
        if line.startswith("id:"):
            self.last_event_id = line.removeprefix("id:").strip()
        elif line.startswith("data:"):
            told = parse_json(line.removeprefix("data:").strip().encode(), field="event")
            data = told.get("data") if isinstance(told, Mapping) else None
            if isinstance(data, Mapping) and (data.get("model"), data.get("label")) == (
                self._model,
                self._label,
            ):
                self._news.set()

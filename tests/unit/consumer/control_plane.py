"""A control plane as a consumer sees it, whose answers a test chooses: honest, late, damaged or absent."""

import json
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Condition, Thread
from typing import Self

from typing_extensions import override

from thunderline.canonical import Json, sha256_hex


class ControlPlane:
    """Serves one reference, its files and its events over real HTTP."""

    def __init__(self) -> None:
        self.reference: dict[str, Json] | None = None
        self.files: dict[str, bytes] = {}
        self.reports: list[dict[str, Json]] = []
        self.looks = 0  # how often the reference was asked for
        self.status: int | None = None  # answer everything with this instead
        self._news, self._told, self._is_over = Condition(), 0, False
        plane = self

        class Handler(_Handler):
            control_plane = plane

        self._server = _Server(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self._thread = Thread(target=self._server.serve_forever, args=(0.01,), daemon=True)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._server.server_address[1]}"

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        with self._news:
            self._is_over = True
            self._news.notify_all()
        self._server.shutdown()
        self._server.server_close()
        self._thread.join(10)

    def hold(self, seq: int, content: bytes, *, served: bytes | None = None) -> str:
        """Let the reference hold bytes, and the file be them, or other bytes; returns the digest."""
        digest = sha256_hex(content)
        self.files[digest] = content if served is None else served
        self.reference = {
            "schema": "thunderline/reference/v1",
            "model": "m",
            "label": "prod",
            "seq": seq,
            "version": seq,
            "sha256": digest,
            "size_bytes": len(content),
            "format": "bin",
            "promoted_at": "2026-01-02T03:04:05.000000Z",
        }
        return digest

    def tell(self) -> None:
        """Send every listener the event that the reference moved."""
        with self._news:
            self._told += 1
            self._news.notify_all()

    def next_event(self, seen: int) -> int | None:
        """Wait for an event after those seen; None when it is over."""
        with self._news:
            self._news.wait_for(lambda: self._told > seen or self._is_over)
            return None if self._is_over else self._told


class _Server(ThreadingHTTPServer):
    @override
    def handle_error(self, request: object, client_address: object) -> None:
        """Say nothing of consumers that leave in the middle of an answer."""


class _Handler(BaseHTTPRequestHandler):
    control_plane: ControlPlane
    protocol_version = "HTTP/1.1"

    @override
    def log_message(self, format: str, *args: object) -> None:
        """Say nothing."""

    def do_GET(self) -> None:
        plane = self.control_plane
        plane.looks += self.path.startswith("/api/models/")
        if plane.status is not None:
            self._answer(plane.status, b"{}")
        elif self.path.startswith("/api/events/stream"):
            self._stream()
        elif self.path.startswith("/files/"):
            content = plane.files.get(self.path.removeprefix("/files/"))
            self._answer(404 if content is None else 200, content or b"")
        elif self.path == "/api/models/m/references/prod" and plane.reference is not None:
            self._answer(200, json.dumps(plane.reference).encode())
        else:
            self._answer(404, b"{}")

    def do_PUT(self) -> None:
        content = self.rfile.read(int(self.headers["Content-Length"]))
        self.control_plane.reports.append(json.loads(content))
        self._answer(self.control_plane.status or 200, b"{}")

    def _answer(self, status: int, content: bytes) -> None:
        self.send_response(status)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def _stream(self) -> None:
        self.send_response(200)
        self.send_header("Content-Type", "text/event-stream")
        self.send_header("Connection", "close")
        self.end_headers()
        seen: int | None = 0
        try:
            while (seen := self.control_plane.next_event(seen or 0)) is not None:
                data = json.dumps({"data": {"model": "m", "label": "prod"}})
                self.wfile.write(f"id: {seen}\ndata: {data}\n\n".encode())
                self.wfile.flush()
        except OSError:
            pass  # the listener left
        self.close_connection = True

"""A small service whose model is reloaded while it answers: ``POST /predict``, ``GET /healthz``.

    python serve.py --ref iris:prod --port 8080

It reads THUNDERLINE_URL and THUNDERLINE_API_KEY. The model is linear: arrays ``w`` (4, 3) and ``b`` (3,).
"""

import argparse
import json
import os
import signal
import sys
from functools import partial
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Event, Thread

import numpy as np

from thunderline.consumer.arrays import Arrays, load_arrays, same_shapes
from thunderline.consumer.consumer import Consumer
from thunderline.errors import Unavailable

SHAPES = {"w": (4, 3), "b": (3,)}  # what this code was written for; anything else is refused


def predict(arrays: Arrays, rows: list[list[float]]) -> list[int]:
    """Return the class of each row of four measurements."""
    scores = np.asarray(rows, np.float32) @ arrays["w"] + arrays["b"]
    return [int(one) for one in scores.argmax(axis=1)]


class Handler(BaseHTTPRequestHandler):
    """Answers requests with whatever model serves when they come."""

    consumer: Consumer[Arrays]

    def do_GET(self) -> None:
        """Tell which model serves: 200, or 503 while there is none yet."""
        stats = self.consumer.stats()
        told = {
            "seq": stats.seq,
            "sha256": stats.sha256,
            "rejected": stats.reason,
            "copy": stats.is_from_copy,
        }
        self._answer(200 if stats.swaps else 503, told)

    def do_POST(self) -> None:
        """Classify ``{"rows": [[5.1, 3.5, 1.4, 0.2]]}``."""
        try:
            asked = json.loads(self.rfile.read(int(self.headers.get("Content-Length", "0"))))
            with self.consumer.model() as arrays:  # this request ends on this model
                self._answer(200, {"classes": predict(arrays, asked["rows"])})
        except Unavailable as error:
            self._answer(503, {"error": str(error)})
        except (ValueError, KeyError, TypeError) as error:
            self._answer(400, {"error": f"rows of four numbers are needed: {error}"})

    def _answer(self, status: int, document: dict[str, object]) -> None:
        content = json.dumps(document).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, *_: object) -> None:
        """Keep the terminal quiet."""


def main() -> int:
    """Serve until SIGTERM or Ctrl-C."""
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    options.add_argument("--ref", default="iris:prod")
    options.add_argument("--port", type=int, default=8080, help="0: a free one")
    options.add_argument("--watch", choices=("events", "polling"), default="events")
    options.add_argument("--cache", type=Path, default=Path("models"), help="of this process alone")
    given = options.parse_args()
    Handler.consumer = Consumer(
        reference=given.ref,
        load=load_arrays,  # refuses NaN and infinity
        check=partial(same_shapes, SHAPES),
        warm=lambda arrays: predict(arrays, [[0.0] * 4]),
        url=os.environ["THUNDERLINE_URL"],
        api_key=os.environ["THUNDERLINE_API_KEY"],
        watch=given.watch,
        cache=given.cache,
        consumer_id=f"serve-{given.watch}-{os.getpid()}",
    )
    server = ThreadingHTTPServer(("127.0.0.1", given.port), Handler)
    Handler.consumer.start()
    stop = Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop.set())
    Thread(target=server.serve_forever, daemon=True).start()
    sys.stdout.write(f"serving {given.ref} at http://127.0.0.1:{server.server_address[1]}\n")
    sys.stdout.flush()
    stop.wait()
    server.shutdown()
    Handler.consumer.stop()
    return 0


if __name__ == "__main__":
    sys.exit(main())

"""A consumer of the demo, in a process of its own: serves digits under constant load, tells how it goes."""

import json
import signal
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from threading import Event, Lock, Thread

import numpy as np
import numpy.typing as npt

from thunderline.cli.demo_digits import Digits
from thunderline.consumer.arrays import load_arrays
from thunderline.consumer.consumer import Consumer
from thunderline.federation.network import forward

_THREADS = 4
_EVERY_S = 0.002  # one request of each thread
Arrays = Mapping[str, npt.NDArray[np.float32]]


class Load:
    """Asks the model again and again, and counts."""

    def __init__(self, consumer: Consumer[Arrays], digits: Digits) -> None:
        self._consumer, self._digits, self._lock = consumer, digits, Lock()
        self.served, self.failed, self.right, self.problem = 0, 0, 0, ""

    def run(self, stop: Event, first: int) -> None:
        """Send requests until told to stop.

        Args:
            stop: set it to end.
            first: the first image asked for; then each fourth.
        """
        number = first
        while not stop.is_set():
            row = number % len(self._digits.labels)
            number += _THREADS
            self._ask(row)
            time.sleep(_EVERY_S)

    def _ask(self, row: int) -> None:
        try:
            with self._consumer.model() as arrays:
                answer = int(np.argmax(forward(arrays, self._digits.pixels[row : row + 1])))
        except Exception as error:  # noqa: BLE001 -- a failed request of whatever kind is what is counted
            with self._lock:
                self.failed, self.problem = self.failed + 1, repr(error)
            return
        with self._lock:
            self.served += 1
            self.right += int(answer == int(self._digits.labels[row]))

    def counts(self) -> dict[str, object]:
        """Return the figures so far."""
        with self._lock:
            return {
                "served": self.served,
                "failed": self.failed,
                "right": self.right,
                "problem": self.problem,
            }


def tell(**fields: object) -> None:
    """Say something to the parent: one JSON line."""
    sys.stdout.write(f"{json.dumps(fields)}\n")
    sys.stdout.flush()


def main(arguments: list[str]) -> int:
    """Serve until SIGTERM.

    Args:
        arguments: URL, API key file, reference, ``events`` or ``polling``, the images' file, a cache folder.
    """
    url, key_file, reference, watch, images, cache = arguments
    shard = load_arrays(Path(images))
    digits = Digits(shard["x"], shard["y"].astype(np.int64))
    stop = Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop.set())
    consumer: Consumer[Arrays] = Consumer(
        reference=reference,
        load=load_arrays,
        url=url,
        api_key=Path(key_file).read_text(encoding="ascii").strip(),
        watch=watch,
        cache=Path(cache),
        consumer_id=f"demo-{watch}",
        on_swap=lambda seq, sha256: tell(event="swapped", seq=seq, sha256=sha256, at=time.time()),
    )
    consumer.start()
    load = Load(consumer, digits)
    threads = [Thread(target=load.run, args=(stop, first), daemon=True) for first in range(_THREADS)]
    for thread in threads:
        thread.start()
    while not stop.wait(0.2):
        tell(event="counts", **load.counts())
    for thread in threads:
        thread.join()
    consumer.stop()
    tell(event="counts", **load.counts())
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

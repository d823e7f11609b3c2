"""What a consumer promises whatever the other side answers."""

import random
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from threading import Event, Lock, Thread

import pytest

from tests.serving import wait_until
from tests.unit.consumer.control_plane import ControlPlane
from thunderline.canonical import sha256_hex
from thunderline.consumer.consumer import Consumer, Stats
from thunderline.errors import ArtifactError, InvalidInput, Unavailable

WAYS = ("events", "polling")


def load(path: Path) -> bytes:
    content = path.read_bytes()
    if content.startswith(b"bad"):
        raise ArtifactError("weights hold NaN")
    return content


@pytest.fixture
def plane() -> Iterator[ControlPlane]:
    with ControlPlane() as made:
        yield made


@contextmanager
def following(
    plane: ControlPlane,
    cache: Path,
    *,
    watch: str = "polling",
    wait_s: float | None = 10,
    on_swap: Callable[[int, str], None] | None = None,
    loader: Callable[[Path], bytes] = load,
    close: Callable[[bytes], None] | None = None,
    reference: str = "m:prod",
) -> Iterator[Consumer[bytes]]:
    consumer = Consumer(
        reference=reference,
        load=loader,
        url=plane.url,
        api_key="k",
        cache=cache,
        watch=watch,
        consumer_id="c",
        on_swap=on_swap,
        close=close,
        interval_s=0.01,
    )
    consumer.start(wait_s=wait_s)
    yield consumer
    consumer.stop()


def served(consumer: Consumer[bytes]) -> bytes:
    with consumer.model() as model:
        return model


def serves(consumer: Consumer[bytes], content: bytes) -> Callable[[], bool]:
    return lambda: served(consumer) == content and consumer.stats().sha256 == sha256_hex(content)


@pytest.mark.parametrize("watch", WAYS)
def test_each_way_of_watching_alone_finds_what_is_new(
    plane: ControlPlane, tmp_path: Path, watch: str
) -> None:
    plane.hold(1, b"one")
    with following(plane, tmp_path, watch=watch) as consumer:
        assert served(consumer) == b"one"
        plane.hold(2, b"two")
        plane.tell()
        wait_until(serves(consumer, b"two"))
        assert consumer.stats().swaps == 2


@pytest.mark.parametrize("word", ["production", "active", "prod"])
def test_events_name_the_label_whatever_word_the_consumer_was_given(
    plane: ControlPlane, tmp_path: Path, word: str
) -> None:
    plane.hold(1, b"one")
    with following(plane, tmp_path, watch="events", reference=f"m:{word}") as consumer:
        plane.hold(2, b"two")
        plane.tell()
        wait_until(serves(consumer, b"two"))
        assert plane.reports[0]["reference"] == "m:prod"


@pytest.mark.parametrize("watch", WAYS)
def test_late_news_of_an_earlier_promotion_changes_nothing(
    plane: ControlPlane, tmp_path: Path, watch: str
) -> None:
    plane.hold(5, b"five")
    with following(plane, tmp_path, watch=watch) as consumer:
        plane.hold(4, b"four")
        looks = plane.looks
        plane.tell()
        wait_until(lambda: plane.looks > looks)
        plane.hold(6, b"six")
        plane.tell()
        wait_until(serves(consumer, b"six"))
        assert consumer.stats().swaps == 2  # five, six; four was never taken


class Load:
    """Eight threads that use whatever serves, and look whether it is closed meanwhile."""

    def __init__(self) -> None:
        self.closed, self.failed, self.counts = list[bytes](), list[str](), [0] * 8
        self._lock, self._stop = Lock(), Event()

    def close(self, model: bytes) -> None:
        with self._lock:
            self.closed.append(model)

    @contextmanager
    def on(self, consumer: Consumer[bytes]) -> Iterator[None]:
        threads = [Thread(target=self._run, args=(consumer, one)) for one in range(8)]
        for thread in threads:
            thread.start()
        yield
        self._stop.set()
        for thread in threads:
            thread.join(10)

    def _run(self, consumer: Consumer[bytes], number: int) -> None:
        while not self._stop.wait(0.001):
            try:
                with consumer.model() as model:
                    time.sleep(0)
                    if model in self.closed:
                        self.failed.append(f"{model!r} was closed in use")
            except Unavailable as error:
                self.failed.append(str(error))
            self.counts[number] += 1


@pytest.mark.slow
def test_under_load_no_request_fails_over_180_swaps_and_20_bad_candidates(
    plane: ControlPlane, tmp_path: Path
) -> None:
    order = [b"good %d" % one for one in range(179)] + [b"bad %d" % one for one in range(20)]
    random.Random(7).shuffle(order)
    order = [b"first", *order, b"last"]
    plane.hold(1, order[0])
    load = Load()
    with following(plane, tmp_path, watch="events", close=load.close) as consumer, load.on(consumer):
        for seq, content in enumerate(order[1:], start=2):
            before = consumer.stats()
            plane.hold(seq, content)
            plane.tell()
            wait_until(lambda seq=seq, before=before: _is_judged(consumer.stats(), before, seq))
        stats = consumer.stats()
    assert load.failed == []
    assert min(load.counts) > 0
    assert (stats.swaps, stats.rejected) == (181, 20)
    assert load.closed == [one for one in order if not one.startswith(b"bad")]  # each once, in order


def _is_judged(now: Stats, before: Stats, seq: int) -> bool:
    return now.seq == seq or now.rejected > before.rejected


def test_a_candidate_with_other_bytes_is_refused_and_taken_once_repaired(
    plane: ControlPlane, tmp_path: Path
) -> None:
    plane.hold(1, b"one")
    with following(plane, tmp_path) as consumer:
        digest = plane.hold(2, b"two", served=b"tw0")
        wait_until(lambda: consumer.stats().rejected >= 2)  # tried again
        assert served(consumer) == b"one"
        assert f"recorded sha256 {digest}, read {sha256_hex(b'tw0')}" in str(consumer.stats().reason)
        wait_until(lambda: plane.reports[-1]["state"] == "rejected")
        assert plane.reports[-1]["sha256"] == sha256_hex(b"one")
        plane.files[digest] = b"two"
        wait_until(serves(consumer, b"two"))
        assert consumer.stats().reason is None


def test_a_better_candidate_is_not_held_up_by_the_pause_of_a_bad_one(
    plane: ControlPlane, tmp_path: Path
) -> None:
    plane.hold(1, b"one")
    with following(plane, tmp_path) as consumer:
        plane.hold(2, b"bad")
        wait_until(lambda: consumer.stats().rejected >= 3)
        rejected = consumer.stats().rejected
        plane.hold(3, b"three")
        wait_until(serves(consumer, b"three"))
        assert consumer.stats().rejected == rejected


def test_back_to_what_serves_after_a_rejection_clears_it_without_loading_again(
    plane: ControlPlane, tmp_path: Path
) -> None:
    plane.hold(1, b"one")
    with following(plane, tmp_path) as consumer:
        plane.hold(2, b"bad")
        wait_until(lambda: consumer.stats().reason is not None)
        plane.hold(3, b"one")
        wait_until(lambda: consumer.stats().seq == 3)
        assert (consumer.stats().swaps, consumer.stats().reason) == (1, None)
        wait_until(lambda: (plane.reports[-1]["state"], plane.reports[-1]["seq"]) == ("serving", 3))


def test_whatever_the_loader_raises_the_old_model_serves(plane: ControlPlane, tmp_path: Path) -> None:
    def fickle(path: Path) -> bytes:
        return path.read_bytes() if path.read_bytes() == b"one" else {}["weights"]

    plane.hold(1, b"one")
    with following(plane, tmp_path, loader=fickle) as consumer:
        plane.hold(2, b"two")
        wait_until(lambda: consumer.stats().reason == "KeyError: 'weights'")
        assert served(consumer) == b"one"


def test_a_listener_that_raises_does_not_undo_a_swap(plane: ControlPlane, tmp_path: Path) -> None:
    def refuse(seq: int, sha256: str) -> None:
        raise RuntimeError(seq, sha256)

    plane.hold(1, b"one")
    with following(plane, tmp_path, on_swap=refuse) as consumer:
        plane.hold(2, b"two")
        wait_until(serves(consumer, b"two"))
        assert (consumer.stats().swaps, consumer.stats().rejected) == (2, 0)


def test_a_control_plane_that_answers_nonsense_does_not_disturb_serving(
    plane: ControlPlane, tmp_path: Path
) -> None:
    plane.hold(1, b"one")
    with following(plane, tmp_path, watch="events") as consumer:
        for status in (500, 401, 302, 404):
            plane.status = status
            plane.tell()
            assert served(consumer) == b"one"
        plane.status = None
        plane.hold(2, b"two")
        plane.tell()
        wait_until(serves(consumer, b"two"))


def test_started_while_the_api_is_away_the_last_verified_copy_serves_and_says_so(
    plane: ControlPlane, tmp_path: Path
) -> None:
    digest = plane.hold(7, b"seven")
    with following(plane, tmp_path):
        pass
    plane.status = 503
    with following(plane, tmp_path) as consumer:
        assert served(consumer) == b"seven"
        stats = consumer.stats()
        assert (stats.is_from_copy, stats.seq, stats.sha256) == (True, 7, digest)
        plane.status = None
        wait_until(lambda: not consumer.stats().is_from_copy)
        assert consumer.stats().swaps == 1  # the same bytes are not loaded twice


def test_started_from_a_copy_it_follows_a_control_plane_that_was_set_up_anew(
    plane: ControlPlane, tmp_path: Path
) -> None:
    plane.hold(7, b"seven")
    with following(plane, tmp_path):
        pass
    plane.status = 503
    with following(plane, tmp_path) as consumer:
        plane.hold(1, b"other")
        plane.status = None
        wait_until(serves(consumer, b"other"))


def test_a_copy_that_no_longer_verifies_does_not_serve(plane: ControlPlane, tmp_path: Path) -> None:
    digest = plane.hold(7, b"seven")
    with following(plane, tmp_path):
        pass
    (tmp_path / f"{digest}.bin").write_bytes(b"s3ven")
    plane.status = 503
    with following(plane, tmp_path, wait_s=0.3) as consumer, pytest.raises(Unavailable):
        served(consumer)


def test_a_copy_of_another_reference_does_not_serve(plane: ControlPlane, tmp_path: Path) -> None:
    plane.hold(7, b"seven")
    with following(plane, tmp_path):
        pass
    plane.status = 503
    with (
        following(plane, tmp_path, wait_s=0.3, reference="m:shadow") as consumer,
        pytest.raises(Unavailable),
    ):
        served(consumer)


def test_started_on_a_bad_candidate_the_last_good_copy_serves(plane: ControlPlane, tmp_path: Path) -> None:
    plane.hold(1, b"one")
    with following(plane, tmp_path):
        pass
    plane.hold(2, b"bad")
    with following(plane, tmp_path) as consumer:
        assert served(consumer) == b"one"
        wait_until(lambda: consumer.stats().reason == "weights hold NaN")


def test_rejected_candidates_never_push_the_last_good_copy_out_of_the_cache(
    plane: ControlPlane, tmp_path: Path
) -> None:
    good = plane.hold(1, b"one")
    with following(plane, tmp_path) as consumer:
        for seq in range(2, 8):
            plane.hold(seq, b"bad %d" % seq)
            wait_until(lambda seq=seq: consumer.stats().rejected >= seq - 1)
        assert (tmp_path / f"{good}.bin").is_file()
        assert len(list(tmp_path.glob("*.bin"))) <= 3


def test_before_the_first_promotion_it_waits_and_then_serves(plane: ControlPlane, tmp_path: Path) -> None:
    with following(plane, tmp_path, wait_s=None) as consumer:
        wait_until(lambda: plane.looks > 1)
        with pytest.raises(Unavailable, match="wait for the first promotion"):
            served(consumer)
        wait_until(lambda: bool(plane.reports) and plane.reports[0]["state"] == "starting")
        plane.hold(1, b"one")
        assert consumer._loaded.wait(10)
        assert served(consumer) == b"one"


def test_a_copy_that_the_code_can_no_longer_load_does_not_serve(plane: ControlPlane, tmp_path: Path) -> None:
    def of_a_later_release(path: Path) -> bytes:
        raise ArtifactError(f"{path.suffix} is no longer read")

    plane.hold(7, b"seven")
    with following(plane, tmp_path):
        pass
    plane.status = 503
    with following(plane, tmp_path, wait_s=0.3, loader=of_a_later_release) as consumer:
        with pytest.raises(Unavailable):
            served(consumer)
        plane.status = None
        wait_until(lambda: consumer.stats().reason == ".bin is no longer read")  # it went on trying


@pytest.mark.parametrize("content", [b"", b"{}", b"\x00" * 100, b'{"schema": "thunderline/reference/v1"}'])
def test_a_damaged_note_of_the_last_copy_is_passed_over(
    plane: ControlPlane, tmp_path: Path, content: bytes
) -> None:
    plane.hold(7, b"seven")
    (tmp_path / "last.json").write_bytes(content)
    with following(plane, tmp_path) as consumer:
        assert served(consumer) == b"seven"
    assert b'"seq": 7' in (tmp_path / "last.json").read_bytes()


def test_a_cache_that_takes_no_note_does_not_disturb_serving(plane: ControlPlane, tmp_path: Path) -> None:
    plane.hold(7, b"seven")
    (tmp_path / "last.json.new").mkdir()
    with following(plane, tmp_path) as consumer:
        assert (served(consumer), consumer.stats().rejected) == (b"seven", 0)


def test_a_reference_document_without_end_is_not_read_to_its_end(plane: ControlPlane, tmp_path: Path) -> None:
    plane.hold(1, b"one")
    with following(plane, tmp_path) as consumer:
        plane.hold(2, b"two")
        assert plane.reference is not None
        plane.reference["padding"] = "x" * (1 << 20)
        looks = plane.looks
        wait_until(lambda: plane.looks > looks + 1)
        assert served(consumer) == b"one"


def test_stopping_does_not_wait_for_the_stream_to_speak(plane: ControlPlane, tmp_path: Path) -> None:
    plane.hold(1, b"one")
    with following(plane, tmp_path, watch="events") as consumer:
        consumer.stop()
        assert not [one for one in consumer._threads if one.is_alive()]
        listener = consumer._watch._listener
        assert listener is not None
        assert not listener.is_alive()


@pytest.mark.parametrize("reference", ["m", ":prod", "m:", "m#nothing"])
def test_a_reference_of_another_form_is_refused(tmp_path: Path, reference: str) -> None:
    with pytest.raises(InvalidInput, match="reference"):
        Consumer(reference=reference, load=load, url="http://127.0.0.1:1", api_key="k", cache=tmp_path)


def test_an_unknown_way_of_watching_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InvalidInput, match="events, polling"):
        Consumer(
            reference="m:prod", load=load, url="http://127.0.0.1:1", api_key="k", cache=tmp_path, watch="x"
        )

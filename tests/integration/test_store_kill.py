"""The embedded store through kill -9, racers and a full disk: a blob is whole or it is not there."""

import json
import os
import random
import resource
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import Barrier

import pytest

from tests.serving import RunningApi, wait_until
from thunderline.artifacts.blob_store import Stored, blob_key
from thunderline.artifacts.filesystem import FilesystemStore
from thunderline.artifacts.store import Store
from thunderline.canonical import sha256_hex
from thunderline.errors import StoreFull, Unavailable

KILLS = 20
WRITER = """
import itertools, pathlib, random, sys
from thunderline.artifacts.filesystem import FilesystemStore
from thunderline.artifacts.store import Store
store = Store(FilesystemStore(pathlib.Path(sys.argv[1])), bucket="b")
chance = random.Random(int(sys.argv[2]))
for number in itertools.count():
    sizes = [chance.randint(1, 40_000) for _ in range(chance.randint(1, 9))]
    stored = store.put_stream(chance.randbytes(size) for size in sizes)
    store.publish("default", stored.digest, f"artifacts/{stored.digest}/m.bin")
    store.replace("default", stored.digest, "models/m/latest.bin")
    store.write_document("default", "models/m/latest.json", stored.digest.encode() * 500)
    print(stored.digest, flush=True)
"""
FILLER = """
import json, os, pathlib, sys
from thunderline.artifacts.filesystem import FilesystemStore
from thunderline.artifacts.store import Store
from thunderline.errors import StoreFull
blobs = FilesystemStore(pathlib.Path(sys.argv[1]) / "objects")
store = Store(blobs, bucket="b")
kept = store.put(b"k" * 300_000)
refused = []
for act in (
    lambda: store.put_stream(os.urandom(65_536) for _ in range(20)),
    lambda: store.write_document("default", "latest.json", bytes(900_000)),
):
    try:
        act()
    except StoreFull as error:
        refused.append(str(error))
files = [str(one.relative_to(blobs.root)) for one in blobs.root.rglob("*") if one.is_file()]
after = store.put(b"a" * 300_000).is_new
print(json.dumps([refused, files, store.read(kept.digest).decode() == "k" * 300_000, after]))
"""


def visible(root: Path) -> list[Path]:
    """Return every file that a reader could meet."""
    return [one for one in root.rglob("*") if one.is_file() and ".tmp" not in one.relative_to(root).parts]


def told_until_killed(root: Path, seed: int, run_s: float) -> list[str]:
    """Run a writer, kill it in the middle of its work; return the digests that it told of before."""
    arguments = [sys.executable, "-c", WRITER, str(root), str(seed)]
    with subprocess.Popen(arguments, stdout=subprocess.PIPE, text=True) as writer:
        assert writer.stdout is not None
        first = writer.stdout.readline()
        time.sleep(run_s)  # not to wait for anything: the moment of the blow
        writer.send_signal(signal.SIGKILL)
        lines = [first, *writer.stdout.read().split("\n")]
    return [line.strip() for line in lines if len(line.strip()) == 64]


@pytest.mark.slow
def test_after_kill_9_every_visible_blob_hashes_to_its_name(tmp_path: Path) -> None:
    root, told, chance = tmp_path / "objects", list[str](), random.Random(3)
    for seed in range(KILLS):
        told += told_until_killed(root, seed, chance.random() * 0.15)
    blobs = [one for one in visible(root) if one.is_relative_to(root / "cas")]
    assert [one.name for one in blobs if sha256_hex(one.read_bytes()) != one.name] == []
    assert set(told) <= {one.name for one in blobs}, "a blob that was told of as kept is not there"
    published = [one for one in visible(root) if one.is_relative_to(root / "artifacts")]
    assert [one for one in published if sha256_hex(one.read_bytes()) != one.parent.name] == []
    latest = (root / "models" / "m" / "latest.json").read_text()
    assert latest == latest[:64] * 500
    assert sha256_hex((root / "models" / "m" / "latest.bin").read_bytes()) in {one.name for one in blobs}
    assert len(told) >= KILLS


@pytest.mark.slow
def test_what_a_killed_writer_left_behind_goes_after_a_day(tmp_path: Path) -> None:
    left = tmp_path / "objects" / ".tmp" / "left"
    left.parent.mkdir(parents=True)
    young = left.with_name("young")
    for one in (left, young):
        one.write_bytes(b"half")
    os.utime(left, (time.time() - 90_000,) * 2)
    FilesystemStore(tmp_path / "objects")
    assert [one.name for one in left.parent.iterdir()] == ["young"]


def test_of_many_racers_with_the_same_bytes_exactly_one_is_new(tmp_path: Path) -> None:
    blobs = FilesystemStore(tmp_path / "objects")
    content, start = random.Random(5).randbytes(300_000), Barrier(32)

    def race(_: int) -> Stored:
        receiver = blobs.receive()
        receiver.write(content)
        start.wait(60)
        return receiver.commit()

    with ThreadPoolExecutor(32) as threads:
        results = list(threads.map(race, range(32)))
    assert [one.is_new for one in results].count(True) == 1
    assert visible(tmp_path / "objects") == [tmp_path / "objects" / blob_key(sha256_hex(content))]
    assert list((tmp_path / "objects" / ".tmp").iterdir()) == []


@pytest.fixture
def small_files(tmp_path: Path) -> Iterator[FilesystemStore]:
    """Let no file of this process grow beyond 64 KiB: every larger write fails as on a full disk."""
    blobs = FilesystemStore(tmp_path / "objects")
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (65_536, before[1]))
    try:
        yield blobs
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
        signal.signal(signal.SIGXFSZ, handler)


def test_a_write_that_the_disk_refuses_leaves_nothing(small_files: FilesystemStore) -> None:
    receiver = small_files.receive()
    receiver.write(bytes(65_536))
    with pytest.raises(Unavailable, match="writing an upload failed: File too large"):
        receiver.write(b"x")
    receiver.abort()
    with pytest.raises(Unavailable, match=r"writing models/m/latest.json failed"):
        small_files.write("models/m/latest.json", bytes(65_537))
    assert visible(small_files.root) == []
    assert list((small_files.root / ".tmp").iterdir()) == []
    small_files.check()


def test_a_document_that_could_not_be_replaced_stays_as_it_was(small_files: FilesystemStore) -> None:
    small_files.write("latest.json", b"before")
    with pytest.raises(Unavailable):
        small_files.write("latest.json", bytes(65_537))
    assert (small_files.root / "latest.json").read_bytes() == b"before"


def test_on_a_full_disk_an_upload_is_refused_as_such_and_its_room_comes_back(tmp_path: Path) -> None:
    """A disk of one mebibyte, in a namespace of its own; skipped where the kernel grants none."""
    prefix = ["unshare", "--map-root-user", "--mount", "sh", "-c"]
    mount = 'mount -t tmpfs -o size=1m none "$0"'
    if shutil.which("unshare") is None or subprocess.run([*prefix, mount, tmp_path], check=False).returncode:
        pytest.skip("this kernel lets nobody mount a small disk in a namespace of its own")
    arguments = [*prefix, f'{mount} && exec "$1" -c "$2" "$0"', str(tmp_path), sys.executable, FILLER]
    told = subprocess.run(arguments, capture_output=True, text=True, timeout=60, check=False)
    assert told.returncode == 0, told.stderr
    refused, files, is_intact, has_room_again = json.loads(told.stdout)
    assert len(refused) == 2
    assert all("no space left while writing" in one for one in refused)
    assert (files, is_intact, has_room_again) == ([blob_key(sha256_hex(b"k" * 300_000))], True, True)


class _AlmostFull(FilesystemStore):
    """A directory whose disk has little room left, as the kernel would tell of it."""

    def free_bytes(self) -> int | None:
        return 1000


class TestAGuardOnFreeSpace:
    @pytest.fixture
    def store(self, tmp_path: Path) -> Store:
        return Store(_AlmostFull(tmp_path / "store"), bucket="thunderline-artifacts", keep_free_bytes=600)

    def test_an_upload_for_which_there_is_no_room_is_refused_before_it_starts(self, api: RunningApi) -> None:
        with api.client() as client:
            assert client.post("/files", content=b"x" * 400).status_code == 201
            answer = client.post("/files", content=b"x" * 401)
        assert (answer.status_code, answer.json()["code"]) == (507, "STORE_FULL")
        assert "1000 bytes are free, 401 are to come, 600 must stay free" in answer.json()["message"]

    def test_a_store_below_its_guard_is_not_ready(self, tmp_path: Path) -> None:
        blobs = _AlmostFull(tmp_path / "store")
        Store(blobs, bucket="b", keep_free_bytes=1000).check()
        with pytest.raises(Unavailable, match="must stay free"):
            Store(blobs, bucket="b", keep_free_bytes=1001).check()
        with pytest.raises(StoreFull):
            Store(blobs, bucket="b", keep_free_bytes=1001).put(b"")


def test_an_upload_cut_off_by_its_sender_leaves_nothing(api: RunningApi, tmp_path: Path) -> None:
    def halves() -> Iterator[bytes]:
        yield bytes(1 << 21)
        raise ConnectionAbortedError("the sender goes")

    with api.client() as client, pytest.raises(ConnectionAbortedError):
        client.post("/files", content=halves(), headers={"Content-Length": str(1 << 22)})
    root = tmp_path / "store"
    wait_until(lambda: not any((root / ".tmp").iterdir()))
    assert visible(root) == []

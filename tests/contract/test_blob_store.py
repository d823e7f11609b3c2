"""What every place that keeps bytes promises: one suite, once over a directory, once over an S3 server."""

import random
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from threading import Barrier

import pytest

from tests.contract.s3_server import S3Server, fresh_bucket, running
from thunderline.artifacts.blob_store import BlobStore, Receiver, Stored, blob_key
from thunderline.artifacts.filesystem import FilesystemStore
from thunderline.artifacts.object_store import open_object_store
from thunderline.canonical import sha256_hex
from thunderline.errors import ChecksumMismatch, NotFound

MIB = 1 << 20
LARGE = random.Random(7).randbytes(19 * MIB + 3)  # more than two parts of an upload
MISSING = "0" * 64


@pytest.fixture(scope="module")
def endpoint() -> Iterator[str]:
    with running() as started:
        yield started


@dataclass(frozen=True, slots=True)
class Place:
    """A store, and all keys that a stranger can see in it."""

    blobs: BlobStore
    folder: Path | None
    server: S3Server | None

    def visible(self) -> list[str]:
        if self.server is not None:
            return sorted(self.server.keys() + self.server.unfinished())
        assert self.folder is not None
        files = [one for one in self.folder.rglob("*") if one.is_file()]
        return sorted(one.relative_to(self.folder).as_posix() for one in files)


@pytest.fixture(params=["directory", "s3"])
def place(request: pytest.FixtureRequest, tmp_path: Path) -> Place:
    if request.param == "directory":
        return Place(FilesystemStore(tmp_path / "objects"), tmp_path / "objects", None)
    server = fresh_bucket(request.getfixturevalue("endpoint"))
    blobs = open_object_store(
        url=None, endpoint=server.endpoint, bucket=server.bucket, access_key="a", secret_key="s"
    )
    return Place(blobs, None, server)


def received(blobs: BlobStore, content: bytes, piece: int = MIB) -> Receiver:
    receiver = blobs.receive()
    for at in range(0, len(content), piece):
        receiver.write(memoryview(content)[at : at + piece])
    return receiver


def keep(blobs: BlobStore, content: bytes, piece: int = MIB) -> Stored:
    return received(blobs, content, piece).commit()


def read(blobs: BlobStore, key: str, start: int = 0, stop: int | None = None) -> bytes:
    return b"".join(blobs.open(key, start, stop))


@pytest.mark.parametrize(
    ("content", "piece"),
    [
        (b"", 1),
        (b"a", 1),
        (bytes(range(256)), 7),
        (LARGE[: 8 * MIB], 3 * MIB),
        (LARGE[: 16 * MIB], 8 * MIB),
        (LARGE, MIB),
        (LARGE, len(LARGE)),
    ],
    ids=["nothing", "one byte", "odd pieces", "exactly one part", "exactly two parts", "parts", "one piece"],
)
def test_what_goes_in_comes_out_under_its_digest(place: Place, content: bytes, piece: int) -> None:
    stored = keep(place.blobs, content, piece)
    assert stored == Stored(sha256_hex(content), len(content), is_new=True)
    assert read(place.blobs, blob_key(stored.digest)) == content
    assert place.blobs.size(blob_key(stored.digest)) == len(content)
    assert place.visible() == [blob_key(stored.digest)]


@pytest.mark.parametrize("content", [b"small", LARGE], ids=["small", "parts"])
def test_nothing_is_visible_before_the_commit(place: Place, content: bytes) -> None:
    receiver = received(place.blobs, content)
    assert blob_key(sha256_hex(content)) not in place.visible()
    assert (receiver.digest(), receiver.size_bytes) == (sha256_hex(content), len(content))
    receiver.commit()
    assert blob_key(sha256_hex(content)) in place.visible()


@pytest.mark.parametrize("content", [b"", b"small", LARGE], ids=["nothing", "small", "parts"])
def test_an_aborted_upload_leaves_nothing(place: Place, content: bytes) -> None:
    receiver = received(place.blobs, content)
    receiver.abort()
    receiver.abort()
    assert place.visible() == []


def test_an_abort_after_the_commit_takes_nothing_back(place: Place) -> None:
    receiver = received(place.blobs, LARGE)
    stored = receiver.commit()
    receiver.abort()
    assert read(place.blobs, blob_key(stored.digest)) == LARGE


@pytest.mark.parametrize("content", [b"small", LARGE], ids=["small", "parts"])
def test_another_digest_than_announced_is_refused_and_nothing_stays(place: Place, content: bytes) -> None:
    receiver = received(place.blobs, content)
    with pytest.raises(ChecksumMismatch, match=MISSING):
        receiver.commit(MISSING)
    assert place.visible() == []


def test_the_announced_digest_is_accepted(place: Place) -> None:
    assert received(place.blobs, b"x").commit(sha256_hex(b"x")).is_new


@pytest.mark.parametrize("content", [b"same", LARGE], ids=["small", "parts"])
def test_the_same_bytes_again_are_not_new(place: Place, content: bytes) -> None:
    assert keep(place.blobs, content).is_new
    assert not keep(place.blobs, content).is_new
    assert place.visible() == [blob_key(sha256_hex(content))]


@pytest.mark.parametrize("content", [b"raced", LARGE], ids=["small", "parts"])
def test_racers_with_the_same_bytes_all_succeed_and_one_blob_stays(place: Place, content: bytes) -> None:
    start = Barrier(6)

    def race(_: int) -> Stored:
        receiver = received(place.blobs, content)
        start.wait(30)
        return receiver.commit()

    with ThreadPoolExecutor(6) as threads:
        results = list(threads.map(race, range(6)))
    assert {one.digest for one in results} == {sha256_hex(content)}
    assert any(one.is_new for one in results)
    assert read(place.blobs, blob_key(sha256_hex(content))) == content
    assert place.visible() == [blob_key(sha256_hex(content))]


@pytest.mark.parametrize(
    ("start", "stop"),
    [(0, 1), (0, None), (1, None), (5, 5), (7, 3), (0, 0), (MIB - 1, 2 * MIB + 2), (10, 1 << 40),
     (3 * MIB, None), (3 * MIB, 4 * MIB), (9 * MIB, None), (3 * MIB - 1, None)],
)  # fmt: skip
def test_a_range_gives_what_a_slice_would(place: Place, start: int, stop: int | None) -> None:
    content = LARGE[: 3 * MIB]
    key = blob_key(keep(place.blobs, content).digest)
    assert read(place.blobs, key, start, stop) == content[start:stop]


def test_no_chunk_is_larger_than_a_mebibyte(place: Place) -> None:
    key = blob_key(keep(place.blobs, LARGE).digest)
    assert max(len(chunk) for chunk in place.blobs.open(key, 0, None)) <= MIB


@pytest.mark.parametrize(("start", "stop"), [(0, None), (3, None), (0, 4)])
def test_a_missing_key_is_not_found_when_opened_not_when_read(
    place: Place, start: int, stop: int | None
) -> None:
    with pytest.raises(NotFound, match="nowhere/to/be"):
        place.blobs.open("nowhere/to/be", start, stop)


def test_a_missing_key_has_no_size_and_can_be_deleted(place: Place) -> None:
    assert place.blobs.size("nowhere/to/be") is None
    place.blobs.delete("nowhere/to/be")


def test_a_deleted_key_is_gone(place: Place) -> None:
    key = blob_key(keep(place.blobs, b"x").digest)
    place.blobs.delete(key)
    assert place.blobs.size(key) is None
    assert place.visible() == []


def test_a_copy_holds_the_blob_s_bytes_whatever_the_key_held(place: Place) -> None:
    first, second = keep(place.blobs, b"first").digest, keep(place.blobs, LARGE).digest
    place.blobs.copy(first, "models/m/latest.bin")
    assert read(place.blobs, "models/m/latest.bin") == b"first"
    place.blobs.copy(second, "models/m/latest.bin")
    place.blobs.copy(second, "models/m/latest.bin")
    assert read(place.blobs, "models/m/latest.bin") == LARGE
    assert read(place.blobs, blob_key(first)) == b"first"
    assert len(place.visible()) == 3


def test_a_copy_outlives_its_blob(place: Place) -> None:
    digest = keep(place.blobs, b"x").digest
    place.blobs.copy(digest, "kept/here.bin")
    place.blobs.delete(blob_key(digest))
    assert read(place.blobs, "kept/here.bin") == b"x"


def test_a_copy_of_a_missing_blob_is_not_found_and_changes_nothing(place: Place) -> None:
    place.blobs.write("models/m/latest.bin", b"before")
    with pytest.raises(NotFound, match=MISSING):
        place.blobs.copy(MISSING, "models/m/latest.bin")
    assert read(place.blobs, "models/m/latest.bin") == b"before"
    assert place.visible() == ["models/m/latest.bin"]


def test_a_document_is_replaced_whole(place: Place) -> None:
    place.blobs.write("models/m/latest.json", b"a" * 2 * MIB)
    place.blobs.write("models/m/latest.json", b"{}")
    assert read(place.blobs, "models/m/latest.json") == b"{}"
    assert place.visible() == ["models/m/latest.json"]


def test_the_check_leaves_no_trace(place: Place) -> None:
    place.blobs.check()
    assert place.visible() == []


def test_keys_with_unusual_letters_are_kept_apart(place: Place) -> None:
    keys = ["a b/c.bin", "a%20b/c.bin", "a+b/c.bin", "a b/ü.bin", "a b/~x#?.bin"]
    for key in keys:
        place.blobs.write(key, key.encode())
    assert [read(place.blobs, key) for key in keys] == [key.encode() for key in keys]


@pytest.mark.parametrize("key", ["a\\b", "é/ü", "a%2e%2e/b", "~", "a*?", "😀", "a" * 1000, " "])
def test_a_key_of_odd_characters_is_missing_like_any_other(place: Place, key: str) -> None:
    assert place.blobs.size(key) is None
    with pytest.raises(NotFound):
        read(place.blobs, key)

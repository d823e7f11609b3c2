"""What the store promises to every room: keys of tenants kept apart, digests checked, written once."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from thunderline.artifacts.blob_store import blob_key
from thunderline.artifacts.filesystem import FilesystemStore
from thunderline.artifacts.store import Store
from thunderline.canonical import sha256_hex
from thunderline.errors import ChecksumMismatch, Conflict, NotFound, StoreFull, TooLarge


@pytest.fixture
def blobs(tmp_path: Path) -> FilesystemStore:
    return FilesystemStore(tmp_path / "objects")


@pytest.fixture
def store(blobs: FilesystemStore) -> Store:
    return Store(blobs, bucket="bucket", home_tenant="home")


def damage(blobs: FilesystemStore, digest: str, content: bytes) -> None:
    blobs.path(blob_key(digest)).unlink()
    blobs.write(blob_key(digest), content)


def test_a_stream_that_breaks_keeps_nothing(store: Store, blobs: FilesystemStore) -> None:
    def broken() -> Iterator[bytes]:
        yield b"half"
        raise ConnectionResetError

    with pytest.raises(ConnectionResetError):
        store.put_stream(broken())
    assert not [one for one in blobs.root.rglob("*") if one.is_file()]


def test_bytes_are_compared_with_their_digest_when_read(store: Store, blobs: FilesystemStore) -> None:
    digest = store.put(b"right").digest
    assert store.read(digest) == b"right"
    damage(blobs, digest, b"wrong")
    with pytest.raises(ChecksumMismatch, match=sha256_hex(b"wrong")):
        store.read(digest)


def test_no_more_is_read_into_memory_than_allowed(store: Store) -> None:
    digest = store.put(bytes(11)).digest
    assert len(store.read(digest, limit_bytes=11)) == 11
    with pytest.raises(TooLarge, match="10 bytes"):
        store.read(digest, limit_bytes=10)


@pytest.mark.parametrize(
    ("tenant", "uri"), [("home", "s3://bucket/a/m.bin"), ("other", "s3://bucket/tenants/other/a/m.bin")]
)
def test_each_tenant_has_keys_of_its_own(store: Store, tenant: str, uri: str) -> None:
    digest = store.put(b"x").digest
    assert store.publish(tenant, digest, "a/m.bin") == uri
    assert store.digest_of(tenant, uri) == digest


@pytest.mark.parametrize(
    ("tenant", "uri"),
    [
        ("home", "s3://bucket/tenants/other/a/m.bin"),
        ("other", "s3://bucket/a/m.bin"),
        ("other", "s3://bucket/tenants/others/a/m.bin"),
        ("other", "s3://bucket/tenants/other/../../a/m.bin"),
        ("other", "s3://bucket/tenants/other//a/m.bin"),
        ("home", "s3://elsewhere/a/m.bin"),
        ("home", "s3://bucket/../bucket/a/m.bin"),
        ("home", "s3://bucket/./a/m.bin"),
        ("home", "s3://bucket/"),
        ("home", "file:///etc/passwd"),
        ("home", "s3://bucket/a/missing.bin"),
    ],
)
def test_no_uri_leads_out_of_the_tenant_s_keys(store: Store, tenant: str, uri: str) -> None:
    digest = store.put(b"x").digest
    for one in ("home", "other"):
        store.publish(one, digest, "a/m.bin")
    with pytest.raises(NotFound):
        store.digest_of(tenant, uri)


def test_a_readable_key_is_written_once(store: Store) -> None:
    first, second = store.put(b"1").digest, store.put(b"2").digest
    uri = store.publish("home", first, "a/m.bin")
    assert store.publish("home", first, "a/m.bin") == uri
    with pytest.raises(Conflict, match=f"already holds {first}, not {second}"):
        store.publish("home", second, "a/m.bin")
    assert store.digest_of("home", uri) == first


def test_a_reference_is_replaced(store: Store) -> None:
    first, second = store.put(b"1").digest, store.put(b"2").digest
    uri = store.replace("home", first, "models/m/latest.bin")
    store.replace("home", second, "models/m/latest.bin")
    assert store.digest_of("home", uri) == second
    assert store.read(first) == b"1"


def test_a_document_is_there_or_none(store: Store) -> None:
    assert store.read_document("other", "latest.json") is None
    store.write_document("other", "latest.json", b"{}")
    assert store.read_document("other", "latest.json") == b"{}"
    assert store.read_document("home", "latest.json") is None
    store.remove("other", "latest.json")
    assert store.read_document("other", "latest.json") is None


def test_a_forgotten_blob_is_gone_but_its_readable_key_stays(store: Store) -> None:
    digest = store.put(b"x").digest
    uri = store.publish("home", digest, "a/m.bin")
    store.forget(digest)
    assert store.size(digest) is None
    assert store.digest_of("home", uri) == digest


def test_the_guard_counts_what_is_announced(blobs: FilesystemStore) -> None:
    room = blobs.free_bytes()
    assert room is not None
    guarded = Store(blobs, bucket="bucket", keep_free_bytes=room // 2)
    guarded.receive(expected_bytes=0).abort()
    with pytest.raises(StoreFull, match="must stay free"):
        guarded.receive(expected_bytes=room)

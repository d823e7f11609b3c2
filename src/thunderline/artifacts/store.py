"""The one store of a platform: write-once by digest, readable keys beside it, a guard on free space."""

import re
from collections.abc import Iterable, Iterator

from thunderline.artifacts.blob_store import BlobStore, Receiver, Stored, blob_key
from thunderline.canonical import new_hasher, sha256_of_chunks
from thunderline.errors import ChecksumMismatch, Conflict, NotFound, StoreFull, TooLarge, Unavailable

_OWN = ("cas", "staging", ".tmp")  # every tenant's bytes lie there side by side: no URI leads to them
_LONGEST_KEY = 1024  # bytes; as S3 has it
_CONTROL = re.compile("[\0-\x1f\x7f]")


class Store:
    """What every room uses to keep and find bytes."""

    def __init__(
        self,
        blobs: BlobStore,
        *,
        bucket: str,
        prefix: str = "",
        home_tenant: str = "default",
        keep_free_bytes: int = 0,
    ) -> None:
        """Stand over a place that keeps bytes.

        Args:
            blobs: the place.
            bucket: its name, as URIs say it.
            prefix: below which the place keeps every key, as URIs say it.
            home_tenant: the tenant whose keys lie at the bucket's root.
            keep_free_bytes: uploads are refused when less would stay free.
        """
        self._blobs, self.bucket = blobs, bucket
        self._root = f"s3://{bucket}/{prefix}/" if prefix else f"s3://{bucket}/"
        self._home_tenant, self._keep_free_bytes = home_tenant, keep_free_bytes

    def receive(self, *, expected_bytes: int | None = None) -> Receiver:
        """Begin an upload.

        Args:
            expected_bytes: as announced, None when not.

        Raises:
            StoreFull: the guard on free space says no.
        """
        self._guard(expected_bytes or 0)
        return self._blobs.receive()

    def _guard(self, coming_bytes: int) -> None:
        free = self._blobs.free_bytes()
        if free is not None and free - coming_bytes < self._keep_free_bytes:
            raise StoreFull(
                "store",
                f"{free} bytes are free, {coming_bytes} are to come, {self._keep_free_bytes} must stay free; "
                "free some space or lower store.keep_free_bytes",
            )

    def put(self, content: bytes) -> Stored:
        """Keep bytes held in memory."""
        return self.put_stream([content])

    def put_stream(self, chunks: Iterable[bytes]) -> Stored:
        """Keep a stream of chunks; when the stream raises, nothing stays."""
        receiver = self.receive()
        try:
            for chunk in chunks:
                receiver.write(chunk)
            return receiver.commit()
        finally:
            receiver.abort()

    def open(self, digest: str, start: int = 0, stop: int | None = None) -> Iterator[bytes]:
        """Yield a blob's bytes, or a range of them, in chunks of 1 MiB at most.

        Raises:
            NotFound: no such blob.
        """
        return self._blobs.open(blob_key(digest), start, stop)

    def read(self, digest: str, *, limit_bytes: int = 1 << 30) -> bytes:
        """Return a blob's bytes after comparing them with their digest.

        Raises:
            NotFound: no such blob.
            TooLarge: more than ``limit_bytes``.
            ChecksumMismatch: the store holds other bytes.
        """
        content, running = bytearray(), new_hasher()
        for chunk in self.open(digest):
            running.update(chunk)
            content += chunk
            if len(content) > limit_bytes:
                raise TooLarge("object", f"{digest} has more than the {limit_bytes} bytes allowed")
        if running.hexdigest() != digest:
            raise ChecksumMismatch(digest, recorded=digest, read=running.hexdigest())
        return bytes(content)

    def size(self, digest: str) -> int | None:
        """Return a blob's size in bytes, None when there is no such blob."""
        return self._blobs.size(blob_key(digest))

    def uri(self, tenant: str, key: str) -> str:
        """Return the URI of a tenant's key."""
        return f"{self._root}{self._key(tenant, key)}"

    def _key(self, tenant: str, key: str) -> str:
        return key if tenant == self._home_tenant else f"tenants/{tenant}/{key}"

    def publish(self, tenant: str, digest: str, key: str) -> str:
        """Let a readable key hold a blob's bytes, once.

        Returns:
            The URI.

        Raises:
            NotFound: no such blob.
            Conflict: the key holds other bytes.
        """
        full, uri = self._key(tenant, key), self.uri(tenant, key)
        if self._blobs.size(full) is None:
            self._blobs.copy(digest, full)
        elif (held := sha256_of_chunks(self._blobs.open(full, 0, None))) != digest:
            raise Conflict(f"{uri} already holds {held}, not {digest}; a readable key is written once")
        return uri

    def replace(self, tenant: str, digest: str, key: str) -> str:
        """Let a readable key hold a blob's bytes, whatever it held; returns the URI.

        Raises:
            NotFound: no such blob.
        """
        self._blobs.copy(digest, self._key(tenant, key))
        return self.uri(tenant, key)

    def write_document(self, tenant: str, key: str, content: bytes) -> None:
        """Let a key hold a small document, atomically."""
        self._blobs.write(self._key(tenant, key), content)

    def read_document(self, tenant: str, key: str) -> bytes | None:
        """Return a small document, None when there is none."""
        full = self._key(tenant, key)
        if self._blobs.size(full) is None:
            return None
        try:
            return b"".join(self._blobs.open(full, 0, None))
        except NotFound:
            return None

    def remove(self, tenant: str, key: str) -> None:
        """Remove a readable key; missing is fine."""
        self._blobs.delete(self._key(tenant, key))

    def forget(self, digest: str) -> None:
        """Remove a blob; the caller knows that nothing refers to it."""
        self._blobs.delete(blob_key(digest))

    def digest_of(self, tenant: str, uri: str) -> str:
        """Read every byte at a readable URI and return their sha256.

        Raises:
            NotFound: nothing lies there, or the URI is not one of the tenant's.
        """
        return sha256_of_chunks(self._blobs.open(self._key_at(tenant, uri), 0, None))

    def size_at(self, tenant: str, uri: str) -> int | None:
        """Return the size in bytes of what lies at a readable URI, None when nothing does.

        Raises:
            NotFound: the URI is not one of the tenant's.
        """
        return self._blobs.size(self._key_at(tenant, uri))

    def read_at(self, tenant: str, uri: str, *, limit_bytes: int = 1 << 30) -> bytes:
        """Return every byte at a readable URI; the caller compares them with a digest, if it has one.

        Raises:
            NotFound: nothing lies there, or the URI is not one of the tenant's.
            TooLarge: more than ``limit_bytes``.
        """
        content = bytearray()
        for chunk in self._blobs.open(self._key_at(tenant, uri), 0, None):
            content += chunk
            if len(content) > limit_bytes:
                raise TooLarge("object", f"{uri} has more than the {limit_bytes} bytes allowed")
        return bytes(content)

    def _key_at(self, tenant: str, uri: str) -> str:
        start = self.uri(tenant, "")
        if not uri.startswith(start) or (tenant == self._home_tenant and uri.startswith(f"{start}tenants/")):
            raise NotFound(f"{uri[:140]} is not in the bucket {self.bucket} of this tenant")
        key = uri.removeprefix(self._root)
        parts = key.split("/")
        if parts[0] in _OWN:
            raise NotFound(
                f"{uri[:140]} is not yours to read; name a file by its digest, as sha256:<file id>"
            )
        is_odd = any(part in {"", ".", ".."} for part in parts) or _CONTROL.search(key)
        if is_odd or len(key.encode()) > _LONGEST_KEY:
            raise NotFound(f"{uri[:140]!r} is no key")
        return key

    def check(self) -> None:
        """Make sure that the store can be written and has room.

        Raises:
            Unavailable: it cannot, or the guard on free space says no.
        """
        try:
            self._guard(0)
        except StoreFull as error:
            raise Unavailable("store", str(error)) from error
        self._blobs.check()

    def free_bytes(self) -> int | None:
        """Return the space left, None for a cloud store."""
        return self._blobs.free_bytes()

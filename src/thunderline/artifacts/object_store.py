"""A cloud's bucket as the store: any S3 server, Google Cloud Storage, Azure Blob."""

from collections.abc import Iterable, Iterator
from datetime import datetime, timedelta
from functools import partial
from typing import NotRequired, TypedDict
from urllib.parse import urlsplit
from uuid import uuid4

from obstore.exceptions import BaseError, PermissionDeniedError, UnauthenticatedError
from obstore.store import AzureStore, GCSStore, S3Store, from_url
from typing_extensions import Buffer

from thunderline.artifacts.blob_store import BlobStore, Receiver, Stored, blob_key
from thunderline.artifacts.feed import Feed
from thunderline.canonical import new_hasher
from thunderline.errors import ChecksumMismatch, InvalidInput, NotFound, ThunderlineError, Unavailable

_Bucket = S3Store | GCSStore | AzureStore
_CHUNK = 1 << 20
_PART = 8 << 20  # S3 takes 10,000 parts: 78 GiB, more than an upload may have
_CONCURRENT = 2
_COPY_LIMIT = 5 << 30  # AWS refuses to copy more in one call
_CONNECT, _SILENCE, _RETRY = timedelta(seconds=5), timedelta(seconds=30), timedelta(seconds=10)
_REQUEST = timedelta(days=1)  # a large download may take hours, but is never silent for long
_RETRIES = 5
_RAISED = (BaseError, OSError, ValueError)  # what the library is documented to raise


class _Place:
    """A bucket with its name, and what its refusals mean."""

    def __init__(self, bucket: _Bucket, name: str) -> None:
        self.bucket, self.name = bucket, name

    def failed(self, error: Exception, doing: str) -> Unavailable:
        told = str(error).partition("\n")[0].partition(": <")[0][:300]
        if isinstance(error, (PermissionDeniedError, UnauthenticatedError)):
            advice = "check the keys and what they may do"
        elif _lacks_bucket(error):
            advice = "there is no such bucket; make it, or set store.bucket to one that exists"
        else:
            advice = "check that it is up and can be reached from here"
        return Unavailable("store", f"{doing} failed at {self.name}: {told}; {advice}")

    def size(self, key: str) -> int | None:
        try:
            return self.bucket.head(key)["size"]
        except FileNotFoundError:
            return None
        except _RAISED as error:
            raise self.failed(error, f"looking at {key}") from error

    def delete(self, key: str) -> None:
        try:
            self.bucket.delete(key)
        except FileNotFoundError:
            return
        except _RAISED as error:
            raise self.failed(error, f"removing {key}") from error

    def put(self, key: str, content: bytes) -> None:
        try:
            self.bucket.put(key, content, use_multipart=False)
        except _RAISED as error:
            raise self.failed(error, f"writing {key}") from error

    def put_stream(self, key: str, pieces: Iterator[bytes]) -> None:
        """Send in parts; when the iterator raises, the library aborts and no object appears."""
        try:
            self.bucket.put(key, pieces, use_multipart=True, chunk_size=_PART, max_concurrency=_CONCURRENT)
        except _RAISED as error:
            raise self.failed(error, f"writing {key}") from error


def _lacks_bucket(error: Exception) -> bool:
    return any(code in str(error) for code in ("NoSuchBucket", "ContainerNotFound", "bucket does not exist"))


class _Upload:
    """Up to one part is held and written under its digest; more goes to a staging key and is copied."""

    def __init__(self, store: "ObjectStore") -> None:
        self._store, self._hash, self.size_bytes = store, new_hasher(), 0
        self._held = bytearray()
        self._staging = f"staging/{uuid4().hex}"
        self._feed: Feed | None = None

    def write(self, chunk: bytes | memoryview) -> None:
        """Take the next bytes."""
        self._hash.update(chunk)
        self.size_bytes += len(chunk)
        self._held += chunk
        while len(self._held) > _PART:
            if self._feed is None:
                self._feed = Feed(partial(self._store.place.put_stream, self._staging))
            part = bytes(memoryview(self._held)[:_PART])
            del self._held[:_PART]
            self._feed.write(part)

    def digest(self) -> str:
        """Return the sha256 of what was taken so far."""
        return self._hash.hexdigest()

    def commit(self, expected: str | None = None) -> Stored:
        """Let the blob appear under its digest, whole; writing the same bytes again does no harm."""
        digest = self._hash.hexdigest()
        try:
            if expected is not None and expected != digest:
                raise ChecksumMismatch("upload", recorded=expected, read=digest)
            is_new = self._store.place.size(blob_key(digest)) != self.size_bytes
            if is_new:
                self._appear(blob_key(digest))
        finally:
            self.abort()
        return Stored(digest, self.size_bytes, is_new)

    def _appear(self, key: str) -> None:
        place = self._store.place
        if self._feed is None:
            place.put(key, bytes(self._held))
        else:
            self._feed.write(bytes(self._held))
            feed, self._feed = self._feed, None
            try:
                feed.finish()
                self._store.copy_key(self._staging, key, self.size_bytes)
            finally:
                place.delete(self._staging)
        there = place.size(key)
        if there != self.size_bytes:
            place.delete(key)
            raise Unavailable(
                "store",
                f"{place.name} kept {there} of the {self.size_bytes} bytes of {key}; upload them again",
            )

    def abort(self) -> None:
        """Forget what was taken; a running upload is ended without an object."""
        feed, self._feed = self._feed, None
        self._held = bytearray()
        if feed is not None:
            feed.abandon()


class ObjectStore:
    """A bucket; no rule of ours rests on its conditional writes, which each server breaks in another way."""

    def __init__(self, bucket: _Bucket, *, name: str, copy_limit_bytes: int = _COPY_LIMIT) -> None:
        """Reach nothing yet.

        Args:
            bucket: the library's handle.
            name: how a refusal names it.
            copy_limit_bytes: larger objects are copied by reading and writing them.
        """
        self.place, self._copy_limit_bytes = _Place(bucket, name), copy_limit_bytes

    def receive(self) -> Receiver:
        """Begin an upload."""
        return _Upload(self)

    def open(self, key: str, start: int, stop: int | None) -> Iterator[bytes]:
        """Yield a range of a key's bytes."""
        if stop is not None and stop <= start:
            return iter(())
        if start > 0 or stop is not None:
            size = self.place.size(key)
            if size is None:
                raise NotFound(f"there is no object {key}")
            stop = size if stop is None else min(stop, size)
            if stop <= start:
                return iter(())
        try:
            whole = self.place.bucket.get
            found = whole(key) if stop is None else whole(key, options={"range": (start, stop)})
        except _RAISED as error:
            raise self._reading(error, key) from error
        return self._chunks(key, found)

    def _chunks(self, key: str, found: Iterable[Buffer]) -> Iterator[bytes]:
        try:
            for piece in found:
                view = memoryview(piece)
                for at in range(0, len(view), _CHUNK):
                    yield bytes(view[at : at + _CHUNK])
        except _RAISED as error:
            raise self._reading(error, key) from error

    def _reading(self, error: Exception, key: str) -> Exception:
        if isinstance(error, FileNotFoundError) and not _lacks_bucket(error):
            return NotFound(f"there is no object {key}")
        return self.place.failed(error, f"reading {key}")

    def size(self, key: str) -> int | None:
        """Return the size of a key's object."""
        return self.place.size(key)

    def copy(self, digest: str, key: str) -> None:
        """Let the server copy the blob to a readable key."""
        size = self.place.size(blob_key(digest))
        if size is None:
            raise NotFound(f"there is no blob {digest}")
        self.copy_key(blob_key(digest), key, size)

    def copy_key(self, old: str, new: str, size_bytes: int) -> None:
        """Copy one key's bytes to another; beyond what one call may copy, by way of this machine."""
        if size_bytes > self._copy_limit_bytes:
            self._carry(old, new)
            return
        try:
            self.place.bucket.copy(old, new)
        except _RAISED as error:
            raise self.place.failed(error, f"copying {old} to {new}") from error

    def _carry(self, old: str, new: str) -> None:
        feed = Feed(partial(self.place.put_stream, new))  # the library cannot read while it writes
        try:
            for chunk in self.open(old, 0, None):
                feed.write(chunk)
        except ThunderlineError:
            feed.abandon()
            raise
        feed.finish()

    def write(self, key: str, content: bytes) -> None:
        """Write a document; an object appears whole or not."""
        self.place.put(key, content)

    def delete(self, key: str) -> None:
        """Remove a key's object."""
        self.place.delete(key)

    def check(self) -> None:
        """Write, read back and remove a probe."""
        probe, content = f"staging/probe-{uuid4().hex}", uuid4().bytes
        self.write(probe, content)
        read = b"".join(self.open(probe, 0, None))
        self.delete(probe)
        if read != content:
            raise Unavailable("store", f"{self.place.name} gave other bytes than were written; do not use it")

    def free_bytes(self) -> int | None:
        """Return None: a cloud does not tell."""
        return None


def open_object_store(
    *, url: str | None, endpoint: str | None, bucket: str, access_key: str | None, secret_key: str | None
) -> BlobStore:
    """Return the store that a URL or an endpoint names; nothing is reached yet.

    Args:
        url: ``s3://bucket/prefix``, ``gs://...`` or ``az://...``, with that cloud's own credentials.
        endpoint: an S3 server, such as ``http://127.0.0.1:9000``; needs both keys.
        bucket: at the endpoint, unless a URL names one.
        access_key: for the endpoint.
        secret_key: for the endpoint.

    Raises:
        InvalidInput: the settings do not fit together; the field is the setting.
    """
    if url is not None:
        _check_url(url, has_endpoint=endpoint is not None)
    try:
        if endpoint is not None:
            bucket, prefix = (urlsplit(url).netloc, urlsplit(url).path) if url else (bucket, "")
            opened = _by_endpoint(endpoint, bucket, prefix.strip("/"), access_key, secret_key)
            return ObjectStore(opened, name=f"{endpoint} (bucket {bucket})")
        return ObjectStore(_by_url(url or ""), name=url or "")
    except (BaseError, ValueError) as error:
        told = str(error).partition("\n")[0]
        raise InvalidInput("store.url" if url else "store.endpoint", f"cannot be used: {told}") from error


def _check_url(url: str, *, has_endpoint: bool) -> None:
    parts = urlsplit(url)
    if parts.scheme not in {"s3", "gs", "az"} or not parts.netloc:
        raise InvalidInput("store.url", f"{url!r} is not s3://bucket, gs://bucket or az://account/container")
    if has_endpoint and parts.scheme != "s3":
        raise InvalidInput(
            "store.endpoint", f"goes with a bucket of S3, not with {url}; unset one of the two"
        )


class _Keys(TypedDict):
    """The library's own form, which it does not let be imported."""

    access_key_id: str
    secret_access_key: str
    token: NotRequired[str | None]
    expires_at: datetime | None


def _by_url(url: str) -> _Bucket:
    opened = from_url(
        url,
        client_options={"connect_timeout": _CONNECT, "read_timeout": _SILENCE, "timeout": _REQUEST},
        retry_config={"max_retries": _RETRIES, "retry_timeout": _RETRY},
    )
    if not isinstance(opened, S3Store | GCSStore | AzureStore):
        raise InvalidInput("store.url", f"{url!r} is no bucket")
    return opened


def _by_endpoint(
    endpoint: str, bucket: str, prefix: str, access_key: str | None, secret_key: str | None
) -> _Bucket:
    parts = urlsplit(endpoint)
    if parts.scheme not in {"http", "https"} or not parts.netloc:
        raise InvalidInput("store.endpoint", f"{endpoint!r} is no URL such as http://127.0.0.1:9000")
    if not access_key or not secret_key:
        missing = "secret_key" if access_key else "access_key"
        raise InvalidInput(f"store.{missing}", f"is not set; {endpoint} needs it (MINIO_{missing.upper()})")
    keys: _Keys = {
        "access_key_id": access_key,
        "secret_access_key": secret_key,
        "token": None,
        "expires_at": None,
    }
    return S3Store(
        bucket,
        prefix=prefix or None,
        endpoint=endpoint,
        region="us-east-1",
        virtual_hosted_style_request=False,
        unsigned_payload=True,  # halves the CPU; the digest is checked whenever bytes are read
        client_options={
            "allow_http": parts.scheme == "http",
            "connect_timeout": _CONNECT,
            "read_timeout": _SILENCE,
            "timeout": _REQUEST,
        },
        retry_config={"max_retries": _RETRIES, "retry_timeout": _RETRY},
        # given this way, a session token in the environment is not sent along with them
        credential_provider=lambda: keys,
    )

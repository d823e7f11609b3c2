"""The embedded store: a directory, in which every file is whole and durable or not there."""

import errno
import os
import shutil
import stat
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import NoReturn
from uuid import uuid4

from thunderline.artifacts.blob_store import Receiver, Stored, blob_key
from thunderline.canonical import new_hasher
from thunderline.errors import ChecksumMismatch, NotFound, StoreFull, Unavailable

_CHUNK = 1 << 20
_ORPHAN_S = 24 * 3600
_TEMPORARY = ".tmp"


def _fsync_directory(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _failed(error: OSError, doing: str) -> NoReturn:
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        raise StoreFull("store", f"no space left while {doing}; free some or move the store") from error
    raise Unavailable("store", f"{doing} failed: {error.strerror or error}") from error


class _Upload:
    """An unnamed file that gets its name when it is whole."""

    def __init__(self, store: "FilesystemStore") -> None:
        self._store, self._hash, self.size_bytes = store, new_hasher(), 0
        self._name: Path | None = None
        self._descriptor = -1
        try:
            self._descriptor = self._open()
        except OSError as error:
            _failed(error, "starting an upload")

    def _open(self) -> int:
        try:
            return os.open(self._store.temporary, os.O_TMPFILE | os.O_RDWR | os.O_CLOEXEC, 0o440)
        except OSError as error:
            if error.errno not in (errno.EOPNOTSUPP, errno.EISDIR, errno.ENOENT, errno.EINVAL):
                raise
        self._name = self._store.temporary / uuid4().hex  # a filesystem without unnamed files
        return os.open(self._name, os.O_CREAT | os.O_EXCL | os.O_RDWR | os.O_CLOEXEC, 0o440)

    def write(self, chunk: bytes | memoryview) -> None:
        """Take the next bytes."""
        self._hash.update(chunk)
        self.size_bytes += len(chunk)
        left = memoryview(chunk)
        try:
            while left:
                left = left[os.write(self._descriptor, left) :]
        except OSError as error:
            self.abort()
            _failed(error, "writing an upload")

    def digest(self) -> str:
        """Return the sha256 of what was taken so far."""
        return self._hash.hexdigest()

    def commit(self, expected: str | None = None) -> Stored:
        """Sync, then link under the digest, then sync the directory."""
        digest = self._hash.hexdigest()
        if expected is not None and expected != digest:
            self.abort()
            raise ChecksumMismatch("upload", recorded=expected, read=digest)
        final = self._store.path(blob_key(digest))
        try:
            os.fsync(self._descriptor)
            final.parent.mkdir(parents=True, exist_ok=True)
            is_new = self._link(final)
            _fsync_directory(final.parent)
        except OSError as error:
            _failed(error, "finishing an upload")
        finally:
            self.abort()
        return Stored(digest, self.size_bytes, is_new)

    def _link(self, final: Path) -> bool:
        try:
            if self._name is not None:
                os.link(self._name, final)
            else:
                # src_dir_fd makes CPython call linkat, which alone follows the link in /proc
                os.link(
                    f"/proc/self/fd/{self._descriptor}",
                    final,
                    src_dir_fd=self._store.root_fd,
                    follow_symlinks=True,
                )
        except FileExistsError:
            return False
        return True

    def abort(self) -> None:
        """Forget the unnamed file; the kernel frees it."""
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1
        if self._name is not None:
            self._name.unlink(missing_ok=True)
            self._name = None


class FilesystemStore:
    """A bucket as a directory: every key is a file of that path."""

    def __init__(self, root: Path) -> None:
        """Make the directory and clear away what crashed uploads left a day ago.

        Args:
            root: of the bucket; made if absent.
        """
        self.root = root
        self.temporary = root / _TEMPORARY
        try:
            self.temporary.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            _failed(error, f"making {root}")
        self.root_fd = os.open("/", os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        self._sweep()

    def _sweep(self) -> None:
        horizon = time.time() - _ORPHAN_S
        for entry in self.temporary.iterdir():
            with suppress(FileNotFoundError):
                if entry.stat().st_mtime < horizon:
                    entry.unlink()

    def path(self, key: str) -> Path:
        """Return the file of a key."""
        return self.root / key

    def receive(self) -> Receiver:
        """Begin an upload."""
        return _Upload(self)

    def open(self, key: str, start: int, stop: int | None) -> Iterator[bytes]:
        """Yield a range of a key's bytes."""
        if self.size(key) is None:
            raise NotFound(f"there is no object {key}")
        return self._chunks(key, start, stop)

    def _chunks(self, key: str, start: int, stop: int | None) -> Iterator[bytes]:
        """Open only when the first chunk is asked for: a reader that never asks leaves nothing open."""
        try:
            descriptor = os.open(self.path(key), os.O_RDONLY | os.O_CLOEXEC)
        except FileNotFoundError as error:
            raise NotFound(f"there is no object {key} any more") from error
        except OSError as error:
            _failed(error, f"opening {key}")
        try:
            position = start
            while stop is None or position < stop:
                wanted = _CHUNK if stop is None else min(_CHUNK, stop - position)
                chunk = os.pread(descriptor, wanted, position)
                if not chunk:
                    return
                position += len(chunk)
                yield chunk
        except OSError as error:
            _failed(error, f"reading {key}")
        finally:
            os.close(descriptor)

    def size(self, key: str) -> int | None:
        """Return the size of a key's file; a directory is no key, and neither is a name too long for one."""
        try:
            found = self.path(key).stat()
        except OSError as error:
            if error.errno not in (errno.ENOENT, errno.ENOTDIR, errno.ENAMETOOLONG):
                _failed(error, f"looking at {key}")
            self._refuse_if_gone()
            return None
        return found.st_size if stat.S_ISREG(found.st_mode) else None

    def _refuse_if_gone(self) -> None:
        """Tell an object that is not there from a store that is not there, such as an unmounted volume."""
        if not self.temporary.is_dir():
            raise Unavailable("store", f"the directory {self.root} is gone; is its volume mounted?")

    def copy(self, digest: str, key: str) -> None:
        """Link a readable key to the blob, by a name of its own and a rename."""
        blob, final = self.path(blob_key(digest)), self.path(key)
        own = self.temporary / uuid4().hex
        try:
            final.parent.mkdir(parents=True, exist_ok=True)
            try:
                os.link(blob, own)
            except FileNotFoundError as error:
                raise NotFound(f"there is no blob {digest}") from error
            except OSError as error:
                if error.errno not in (errno.EMLINK, errno.EPERM, errno.EOPNOTSUPP, errno.EXDEV):
                    raise
                shutil.copyfile(blob, own)
            own.replace(final)
            own.unlink(missing_ok=True)  # a rename onto the same inode leaves the old name
            _fsync_directory(final.parent)
        except OSError as error:
            own.unlink(missing_ok=True)
            _failed(error, f"publishing {key}")

    def write(self, key: str, content: bytes) -> None:
        """Write a document beside, sync it, rename it."""
        final, own = self.path(key), self.temporary / uuid4().hex
        try:
            final.parent.mkdir(parents=True, exist_ok=True)
            with own.open("wb") as file:
                file.write(content)
                file.flush()
                os.fsync(file.fileno())
            own.replace(final)
            _fsync_directory(final.parent)
        except OSError as error:
            own.unlink(missing_ok=True)
            _failed(error, f"writing {key}")

    def delete(self, key: str) -> None:
        """Remove a key's file."""
        try:
            self.path(key).unlink(missing_ok=True)
        except OSError as error:
            _failed(error, f"removing {key}")

    def check(self) -> None:
        """Write and remove a probe."""
        probe = f"{_TEMPORARY}/probe-{uuid4().hex}"
        self.write(probe, b"probe")
        self.delete(probe)

    def free_bytes(self) -> int | None:
        """Return what the file system has left for us."""
        try:
            return shutil.disk_usage(self.root).free
        except OSError as error:
            _failed(error, f"looking at {self.root}")

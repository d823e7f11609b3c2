"""A strict reader of archives: what is not plainly a directory of regular files is refused, whole."""

import errno
import os
import re
import shutil
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from uuid import uuid4

from thunderline.artifacts.archive import BLOCK, Names
from thunderline.artifacts.manifest import Entry
from thunderline.canonical import new_hasher
from thunderline.errors import Conflict, ManifestInvalid, StoreFull, TooLarge, Unavailable, UnsafePath

MOST_NAMES = 10_000
MOST_BYTES = 1 << 40
_OCTAL = re.compile(rb"([0-7]+)[ \0]*")
_BASE_256 = 0x80
# Times are what `tar` and `tarfile` add on their own; any other pax record could rename or resize a file.
_TIMES = re.compile(rb"(?:\d{1,3} [acm]time=-?[\d.]{1,40}\n)*")
_TIMES_LIMIT = 4096
_FILLING_LIMIT = 10_240  # other writers fill their last record with zeros
_KINDS = {
    b"1": "a hard link", b"2": "a symbolic link", b"3": "a device", b"4": "a device", b"6": "a pipe",
    b"7": "a contiguous file", b"g": "a global pax header", b"K": "a GNU long link", b"L": "a GNU long name",
    b"S": "a sparse file", b"x": "a second pax header",
}  # fmt: skip
_OPEN_FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC


class _Source:
    """Chunks of any size, taken in the sizes that the format has."""

    def __init__(self, chunks: Iterable[bytes]) -> None:
        self._chunks, self._held = iter(chunks), memoryview(b"")

    def some(self, most: int) -> memoryview:
        """Return one to ``most`` bytes.

        Raises:
            ManifestInvalid: there are none left.
        """
        while not self._held:
            chunk = next(self._chunks, None)
            if chunk is None:
                raise ManifestInvalid("the archive ends too early; fetch it again")
            self._held = memoryview(chunk)
        taken, self._held = self._held[:most], self._held[most:]
        return taken

    def exactly(self, count: int) -> bytes:
        """Return ``count`` bytes."""
        taken = bytearray()
        while len(taken) < count:
            taken += self.some(count - len(taken))
        return bytes(taken)

    def rest(self) -> Iterator[memoryview]:
        """Yield whatever is left."""
        yield self._held
        for chunk in self._chunks:
            yield memoryview(chunk)


@dataclass(frozen=True, slots=True)
class _Head:
    kind: bytes
    path: str
    size_bytes: int


def extract(
    chunks: Iterable[bytes], target: Path, *, most_names: int = MOST_NAMES, most_bytes: int = MOST_BYTES
) -> list[Entry]:
    """Unpack an archive into a directory that does not exist yet; on any refusal nothing stays.

    Args:
        chunks: the archive, in pieces of any size.
        target: below a directory that exists; appears only when the whole archive was right and is on disk.
        most_names: files and directories allowed.
        most_bytes: bytes allowed in all files together.

    Returns:
        The files, sorted by path.

    Raises:
        ManifestInvalid: not an archive of the form allowed, damaged, or cut short.
        UnsafePath: a path that is not safe everywhere, a twin, or anything but a file or a directory.
        TooLarge: more names or bytes than allowed.
        Conflict: ``target`` is there already.
        Unavailable: the disk could not be written.
    """
    with _appearing(target) as root:
        entries = _Reader(_Source(chunks), root, most_names, most_bytes).read()
    return sorted(entries, key=lambda one: one.path)


@contextmanager
def _appearing(target: Path) -> Iterator[int]:
    """Give a directory of a name of its own, which gets the right name if nothing was raised."""
    own = target.with_name(f"{target.name}.{uuid4().hex}.part")
    try:
        if os.path.lexists(target):
            raise Conflict(f"{target} is there already; choose another name or remove it")
        own.mkdir(mode=0o700)
        root = os.open(own, _OPEN_FOLDER)
        try:
            yield root
            os.fsync(root)
        finally:
            os.close(root)
        own.rename(target)
        _fsync(target.parent)
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise StoreFull(
                "disk", f"no space left for {target}; free some or choose another place"
            ) from error
        raise Unavailable("disk", f"writing {target} failed: {error.strerror or error}") from error
    finally:
        shutil.rmtree(own, ignore_errors=True)


def _fsync(folder: Path) -> None:
    descriptor = os.open(folder, _OPEN_FOLDER)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


class _Reader:
    """Takes one member after another."""

    def __init__(self, source: _Source, root: int, most_names: int, most_bytes: int) -> None:
        self._source, self._root = source, root
        self._names_left, self._most_names = most_names, most_names
        self._bytes_left, self._most_bytes = most_bytes, most_bytes
        self._names, self._entries = Names(), list[Entry]()

    def read(self) -> list[Entry]:
        """Take all of it."""
        while head := self._next_head():
            self._count(head)
            if head.kind == b"5":
                self._names.add_folder(head.path)
                os.close(self._folder(head.path.split("/")))
            else:
                self._names.add_file(head.path)
                self._entries.append(self._file(head))
        self._end()
        return self._entries

    def _next_head(self) -> _Head | None:
        block = self._source.exactly(BLOCK)
        if not any(block):
            return None
        if block[156:157] == b"x":
            self._times(_size(_checked(block)))
            block = self._source.exactly(BLOCK)
        return _head(_checked(block))

    def _times(self, size_bytes: int) -> None:
        if size_bytes > _TIMES_LIMIT:
            raise ManifestInvalid(f"a pax header of {size_bytes} bytes; {_TIMES_LIMIT} are allowed")
        if not _TIMES.fullmatch(self._source.exactly(size_bytes)):
            raise ManifestInvalid("a pax header with more than times; only times are allowed")
        self._padding(size_bytes)

    def _count(self, head: _Head) -> None:
        self._names_left -= 1
        self._bytes_left -= head.size_bytes
        if self._names_left < 0:
            raise TooLarge("archive", f"has more than the {self._most_names} names allowed")
        if self._bytes_left < 0:
            raise TooLarge(
                "archive", f"{head.path} would go beyond the {self._most_bytes} bytes allowed in all"
            )

    def _folder(self, parts: list[str]) -> int:
        """Return a descriptor of a directory below the root, made if absent."""
        at = os.dup(self._root)
        for part in parts:
            try:
                with suppress(FileExistsError):
                    os.mkdir(part, 0o700, dir_fd=at)
                below = os.open(part, _OPEN_FOLDER, dir_fd=at)
            finally:
                os.close(at)
            at = below
        return at

    def _file(self, head: _Head) -> Entry:
        *parts, name = head.path.split("/")
        folder = self._folder(parts)
        try:
            flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
            descriptor = os.open(name, flags, 0o600, dir_fd=folder)
            try:
                digest = self._body(descriptor, head.size_bytes)
                os.fsync(descriptor)
            finally:
                os.close(descriptor)
            os.fsync(folder)
        finally:
            os.close(folder)
        self._padding(head.size_bytes)
        return Entry(head.path, head.size_bytes, digest)

    def _body(self, descriptor: int, size_bytes: int) -> str:
        running, left = new_hasher(), size_bytes
        while left:
            piece = self._source.some(left)
            left -= len(piece)
            running.update(piece)
            while piece:
                piece = piece[os.write(descriptor, piece) :]
        return running.hexdigest()

    def _padding(self, size_bytes: int) -> None:
        if any(self._source.exactly(-size_bytes % BLOCK)):
            raise ManifestInvalid("a file's padding is not zero; the archive is damaged")

    def _end(self) -> None:
        if any(self._source.exactly(BLOCK)):
            raise ManifestInvalid("one zero block instead of two at the end; the archive is damaged")
        left = _FILLING_LIMIT
        for piece in self._source.rest():
            left -= len(piece)
            if left < 0 or any(piece):
                raise ManifestInvalid("something follows the archive's end; refuse it")


def _checked(block: bytes) -> bytes:
    """Return a header block if it is one and nothing in it could redirect a file."""
    if block[257:263] not in (b"ustar\0", b"ustar "):
        raise ManifestInvalid("not a ustar header; only plain tar is read, and no compression")
    if _number(block[148:156]) != sum(block) - sum(block[148:156]) + 8 * ord(" "):
        raise ManifestInvalid("a header's checksum is wrong; the archive is damaged")
    return block


def _head(block: bytes) -> _Head:
    kind, name = block[156:157], block[:100].rstrip(b"\0")
    if kind not in (b"0", b"\0", b"5"):
        shown = _KINDS.get(kind, f"of the unknown type {kind!r}")
        raise UnsafePath(f"{name!r} is {shown}; only regular files and directories are taken")
    if any(block[157:257]) or any(block[345:512]):
        raise ManifestInvalid(f"{name!r} has a link target or a prefix, which no plain file needs")
    try:
        path = name.decode("ascii")
    except UnicodeDecodeError as error:
        raise UnsafePath(f"{name!r} is not a safe relative path: it has letters beyond ASCII") from error
    size_bytes = _size(block)
    if kind == b"5":
        path = path.removesuffix("/")
        if size_bytes:
            raise ManifestInvalid(f"the directory {path!r} has a size")
    return _Head(kind, path, size_bytes)


def _size(block: bytes) -> int:
    field = block[124:136]
    return int.from_bytes(field[1:]) if field[0] == _BASE_256 else _number(field)


def _number(field: bytes) -> int:
    match = _OCTAL.fullmatch(field)
    if match is None:
        raise ManifestInvalid(f"{field!r} is not a number as a header has them")
    return int(match[1], 8)

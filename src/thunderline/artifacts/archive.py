"""A directory as one stream of bytes, the same for the same names and contents (format.md, section 3)."""

import os
import stat
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from thunderline.artifacts.manifest import Entry, parse_path
from thunderline.canonical import new_hasher
from thunderline.errors import Conflict, InvalidInput, UnsafePath

BLOCK = 512
END = bytes(2 * BLOCK)
_CHUNK = 1 << 20
_OCTAL_LIMIT = 8 << 30  # eleven octal digits; from here on the size is base-256, as GNU and BSD tar write it


class Names:
    """The paths of one archive, of which no two may be one file on any system."""

    def __init__(self) -> None:
        self._files: set[str] = set()
        self._folders: dict[str, str] = {}
        self._named: set[str] = set()

    def add_file(self, path: str) -> None:
        """Take a file's path.

        Raises:
            UnsafePath: unsafe, or a twin of another one, be it only by case; or a directory has that name.
        """
        self._add_parents(parse_path(path))
        folded = path.lower()
        if folded in self._files or folded in self._folders:
            raise UnsafePath(f"{path!r} stands twice, or is another name but for its case; rename one")
        self._files.add(folded)

    def add_folder(self, path: str) -> None:
        """Take a directory's path.

        Raises:
            UnsafePath: as for a file.
        """
        self._add_parents(f"{parse_path(path)}/")
        if path in self._named:
            raise UnsafePath(f"{path!r} stands twice; rename one")
        self._named.add(path)

    def _add_parents(self, path: str) -> None:
        parts = path.split("/")[:-1]
        for count in range(1, len(parts) + 1):
            folder = "/".join(parts[:count])
            if folder.lower() in self._files or self._folders.setdefault(folder.lower(), folder) != folder:
                raise UnsafePath(f"{folder!r} is a file too, or another name but for its case; rename one")


@dataclass(frozen=True, slots=True)
class _Member:
    path: str
    place: Path
    size_bytes: int


class Archive:
    """The archive of a directory as it is now: its length is known before the first byte."""

    def __init__(self, folder: Path) -> None:
        """Look at every file's name and size, read none.

        Args:
            folder: holds regular files and directories only; empty directories are left out.

        Raises:
            UnsafePath: a name that is not safe everywhere, or a link, pipe or device.
            InvalidInput: no file at all, or the directory cannot be read.
        """
        names = Names()
        try:
            found = sorted(_members(folder, ""), key=lambda one: one.path)
        except OSError as error:
            raise InvalidInput("path", f"cannot read {error.filename}: {error.strerror}") from error
        for one in found:
            names.add_file(one.path)
        if not found:
            raise InvalidInput("path", f"{folder} holds no file; there is nothing to pack")
        self._members = found
        self.length = sum(BLOCK + one.size_bytes + -one.size_bytes % BLOCK for one in found) + len(END)
        self.entries: list[Entry] = []  # complete when all bytes were taken

    def __iter__(self) -> Iterator[bytes]:
        """Yield the bytes, hashing each file on the way; may be done again.

        Raises:
            Conflict: a file was changed meanwhile.
        """
        self.entries = []
        for one in self._members:
            yield header(one.path, one.size_bytes)
            yield from self._body(one)
            if one.size_bytes % BLOCK:
                yield bytes(-one.size_bytes % BLOCK)
        yield END

    def _body(self, one: _Member) -> Iterator[bytes]:
        running, left = new_hasher(), one.size_bytes
        try:
            descriptor = os.open(one.place, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
            with os.fdopen(descriptor, "rb", buffering=0) as file:
                if not stat.S_ISREG(os.fstat(descriptor).st_mode):
                    raise _changed(one)
                while left:
                    chunk = file.read(min(_CHUNK, left))
                    if not chunk:
                        raise _changed(one)
                    running.update(chunk)
                    left -= len(chunk)
                    yield chunk
        except OSError as error:
            raise _changed(one) from error
        self.entries.append(Entry(one.path, one.size_bytes, running.hexdigest()))


def _changed(one: _Member) -> Conflict:
    return Conflict(f"{one.place} was changed while it was packed; try again when nobody writes there")


def _members(folder: Path, above: str) -> Iterator[_Member]:
    with os.scandir(folder) as found:
        for one in found:
            path = parse_path(f"{above}{one.name}")
            if one.is_dir(follow_symlinks=False):
                yield from _members(Path(one.path), f"{path}/")
            elif one.is_file(follow_symlinks=False):
                yield _Member(path, Path(one.path), one.stat(follow_symlinks=False).st_size)
            else:
                raise UnsafePath(f"{one.path} is a link, a pipe or a device; put a regular file in its place")


def header(path: str, size_bytes: int) -> bytes:
    """Return the block that stands before a file's bytes.

    Written here and not by ``tarfile``, whose bytes differ between releases of Python.

    Source:
        IEEE Std 1003.1, pax, "ustar Interchange Format".
    """
    size = b"%011o\0" % size_bytes if size_bytes < _OCTAL_LIMIT else b"\x80" + size_bytes.to_bytes(11)
    before = (
        path.encode("ascii").ljust(100, b"\0") + b"0000644\0" + b"0000000\0" * 2 + size + b"0" * 11 + b"\0"
    )
    after = (b"0" + bytes(100) + b"ustar\x0000").ljust(BLOCK - len(before) - 8, b"\0")
    return before + b"%06o\0 " % (sum(before) + sum(after) + 8 * ord(" ")) + after

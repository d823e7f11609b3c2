"""Archives made to do harm: each is refused by a sentence, nothing is written, nothing stays."""

import bz2
import gzip
import io
import lzma
import random
import tarfile
import tracemalloc
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from thunderline.artifacts.archive import END, header
from thunderline.artifacts.extract import extract
from thunderline.errors import ManifestInvalid, ThunderlineError, TooLarge, UnsafePath

BLOCK = 512


def sealed(block: bytes) -> bytes:
    """Give a header block the checksum that fits it."""
    total = sum(block[:148]) + sum(block[156:BLOCK]) + 8 * ord(" ")
    return block[:148] + b"%06o\0 " % total + block[156:]


def changed(block: bytes, at: int, field: bytes) -> bytes:
    """Overwrite a part of a header block and seal it again."""
    return sealed(block[:at] + field + block[at + len(field) :])


def padded(content: bytes) -> bytes:
    return content + bytes(-len(content) % BLOCK)


def member(name: bytes, content: bytes = b"evil", kind: bytes = b"0") -> bytes:
    """Return a member whose header is right but for what the row is about."""
    block = changed(header("x", len(content)), 0, name.ljust(100, b"\0"))
    return changed(block, 156, kind) + padded(content)


def linked(kind: bytes, target: bytes) -> bytes:
    return changed(member(b"link", b"", kind), 157, target)


def sized(field: bytes, content: bytes = b"evil") -> bytes:
    return changed(header("x", 0), 124, field) + padded(content)


def pax(records: bytes) -> bytes:
    return member(b"pax", records, b"x") + member(b"innocent.bin")


def record(name: bytes, value: bytes) -> bytes:
    """Return a pax record, whose length counts itself."""
    rest = b" " + name + b"=" + value + b"\n"
    size = next(n for n in range(1, 10_000) if n == len(b"%d" % n) + len(rest))
    return b"%d" % size + rest


GOOD = member(b"good.bin", b"good")

HOSTILE: dict[str, bytes] = {
    "parent": member(b"../evil"),
    "parent inside": member(b"a/../../evil"),
    "parent at the end": member(b"a/.."),
    "absolute": member(b"/etc/evil"),
    "absolute twice": member(b"//evil"),
    "here": member(b"./evil"),
    "empty name": member(b""),
    "empty part": member(b"a//evil"),
    "file with a slash at its end": member(b"evil/"),
    "backslash": member(b"..\\evil"),
    "drive": member(b"C:\\evil"),
    "home": member(b"~/evil"),
    "hidden": member(b".bashrc"),
    "option": member(b"-rf"),
    "letters beyond ASCII": member("e\u0301vil".encode()),
    "not UTF-8": member(b"\xff\xfe"),
    "newline": member(b"a\nb"),
    "terminal escape": member(b"\x1b[2Jevil"),
    "NUL inside the name": member(b"good.bin\0.sh"),
    "Windows device": member(b"aux"),
    "Windows device with an extension": member(b"a/NUL.txt"),
    "too deep": member(b"/".join([b"d"] * 9)),
    "symbolic link": linked(b"2", b"/etc/passwd"),
    "symbolic link and a file through it": linked(b"2", b"/tmp") + member(b"link/evil"),
    "hard link": linked(b"1", b"/etc/passwd"),
    "hard link to a member": GOOD + linked(b"1", b"good.bin"),
    "character device": member(b"dev", b"", b"3"),
    "block device": member(b"dev", b"", b"4"),
    "pipe": member(b"pipe", b"", b"6"),
    "contiguous file": member(b"file", b"evil", b"7"),
    "GNU sparse": member(b"sparse", b"evil", b"S"),
    "GNU long name": member(b"././@LongLink", b"../../evil\0", b"L") + GOOD,
    "GNU long link": member(b"././@LongLink", b"/etc/passwd\0", b"K") + GOOD,
    "GNU volume": member(b"label", b"", b"V"),
    "unknown type": member(b"file", b"evil", b"Z"),
    "pax path": pax(record(b"path", b"../../evil")),
    "pax link path": pax(record(b"linkpath", b"/etc/passwd")),
    "pax size": pax(record(b"size", b"1")),
    "pax sparse name": pax(record(b"GNU.sparse.name", b"../evil")),
    "pax attribute": pax(record(b"SCHILY.xattr.security.capability", b"all")),
    "pax path after a time": pax(record(b"mtime", b"1.5") + record(b"path", b"../evil")),
    "pax without a line end": pax(b"12 mtime=1.5"),
    "pax of rubbish": pax(b"\xff" * 40),
    "large pax": pax(record(b"mtime", b"1") * 600),
    "pax twice": member(b"p", record(b"mtime", b"1"), b"x") + pax(record(b"mtime", b"1")),
    "global pax": member(b"g", record(b"path", b"../evil"), b"g") + GOOD,
    "link target on a file": changed(member(b"file"), 157, b"/etc/passwd"),
    "prefix": changed(member(b"evil"), 345, b"../.."),
    "old magic": changed(member(b"file"), 257, bytes(8)),
    "twins": GOOD + GOOD,
    "twins by case": GOOD + member(b"GOOD.bin"),
    "twin directories by case": member(b"dir/a") + member(b"Dir/b"),
    "directory named twice": member(b"dir/", b"", b"5") * 2,
    "file, then a directory of its name": member(b"x") + member(b"x/evil"),
    "directory, then a file of its name": member(b"x/y") + member(b"X"),
    "directory with a size": changed(member(b"dir/", b"evil"), 156, b"5"),
    "parent as a directory": member(b"../evil/", b"", b"5"),
    "root as a directory": member(b"/", b"", b"5"),
    "checksum of zeros": GOOD[:148] + b"0" * 6 + b"\0 " + GOOD[156:],
    "checksum of rubbish": GOOD[:148] + b"xxxxxxxx" + GOOD[156:],
    "changed without a new checksum": b"h" + GOOD[1:],
    "negative size": sized(b"-0000000004\0"),
    "negative size in base-256": sized(b"\xff" * 11 + b"\xfc"),
    "size that is no number": sized(b"4 or 5\0\0\0\0\0\0"),
    "size in decimal digits": sized(b"00000000099\0"),
    "empty size": sized(bytes(12)),
    "size beyond any disk": sized(b"\x80" + b"\xff" * 11),
    "size of eight exbibytes": sized(b"\x80" + (1 << 63).to_bytes(11)),
    "size larger than the bytes": sized(b"00000002000\0"),
    "size smaller than the bytes": sized(b"00000000001\0", b"a" * 600),
    "padding that is not zero": GOOD[:-1] + b"x",
    "gzip": gzip.compress(GOOD + END),
    "bzip2": bz2.compress(GOOD + END),
    "xz": lzma.compress(GOOD + END),
    "text": b"this is not an archive" * 100,
}


def hostile_rows() -> list[object]:
    ends = {
        "nothing": b"",
        "no end": GOOD,
        "half an end": GOOD + bytes(BLOCK),
        "a member after a zero block": GOOD + bytes(BLOCK) + GOOD + END,
        "a header in place of the second zero block": GOOD + bytes(BLOCK) + header("x", 0) + END,
        "a byte after the end": GOOD + END + b"x",
        "an archive after the end": GOOD + END + GOOD + END,
        "a mebibyte of zeros after the end": GOOD + END + bytes(1 << 20),
    }
    whole = {name: content + END for name, content in HOSTILE.items()}
    return [pytest.param(content, id=name) for name, content in {**whole, **ends}.items()]


@pytest.fixture
def target(tmp_path: Path) -> Path:
    (tmp_path / "inside").mkdir()
    return tmp_path / "inside" / "out"


def refuse(content: bytes, target: Path, size: int = 700) -> ThunderlineError:
    """Unpack in chunks, expect a refusal, and see that nothing at all was left or touched."""
    around = target.parent.parent
    with pytest.raises((ManifestInvalid, UnsafePath, TooLarge)) as caught:
        extract((content[at : at + size] for at in range(0, len(content), size)), target)
    assert sorted(one.name for one in around.rglob("*")) == ["inside"]
    return caught.value


@pytest.mark.parametrize("content", hostile_rows())
def test_a_hostile_archive_is_refused_and_leaves_nothing(content: bytes, target: Path) -> None:
    refuse(content, target)


@pytest.mark.parametrize("content", hostile_rows())
def test_it_is_refused_also_behind_a_good_member_and_in_small_pieces(content: bytes, target: Path) -> None:
    refuse(member(b"first.bin", b"first") + content, target, size=97)


def test_the_good_member_of_these_tests_is_taken(target: Path) -> None:
    """Else every row above could be refused for a reason of its own."""
    archive = (
        GOOD + pax(record(b"mtime", b"-1.5") + record(b"atime", b"2")) + member(b"dir/", b"", b"5") + END
    )
    assert [one.path for one in extract([archive], target)] == ["good.bin", "innocent.bin"]
    assert (target / "dir").is_dir()


@pytest.mark.parametrize("end", range(1, len(GOOD) + len(END), 101))
def test_an_archive_cut_anywhere_is_refused(end: int, target: Path) -> None:
    refuse((GOOD + END)[:end], target)


def test_a_refusal_says_what_is_wrong(target: Path) -> None:
    assert "symbolic link" in str(refuse(HOSTILE["symbolic link"] + END, target))
    assert "'../evil' is not a safe relative path" in str(refuse(HOSTILE["parent"] + END, target))
    assert "ends too early" in str(refuse(GOOD, target))
    assert "checksum" in str(refuse(HOSTILE["changed without a new checksum"] + END, target))


def test_more_names_than_allowed_are_refused(target: Path) -> None:
    archive = b"".join(member(b"f%d" % n, b"") for n in range(11)) + END
    with pytest.raises(TooLarge, match="10 names"):
        extract([archive], target, most_names=10)
    assert not target.exists()
    assert len(extract([archive], target, most_names=11)) == 11


def test_directories_count_as_names(target: Path) -> None:
    archive = b"".join(member(b"d%d/" % n, b"", b"5") for n in range(11)) + END
    with pytest.raises(TooLarge, match="names"):
        extract([archive], target, most_names=10)


def test_more_bytes_than_allowed_are_refused_before_they_are_read(target: Path) -> None:
    read = []

    def chunks() -> Iterator[bytes]:
        for chunk in (member(b"a", b"x" * 600), header("b", 500), b"the body"):
            read.append(chunk)
            yield chunk

    with pytest.raises(TooLarge, match="1000 bytes"):
        extract(chunks(), target, most_bytes=1000)
    assert len(read) == 2
    assert not target.exists()


def test_a_source_that_breaks_leaves_nothing(target: Path) -> None:
    def broken() -> Iterator[bytes]:
        yield GOOD
        raise ConnectionResetError("the other side went away")

    with pytest.raises((ThunderlineError, ConnectionResetError)):
        extract(broken(), target)
    assert list(target.parent.iterdir()) == []


def test_a_large_file_takes_no_memory(target: Path) -> None:
    size = 64 << 20
    chunk = bytes(1 << 20)

    def chunks() -> Iterator[bytes]:
        yield header("large.bin", size)
        yield from [chunk] * 64
        yield END

    tracemalloc.start()
    try:
        extract(chunks(), target)
        assert tracemalloc.get_traced_memory()[1] < 4 << 20
    finally:
        tracemalloc.stop()


def mutated(content: bytes, chance: random.Random) -> bytes:
    """Damage an archive in one of several ways, sometimes with a checksum that fits again."""
    damaged = bytearray(content)
    for _ in range(chance.randint(1, 4)):
        at = chance.randrange(len(damaged))
        damaged[at] = chance.choice([0, 255, 32, 46, 47, 48, 55, 120, chance.randrange(256)])
    if chance.random() < 0.3:
        del damaged[chance.randrange(len(damaged)) :]
    is_sealed = chance.random() < 0.6 and len(damaged) > BLOCK
    return sealed(bytes(damaged)) if is_sealed else bytes(damaged)


def standard(form: int) -> Callable[[], bytes]:
    def made() -> bytes:
        buffer = io.BytesIO()
        with tarfile.open(fileobj=buffer, mode="w", format=form) as tar:
            for name in ("a.bin", "dir/b.bin"):
                info = tarfile.TarInfo(name)
                info.size, info.mtime = 5, 1.5
                tar.addfile(info, io.BytesIO(b"12345"))
        return buffer.getvalue()[: 8 * BLOCK] + END

    return made


@pytest.mark.parametrize("form", [tarfile.USTAR_FORMAT, tarfile.GNU_FORMAT, tarfile.PAX_FORMAT])
def test_a_damaged_archive_is_taken_or_refused_never_worse(form: int, tmp_path: Path) -> None:
    """Whatever is taken lies inside the target; whatever is refused leaves nothing."""
    chance, content = random.Random(form), standard(form)()
    inside = tmp_path / "inside"
    inside.mkdir()
    for number in range(300):
        target = inside / f"out{number}"
        try:
            extract([mutated(content, chance)], target, most_bytes=1 << 20)
        except (ManifestInvalid, UnsafePath, TooLarge):
            assert not target.exists()
    assert all(one.name.startswith("out") and not one.name.endswith(".part") for one in inside.iterdir())
    assert [one.name for one in tmp_path.iterdir()] == ["inside"]
    assert not any(one.is_symlink() for one in inside.rglob("*"))

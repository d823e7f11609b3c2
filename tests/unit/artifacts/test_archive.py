"""What the archive of a directory promises: one form, read back as it was."""

import io
import os
import shutil
import subprocess
import tarfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from uuid import uuid4

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from thunderline.artifacts.archive import Archive, header
from thunderline.artifacts.extract import extract
from thunderline.artifacts.manifest import Entry, write_manifest
from thunderline.canonical import sha256_hex
from thunderline.errors import Conflict, InvalidInput, UnsafePath

FILES = {"model.safetensors": b"w" * 1300, "a/b/c.json": b"{}", "a/empty": b"", "a.b": b"x" * 512}
# one letter case, so that no two names differ by case alone; no name is a device's
PART = st.from_regex(r"[f-h0-9_][f-h0-9._-]{0,11}", fullmatch=True)
PATH = st.lists(PART, min_size=1, max_size=4).map("/".join)


def is_tree(files: Mapping[str, bytes]) -> bool:
    return not any(f"{one}/".startswith(f"{other}/") for one in files for other in files if one != other)


TREES = st.dictionaries(PATH, st.binary(max_size=1500), min_size=1, max_size=8).filter(is_tree)


def folder_of(files: Mapping[str, bytes], root: Path) -> Path:
    """Write files below a new directory."""
    root.mkdir(parents=True)
    for path, content in files.items():
        place = root / path
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_bytes(content)
    return root


def content_of(root: Path) -> dict[str, bytes]:
    found = [one for one in root.rglob("*") if one.is_file()]
    return {one.relative_to(root).as_posix(): one.read_bytes() for one in found}


def entries_of(files: Mapping[str, bytes]) -> list[Entry]:
    return [Entry(path, len(content), sha256_hex(content)) for path, content in sorted(files.items())]


def cut(content: bytes, size: int) -> Iterator[bytes]:
    return (content[at : at + size] for at in range(0, len(content), size))


@settings(max_examples=60, deadline=None)
@given(files=TREES, size=st.integers(1, 2000))
def test_what_was_packed_is_unpacked_whatever_the_chunks(
    files: dict[str, bytes], size: int, tmp_path_factory: pytest.TempPathFactory
) -> None:
    home = tmp_path_factory.getbasetemp() / uuid4().hex
    archive = Archive(folder_of(files, home / "in"))
    content = b"".join(archive)
    assert len(content) == archive.length
    assert extract(cut(content, size), home / "out") == archive.entries == entries_of(files)
    assert content_of(home / "out") == files
    shutil.rmtree(home)


@settings(max_examples=40, deadline=None)
@given(files=TREES)
def test_the_standard_library_reads_the_same_files(
    files: dict[str, bytes], tmp_path_factory: pytest.TempPathFactory
) -> None:
    home = tmp_path_factory.getbasetemp() / uuid4().hex
    content = b"".join(Archive(folder_of(files, home)))
    shutil.rmtree(home)
    with tarfile.open(fileobj=io.BytesIO(content)) as tar:
        assert [one.name for one in tar] == sorted(files)
        assert all(one.isreg() for one in tar)
        assert {one.name: b"".join(tar.extractfile(one) or ()) for one in tar} == files


def test_the_bytes_depend_on_names_and_contents_only(tmp_path: Path) -> None:
    first = folder_of(FILES, tmp_path / "first")
    second = folder_of(dict(reversed(FILES.items())), tmp_path / "elsewhere" / "second")
    (second / "a" / "hollow").mkdir()
    for place in second.rglob("*"):
        os.utime(place, (1, 1))
        place.chmod(0o700)
    assert b"".join(Archive(first)) == b"".join(Archive(second))


def test_the_bytes_are_those_of_every_release() -> None:
    """A change here would give every directory another digest."""
    numbers = [b"0000644", b"0000000", b"0000000", b"00000000005", b"00000000000", b"007073", b" 0"]
    before = b"a/b.bin" + bytes(93) + b"\0".join(numbers)
    assert header("a/b.bin", 5) == before + bytes(100) + b"ustar\x0000" + bytes(247)


def test_gnu_tar_reads_it(tmp_path: Path) -> None:
    tar = shutil.which("tar")
    if tar is None:
        pytest.skip("the program tar is not installed, so there is no other reader to compare with")
    (tmp_path / "out").mkdir()
    content = b"".join(Archive(folder_of(FILES, tmp_path / "in")))
    subprocess.run([tar, "-xf", "-", "-C", str(tmp_path / "out")], input=content, check=True)
    assert content_of(tmp_path / "out") == FILES


@pytest.mark.parametrize("form", [tarfile.USTAR_FORMAT, tarfile.GNU_FORMAT, tarfile.PAX_FORMAT])
def test_what_the_standard_library_writes_is_read(form: int, tmp_path: Path) -> None:
    """Directories, modes, owners, times (pax: as fractions) and a last record filled with zeros."""
    root = folder_of(FILES, tmp_path / "in")
    made = io.BytesIO()
    with tarfile.open(fileobj=made, mode="w", format=form) as tar:
        for one in root.iterdir():
            tar.add(one, one.name)
    assert extract([made.getvalue()], tmp_path / "out") == entries_of(FILES)


@pytest.mark.parametrize("size_bytes", [8**11 - 1, 8**11, (1 << 40) + 7])
def test_a_header_tells_any_size(size_bytes: int) -> None:
    read = tarfile.TarInfo.frombuf(header("large.bin", size_bytes), "ascii", "strict")
    assert (read.name, read.size, read.mode) == ("large.bin", size_bytes, 0o644)


def test_a_path_of_a_hundred_characters_fits(tmp_path: Path) -> None:
    files = {f"{'a' * 49}/{'b' * 50}": b"x"}
    content = b"".join(Archive(folder_of(files, tmp_path / "in")))
    extract([content], tmp_path / "out")
    assert content_of(tmp_path / "out") == files


def test_packing_twice_gives_the_same_and_the_manifest_follows(tmp_path: Path) -> None:
    archive = Archive(folder_of(FILES, tmp_path / "in"))
    assert b"".join(archive) == b"".join(archive)
    assert write_manifest(archive.entries) == write_manifest(reversed(entries_of(FILES)))


@pytest.mark.parametrize("name", ["a b", ".hidden", "-x", "ü", "con", "NUL.txt", "a\\b", "c" * 101])
def test_a_name_that_is_not_safe_everywhere_is_not_packed(name: str, tmp_path: Path) -> None:
    with pytest.raises(UnsafePath, match="not a safe relative path"):
        Archive(folder_of({name: b""}, tmp_path / "in"))


def test_twins_by_case_are_not_packed(tmp_path: Path) -> None:
    with pytest.raises(UnsafePath, match="case"):
        Archive(folder_of({"Model.bin": b"1", "model.bin": b"2"}, tmp_path / "in"))


@pytest.mark.parametrize("kind", ["file", "directory", "nowhere", "pipe"])
def test_links_and_pipes_are_not_packed(kind: str, tmp_path: Path) -> None:
    root = folder_of({"a.bin": b"1"}, tmp_path / "in")
    targets = {"file": root / "a.bin", "directory": tmp_path, "nowhere": tmp_path / "nowhere"}
    if kind == "pipe":
        os.mkfifo(root / "other")
    else:
        (root / "other").symlink_to(targets[kind])
    with pytest.raises(UnsafePath, match="other is a link, a pipe or a device"):
        Archive(root)


def test_a_directory_without_files_is_not_packed(tmp_path: Path) -> None:
    with pytest.raises(InvalidInput, match="holds no file"):
        Archive(tmp_path)


def test_a_missing_directory_is_named(tmp_path: Path) -> None:
    with pytest.raises(InvalidInput, match="nowhere: No such file"):
        Archive(tmp_path / "nowhere")


def test_a_file_that_grows_is_cut_at_the_size_first_seen(tmp_path: Path) -> None:
    root = folder_of({"log": b"12345"}, tmp_path / "in")
    archive = Archive(root)
    (root / "log").write_bytes(b"1234567890")
    extract([b"".join(archive)], tmp_path / "out")
    assert content_of(tmp_path / "out") == {"log": b"12345"}


@pytest.mark.parametrize("change", ["shrinks", "goes", "becomes a link", "becomes a pipe"])
def test_a_file_that_is_changed_meanwhile_ends_the_packing(change: str, tmp_path: Path) -> None:
    root = folder_of({"log": b"12345"}, tmp_path / "in")
    archive = Archive(root)
    (root / "log").unlink()
    if change == "shrinks":
        (root / "log").write_bytes(b"12")
    elif change == "becomes a link":
        (tmp_path / "other").write_bytes(b"abcde")
        (root / "log").symlink_to(tmp_path / "other")
    elif change == "becomes a pipe":
        os.mkfifo(root / "log")
    with pytest.raises(Conflict, match="changed while it was packed"):
        list(archive)


def test_nothing_is_unpacked_over_what_is_there(tmp_path: Path) -> None:
    content = b"".join(Archive(folder_of(FILES, tmp_path / "in")))
    for there in (folder_of({"mine": b"1"}, tmp_path / "folder"), tmp_path / "link"):
        if not there.exists():
            there.symlink_to(tmp_path / "nowhere")
        with pytest.raises(Conflict, match="is there already"):
            extract([content], there)
    assert content_of(tmp_path / "folder") == {"mine": b"1"}
    assert sorted(one.name for one in tmp_path.iterdir()) == ["folder", "in", "link"]


def test_unpacked_files_are_for_their_owner_only(tmp_path: Path) -> None:
    extract([b"".join(Archive(folder_of(FILES, tmp_path / "in")))], tmp_path / "out")
    modes = {one.stat().st_mode & 0o777 for one in [tmp_path / "out", *(tmp_path / "out").rglob("*")]}
    assert modes == {0o700, 0o600}

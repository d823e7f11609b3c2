"""Which paths are safe, and how a directory's files are listed."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from thunderline.artifacts.manifest import Entry, parse_path, write_manifest
from thunderline.errors import ThunderlineError, UnsafePath

FORBIDDEN = set("\\:*?\"<>|~$&;()[]{}%#@!'`= \t\n\r\0")


@pytest.mark.parametrize(
    "path",
    ["a", "_", "0", "model.safetensors", "a/b/c", "a-b_c.d", "1/2/3/4/5/6/7/8", "a" * 100, "con_", "auxx"],
)
def test_a_plain_relative_path_is_safe(path: str) -> None:
    assert parse_path(path) == path


@pytest.mark.parametrize(
    "path",
    ["", ".", "..", "../a", "a/..", "a/../b", "/a", "//a", "a//b", "a/", "./a", ".a", "-a", "a/.b", "~",
     "~/a", "C:\\a", "c:a", "a\\b", "a b", "a\n", "a\0b", "ü", "a\u0301", "\uff0e\uff0e/a", "%2e%2e/a", "file:///a",
     "1/2/3/4/5/6/7/8/9", "a" * 101, "CON", "nul", "aux.txt", "LPT1", "a/com1.bin", "\u0660"],
)  # fmt: skip
def test_any_other_path_is_refused_and_shown(path: str) -> None:
    with pytest.raises(UnsafePath, match="not a safe relative path") as caught:
        parse_path(path, "name")
    assert str(caught.value).startswith("name: ")


@given(st.text(max_size=120))
def test_a_path_is_accepted_as_it_is_or_refused_by_a_sentence(text: str) -> None:
    try:
        accepted = parse_path(text)
    except ThunderlineError:
        return
    assert accepted == text
    assert not FORBIDDEN & set(text)
    assert ".." not in text.split("/")
    assert not text.startswith("/")


def test_a_manifest_is_sorted_canonical_json() -> None:
    entries = [Entry("b", 2, "2" * 64), Entry("a/c", 1, "1" * 64)]
    assert write_manifest(entries) == (
        b'{"files":[{"path":"a/c","sha256":"' + b"1" * 64 + b'","size_bytes":1},'
        b'{"path":"b","sha256":"' + b"2" * 64 + b'","size_bytes":2}],"schema":"thunderline/manifest/v1"}'
    )  # fmt: skip
    assert write_manifest(reversed(entries)) == write_manifest(entries)


def test_a_manifest_of_nothing_is_one_too() -> None:
    assert json.loads(write_manifest([])) == {"files": [], "schema": "thunderline/manifest/v1"}

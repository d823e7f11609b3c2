"""The file in a form, however the form is cut into pieces."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from thunderline.errors import InvalidInput
from thunderline.web.multipart import FilePart

TYPE = "multipart/form-data; boundary=edge"


def form(*parts: tuple[str, bytes], closing: bytes = b"--edge--\r\n") -> bytes:
    """A body of these (name, content)."""
    return (
        b"".join(
            b'--edge\r\nContent-Disposition: form-data; name="%b"\r\n\r\n%b\r\n' % (name.encode(), content)
            for name, content in parts
        )
        + closing
    )


def read(body: bytes, size: int = 1 << 20) -> bytes:
    part = FilePart(TYPE)
    found = b"".join(
        piece for start in range(0, len(body), size) for piece in part.feed(body[start : start + size])
    )
    part.finish()
    return found


@given(content=st.binary(max_size=300), size=st.integers(1, 50))
def test_the_bytes_are_the_same_however_they_arrive(content: bytes, size: int) -> None:
    assert read(form(("note", b"x"), ("file", content), ("more", b"y")), size) == content


def test_what_looks_like_a_boundary_inside_is_content() -> None:
    content = b"\r\n--edg\r\n--edge\r--edge--"
    for size in (1, 2, 3, 7, 1000):
        assert read(form(("file", content)), size) == content


@pytest.mark.parametrize(
    ("body", "problem"),
    [
        (form(("other", b"x")), "exactly one part named file"),
        (form(("file", b"x"), ("file", b"y")), "more than one part named file"),
        (form(("file", b"x"), closing=b""), "before its closing boundary"),
        (form(("file", b"x"), closing=b"--edge\r\n"), "before its closing boundary"),
        (b"", "before its closing boundary"),
        (b"plain text", "not multipart/form-data"),
    ],
)
def test_a_form_without_exactly_one_whole_file_is_refused(body: bytes, problem: str) -> None:
    with pytest.raises(InvalidInput, match=problem):
        read(body)


def test_a_header_without_end_is_refused_while_it_comes() -> None:
    with pytest.raises(InvalidInput, match="header"):
        read(b"--edge\r\nX-Long: " + b"x" * 100_000, 1000)


@pytest.mark.parametrize("content_type", ["multipart/form-data", "multipart/form-data; boundary="])
def test_a_form_without_a_boundary_is_refused(content_type: str) -> None:
    with pytest.raises(InvalidInput, match="without a boundary"):
        FilePart(content_type)


@given(st.binary(max_size=400))
def test_a_body_of_anything_is_read_or_refused(body: bytes) -> None:
    try:
        read(b"--edge\r\n" + body)
    except InvalidInput:
        return

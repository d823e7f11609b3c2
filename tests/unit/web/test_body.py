"""Documents are held against their forms."""

import pytest

from thunderline.canonical import Json
from thunderline.errors import InvalidInput
from thunderline.web.body import Document, checked, described
from thunderline.web.content_type import sane_content_type
from thunderline.web.identifier import parse_uuid


class _Form(Document):
    name: str
    count: int = 0


def test_a_document_of_the_right_form_is_read() -> None:
    assert checked(_Form, {"name": "x", "count": 2}).count == 2


@pytest.mark.parametrize(
    ("document", "told"),
    [
        ({}, "name: "),
        ({"name": 1}, "name: "),
        ({"name": "x", "count": "2"}, "count: "),
        ({"name": "x", "count": True}, "count: "),
        ({"name": "x", "conut": 2}, "conut: no such field; did you mean count?"),
        ({"nmae": "x"}, "nmae: no such field; did you mean name?"),
        ({"name": "x", "zzz": 2}, "zzz: no such field; known are name, count"),
        ([], "body: expected a JSON object"),
        (None, "body: expected a JSON object"),
    ],
)
def test_a_document_of_another_form_is_refused_where_it_differs(document: Json, told: str) -> None:
    with pytest.raises(InvalidInput) as refused:
        checked(_Form, document)
    assert str(refused.value).startswith(told)


def test_a_document_within_another_is_refused_with_its_whole_path() -> None:
    with pytest.raises(InvalidInput, match=r"^params\.name: "):
        checked(_Form, {}, "params")


def test_a_form_is_described_by_its_fields() -> None:
    assert '"name"' in str(described(_Form)).replace("'", '"')


@pytest.mark.parametrize(
    "given", ["text/plain", "text/csv; charset=utf-8", "a/b;x", "image/svg+xml", "a/b ;c=d"]
)
def test_a_content_type_that_is_one_stays(given: str) -> None:
    assert sane_content_type(given) == given


@pytest.mark.parametrize(
    "given",
    ["", "x", "a/", "/b", "a b/c", "a/b\r\nSet-Cookie: x", "a/b;\0", "ü/b", "a/" + "b" * 101, "a/b\n"],
)
def test_any_other_content_type_is_plain_bytes(given: str) -> None:
    assert sane_content_type(given) == "application/octet-stream"


def test_a_uuid_has_one_form() -> None:
    usual = "01890a5d-ac96-774b-bcce-b302099a8057"
    assert parse_uuid(usual.upper(), "id") == usual
    with pytest.raises(InvalidInput, match="'x' is not a UUID"):
        parse_uuid("x", "id")

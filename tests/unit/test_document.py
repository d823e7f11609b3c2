"""Documents are read strictly, whoever wrote them."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from thunderline.canonical import Json
from thunderline.document import JSON_LIMIT_BYTES, YAML_LIMIT_BYTES, parse_json, parse_yaml, write_yaml
from thunderline.errors import InvalidInput, TooLarge

BOMB = b"a: &a [x,x,x,x,x,x,x,x,x]\n" + b"".join(
    f"{chr(98 + i)}: &{chr(98 + i)} [{','.join(f'*{chr(97 + i)}' for _ in range(9))}]\n".encode()
    for i in range(8)
)


def test_json_is_read_to_plain_values() -> None:
    assert parse_json(b'{"a": [1, 2.5, null, true, "x"]}') == {"a": [1, 2.5, None, True, "x"]}


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        (b'{"a": 1, "a": 2}', "the key 'a' stands twice"),
        (b'{"o": {"a": 1, "a": 1}}', "the key 'a' stands twice"),
        (b"[NaN]", "NaN is not a JSON number"),
        (b"[-Infinity]", "-Infinity is not a JSON number"),
        (b"[1e999]", "a number is too large"),
        (b"[9007199254740992]", "a whole number is beyond 9007199254740991"),
        (b"[-%d]" % 10**400, "a whole number is beyond"),
        (rb'{"a": "x\u0000"}', "a zero character"),
        (rb'{"\ud800": 1}', "half of a surrogate pair"),
        (b'{"a": 1} x', "not strict JSON"),
        (b"", "not strict JSON"),
        (b"\xff\xfe", "not strict JSON"),
        (b"[" * 34 + b"]" * 34, "nested deeper than 32 levels"),
        (b"[" * 100_000 + b"]" * 100_000, "nested deeper than 32 levels"),
        (b'{"a":' * 40 + b"1" + b"}" * 40, "nested deeper than 32 levels"),
    ],
)
def test_json_that_is_not_strict_is_refused(content: bytes, problem: str) -> None:
    with pytest.raises(InvalidInput, match=problem):
        parse_json(content)


def test_a_refusal_names_the_document() -> None:
    with pytest.raises(InvalidInput, match=r"^metadata: "):
        parse_json(b"{", field="metadata")


@pytest.mark.parametrize(("parse", "limit"), [(parse_json, JSON_LIMIT_BYTES), (parse_yaml, YAML_LIMIT_BYTES)])
def test_a_document_over_the_limit_is_refused_unread(parse: object, limit: int) -> None:
    assert callable(parse)
    with pytest.raises(TooLarge, match=f"{limit + 1} bytes, more than the {limit} allowed"):
        parse(b" " * (limit + 1))


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("no", "no"),
        ("yes", "yes"),
        ("on", "on"),
        ("010", "010"),
        ("0x1f", "0x1f"),
        ("1:30", "1:30"),
        ("2026-01-02", "2026-01-02"),
        ("true", True),
        ("~", None),
        ("null", None),
        ("", None),
        ("12", 12),
        ("-7", -7),
        ("5e-5", 5e-5),
        ("1.5", 1.5),
        ("'12'", "12"),
        ('"null"', "null"),
    ],
)
def test_yaml_scalars_follow_the_1_2_core_schema(text: str, value: Json) -> None:
    found = parse_yaml(f"key: {text}\n".encode())
    assert found == {"key": value}
    assert isinstance(found, dict)
    assert type(found["key"]) is type(value)


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        (BOMB, "anchors are not allowed"),
        (b"a: [*x]", "undefined alias|aliases are not allowed|not YAML"),
        (b"a: 1\na: 2", "line 2: the key 'a' stands twice"),
        (b"a: {b: 1, b: 2}", "the key 'b' stands twice"),
        (b"1: x", "the key 1 is not a string"),
        (b"? [a]\n: b", "is not a string"),
        (b"a: !!python/object/apply:os.system [id]", "the tag '.*' is not allowed"),
        (b"a: !!str 1", "the tag '.*' is not allowed"),
        (b"a: 1\n---\nb: 2", "more than one document"),
        (b"", "the document is empty"),
        (b"# nothing but this\n", "the document is empty"),
        (b"a: [1, 2", "not YAML"),
        (b"a: \xff", "not UTF-8"),
        (b"a: 1.0e999", "out of range"),
        (rb'a: "x\0y"', "line 1: a string holds a zero character"),
        (rb'"a\x00": 1', "a zero character"),
        (b"[" * 40 + b"]" * 40, "nested deeper than 32 levels"),
        (b"[" * 100_000 + b"]" * 100_000, "nested deeper than 32 levels|not YAML"),
        (b"[" + b"1," * 30_000 + b"1]", "more than 20000 YAML events"),
    ],
)
def test_yaml_that_is_not_strict_is_refused(content: bytes, problem: str) -> None:
    with pytest.raises(InvalidInput, match=problem):
        parse_yaml(content)


@given(st.binary(max_size=200))
def test_any_bytes_are_read_or_refused(content: bytes) -> None:
    for parse in (parse_json, parse_yaml):
        try:
            parse(content)
        except InvalidInput:
            continue


@given(
    st.dictionaries(
        st.from_regex(r"[a-z]{1,8}", fullmatch=True), st.integers() | st.booleans() | st.none(), max_size=5
    )
)
def test_written_yaml_is_plain_block_style(value: dict[str, Json]) -> None:
    written = write_yaml(value)
    if all(abs(one) < 10**18 for one in value.values() if isinstance(one, int)):
        assert parse_yaml(written.encode()) == value

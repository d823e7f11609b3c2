"""Strict JSON and YAML reading: bounded, no doubles, no NaN, no aliases, no surprises."""

import json
import math
import re
from collections.abc import Sequence

import yaml

from thunderline.canonical import Json
from thunderline.errors import InvalidInput, TooLarge

JSON_LIMIT_BYTES = 1 << 20
YAML_LIMIT_BYTES = 256 << 10
_DEPTH = 32
_EVENTS = 20_000
_MOST_WHOLE = 2**53 - 1  # beyond it, readers of JSON disagree
_UNKEPT = re.compile("[\0\ud800-\udfff]")  # in no Postgres text, and in no UTF-8


class _Doubled(ValueError):
    """A key that stands twice in one mapping."""


def _mapping(pairs: list[tuple[str, Json]]) -> dict[str, Json]:
    found: dict[str, Json] = {}
    for key, value in pairs:
        if key in found:
            raise _Doubled(f"the key {key!r} stands twice in one object")
        found[key] = value
    return found


def _no_constant(name: str) -> Json:
    raise ValueError(f"{name} is not a JSON number")


def parse_json(content: bytes, *, field: str = "body", limit_bytes: int = JSON_LIMIT_BYTES) -> Json:
    """Read one JSON document strictly.

    Args:
        content: UTF-8, at most ``limit_bytes``.
        field: how a refusal names the document.
        limit_bytes: the largest accepted size.

    Raises:
        InvalidInput: not UTF-8, not JSON, a doubled key, NaN or infinity, a whole number beyond 2**53 - 1,
            a zero character, half of a surrogate pair, nested deeper than 32.
        TooLarge: more than ``limit_bytes``.

    Source:
        RFC 8259, narrowed as in RFC 7493 (I-JSON).
    """
    if len(content) > limit_bytes:
        raise TooLarge(field, f"{len(content)} bytes, more than the {limit_bytes} allowed")
    try:
        value: Json = json.loads(
            content.decode("utf-8"), object_pairs_hook=_mapping, parse_constant=_no_constant
        )
        _check_depth(value)
    except RecursionError as error:
        raise InvalidInput(field, f"nested deeper than {_DEPTH} levels") from error
    except ValueError as error:
        raise InvalidInput(field, f"not strict JSON: {error}") from error
    return value


def _check_depth(value: Json, depth: int = 0) -> None:
    if depth > _DEPTH:
        raise ValueError(f"nested deeper than {_DEPTH} levels")
    if isinstance(value, str):
        _check_text(value)
    elif isinstance(value, int | float):
        _check_number(value)
    elif isinstance(value, dict):
        for key, one in value.items():
            _check_text(key)
            _check_depth(one, depth + 1)
    elif isinstance(value, Sequence):
        for one in value:
            _check_depth(one, depth + 1)


def _check_number(number: float) -> None:
    if isinstance(number, int):
        if abs(number) > _MOST_WHOLE:
            raise ValueError(f"a whole number is beyond {_MOST_WHOLE}; send it as a string")
    elif not math.isfinite(number):
        raise ValueError("a number is too large")


def _check_text(text: str) -> None:
    if _UNKEPT.search(text):
        raise ValueError("a string holds a zero character or half of a surrogate pair")


_NULL = re.compile(r"~|null|", re.ASCII)
_BOOL = {"true": True, "false": False}
_INT = re.compile(r"[-+]?(?:0|[1-9]\d{0,18})", re.ASCII)
_FLOAT = re.compile(r"[-+]?(?:\.\d+|\d+\.\d*|\d+(?=[eE]))(?:[eE][-+]?\d{1,3})?", re.ASCII)


def parse_yaml(content: bytes, *, field: str = "document") -> Json:
    """Read one YAML document strictly, by the 1.2 core schema.

    ``no`` and ``010`` are strings, ``5e-5`` is a number, and every key stands once.

    Args:
        content: UTF-8, at most 256 KiB.
        field: how a refusal names the document.

    Raises:
        InvalidInput: not YAML, more than one document, a doubled or non-string key, an anchor, alias
            or tag, nested deeper than 32, more than 20,000 events, a number out of range, a zero
            character (which only an escape can write).
        TooLarge: more than 256 KiB.

    Source:
        YAML 1.2.2, section 10.3 (core schema).
    """
    if len(content) > YAML_LIMIT_BYTES:
        raise TooLarge(field, f"{len(content)} bytes, more than the {YAML_LIMIT_BYTES} allowed")
    try:
        return _Reader(content.decode("utf-8")).document()
    except UnicodeDecodeError as error:
        raise InvalidInput(field, f"not UTF-8: {error.reason} at byte {error.start}") from error
    except yaml.YAMLError as error:
        raise InvalidInput(field, f"not YAML: {' '.join(str(error).split())}") from error
    except ValueError as error:
        raise InvalidInput(field, str(error)) from error


class _Reader:
    """Builds the value straight from the parser's events, so that nothing is ever constructed by tag."""

    def __init__(self, text: str) -> None:
        self._events = iter(yaml.parse(text, yaml.CSafeLoader))
        self._count = 0

    def _next(self) -> yaml.Event:
        self._count += 1
        if self._count > _EVENTS:
            raise ValueError(f"more than {_EVENTS} YAML events")
        return next(self._events)

    def document(self) -> Json:
        self._next()  # stream start
        if isinstance(self._next(), yaml.StreamEndEvent):
            raise ValueError("the document is empty")
        value = self._value(self._next(), 0)
        self._next()  # document end
        if not isinstance(self._next(), yaml.StreamEndEvent):
            raise ValueError("more than one document; send one at a time")
        return value

    def _value(self, event: yaml.Event, depth: int) -> Json:
        line = _line(event)
        if depth > _DEPTH:
            raise ValueError(f"line {line}: nested deeper than {_DEPTH} levels")
        if isinstance(event, yaml.AliasEvent):
            raise ValueError(f"line {line}: aliases are not allowed; write the value out")
        if isinstance(event, yaml.NodeEvent) and event.anchor is not None:
            raise ValueError(f"line {line}: anchors are not allowed")
        if isinstance(event, yaml.ScalarEvent | yaml.CollectionStartEvent) and event.tag is not None:
            raise ValueError(f"line {line}: the tag {event.tag!r} is not allowed")
        if isinstance(event, yaml.ScalarEvent):
            return _scalar(event, line)
        if isinstance(event, yaml.SequenceStartEvent):
            return self._sequence(depth)
        return self._mapping(depth)

    def _sequence(self, depth: int) -> list[Json]:
        found: list[Json] = []
        while not isinstance(event := self._next(), yaml.SequenceEndEvent):
            found.append(self._value(event, depth + 1))
        return found

    def _mapping(self, depth: int) -> dict[str, Json]:
        found: dict[str, Json] = {}
        while not isinstance(event := self._next(), yaml.MappingEndEvent):
            line = _line(event)
            key = self._value(event, depth + 1)
            if not isinstance(key, str):
                raise ValueError(f"line {line}: the key {key!r} is not a string")
            if key in found:
                raise ValueError(f"line {line}: the key {key!r} stands twice")
            found[key] = self._value(self._next(), depth + 1)
        return found


def _line(event: yaml.Event) -> int:
    return event.start_mark.line + 1 if event.start_mark else 0


def _scalar(event: yaml.ScalarEvent, line: int) -> Json:
    text = event.value
    if _UNKEPT.search(text):
        raise ValueError(f"line {line}: a string holds a zero character")
    if not event.implicit[0]:  # quoted or block: a string
        return text
    if text in _BOOL:
        return _BOOL[text]
    if _NULL.fullmatch(text):
        return None
    if _INT.fullmatch(text):
        return int(text)
    if _FLOAT.fullmatch(text):
        number = float(text)
        if not math.isfinite(number):
            raise ValueError(f"line {line}: {text} is out of range")
        return number
    return text


def write_yaml(value: Json) -> str:
    """Write a JSON value as YAML in block style, keys in their order."""
    written: str = yaml.safe_dump(value, sort_keys=False, allow_unicode=True, width=110)
    return written

"""How data reaches stdout."""

import json

import pytest

from thunderline.canonical import Json
from thunderline.cli.output import Output, cell, emit, printable
from thunderline.document import parse_yaml

ROWS: list[dict[str, Json]] = [{"name": "a", "size": 1}, {"name": "b\x1b[2J", "size": None}]


def test_json_is_one_document(capsys: pytest.CaptureFixture[str]) -> None:
    emit(ROWS, Output.JSON)
    assert json.loads(capsys.readouterr().out) == ROWS
    emit(ROWS[0], Output.JSON)
    assert json.loads(capsys.readouterr().out) == ROWS[0]


def test_json_lines_are_one_row_each(capsys: pytest.CaptureFixture[str]) -> None:
    emit(ROWS, Output.JSONL)
    assert [json.loads(line) for line in capsys.readouterr().out.splitlines()] == ROWS


def test_yaml_reads_back(capsys: pytest.CaptureFixture[str]) -> None:
    emit(ROWS, Output.YAML)
    assert parse_yaml(capsys.readouterr().out.encode()) == ROWS


def test_a_table_never_obeys_what_it_shows(capsys: pytest.CaptureFixture[str]) -> None:
    emit(ROWS)
    out = capsys.readouterr().out
    assert "\x1b" not in out
    assert "b\\x1b[2J" in out


def test_a_long_value_stays_on_one_line_when_nobody_looks(capsys: pytest.CaptureFixture[str]) -> None:
    emit([{"where": "x" * 300}])
    assert "x" * 300 in capsys.readouterr().out


def test_no_rows_are_said_on_stderr(capsys: pytest.CaptureFixture[str]) -> None:
    emit([])
    said = capsys.readouterr()
    assert (said.out, said.err) == ("", "nothing to show\n")


def test_markup_in_a_value_is_shown_not_used(capsys: pytest.CaptureFixture[str]) -> None:
    emit({"reason": "[red]no[/red]"})
    assert "[red]no[/red]" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("value", "text"),
    [(None, ""), (True, "yes"), (0.123456789, "0.123457"), ({"a": [1]}, '{"a": [1]}'), (7, "7")],
)
def test_cells_are_short(value: Json, text: str) -> None:
    assert cell(value) == text


def test_line_ends_and_tabs_are_kept() -> None:
    assert printable("a\tb\né\x07") == "a\tb\né\\x07"

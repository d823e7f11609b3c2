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


def test_a_narrow_terminal_shows_short_digests_and_times_and_a_wide_one_all(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    row: dict[str, Json] = {"model": "iris", "sha256": "ab" * 32, "at": "2026-11-24T18:06:26.575810Z"}
    monkeypatch.setattr("sys.stdout.isatty", lambda: True)
    for columns, told in (
        ("80", ("ab" * 6 + "…", "2026-11-24 18:06:26")),
        ("160", ("ab" * 32, "26.575810Z")),
    ):
        monkeypatch.setenv("COLUMNS", columns)
        emit([row])
        lines = capsys.readouterr().out.splitlines()
        assert [one for one in told if not any(one in line for line in lines)] == []
        assert sum("iris" in line or "ab" in line for line in lines) == 1


def test_a_table_begins_with_its_head(capsys: pytest.CaptureFixture[str]) -> None:
    emit([{"model": "iris", "is_up": True}])
    assert [one.split() for one in capsys.readouterr().out.splitlines()][::2] == [
        ["model", "is", "up"],
        ["iris", "yes"],
    ]


def test_one_object_is_shown_whole_however_narrow_the_terminal(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("sys.stdout.isatty", lambda: True)
    monkeypatch.setenv("COLUMNS", "80")
    emit({"sha256": "ab" * 32, "uri": "s3://bucket/" + "x" * 90})
    assert "ab" * 32 in capsys.readouterr().out


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

"""A log line is one JSON object with the contract's fields."""

import json
import logging
from collections.abc import Iterator

import pytest

from thunderline.telemetry import EventLog, write_json_logs, write_warnings


@pytest.fixture(autouse=True)
def logging_as_before() -> Iterator[None]:
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    yield
    root.handlers[:] = handlers
    root.setLevel(level)


def lines(capsys: pytest.CaptureFixture[str]) -> list[dict[str, object]]:
    return [json.loads(line) for line in capsys.readouterr().err.splitlines()]


def test_a_line_says_when_who_what_and_the_fields(capsys: pytest.CaptureFixture[str]) -> None:
    write_json_logs("api")
    EventLog("artifacts.bank").info("artifact_uploaded", file_id="f", size_bytes=3)
    (line,) = lines(capsys)
    moment = line.pop("ts")
    assert isinstance(moment, str)
    assert moment.endswith("Z")
    assert line == {
        "level": "info",
        "service": "api",
        "category": "artifacts.bank",
        "event": "artifact_uploaded",
        "file_id": "f",
        "size_bytes": 3,
    }


def test_the_extras_of_the_contract_are_kept_from_plain_logging(capsys: pytest.CaptureFixture[str]) -> None:
    write_json_logs("worker")
    logging.getLogger("rq").warning("retried", extra={"run_id": "r1", "error_code": "E"})
    (line,) = lines(capsys)
    assert (line["level"], line["run_id"], line["error_code"]) == ("warning", "r1", "E")


def test_a_line_end_in_a_value_does_not_end_the_line(capsys: pytest.CaptureFixture[str]) -> None:
    write_json_logs("api")
    EventLog("web").warning("refused", reason='two\nlines "quoted"')
    (line,) = lines(capsys)
    assert line["reason"] == 'two\nlines "quoted"'


def test_an_exception_comes_with_its_traceback(capsys: pytest.CaptureFixture[str]) -> None:
    write_json_logs("api")
    EventLog("web").error("failed", exception=ValueError("why"))
    (line,) = lines(capsys)
    assert "ValueError: why" in str(line["exception"])


def test_what_json_cannot_hold_is_written_as_text(capsys: pytest.CaptureFixture[str]) -> None:
    write_json_logs("api")
    EventLog("web").info("seen", odd={1})
    assert lines(capsys)[0]["odd"] == "{1}"


def test_setting_up_twice_does_not_double_the_lines(capsys: pytest.CaptureFixture[str]) -> None:
    write_json_logs("api")
    write_json_logs("api")
    EventLog("web").info("once")
    assert len(lines(capsys)) == 1


def test_a_person_reads_warnings_with_their_fields_and_no_news(capsys: pytest.CaptureFixture[str]) -> None:
    write_warnings()
    EventLog("consumer").info("adopted", seq=1)
    EventLog("consumer").warning("reference_not_read", problem="refused\x1b", seq=2)
    assert capsys.readouterr().err == 'reference_not_read problem="refused\\u001b" seq=2\n'

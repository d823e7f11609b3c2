"""Logs: one JSON line for each event, in the past tense, with fields."""

import json
import logging
import sys
from datetime import UTC, datetime
from typing import TextIO

from typing_extensions import override

from thunderline.clock import to_wire

_FIELDS = "tl_fields"
_CONTRACT = ("category", "service", "event", "run_id", "tokenizer_id", "error_code")


class _JsonLines(logging.Formatter):
    """Writes a record as one JSON object; the contract's extras first."""

    def __init__(self, service: str) -> None:
        super().__init__()
        self._service = service

    @override
    def format(self, record: logging.LogRecord) -> str:
        """Return the line without its end."""
        extras: dict[str, object] = dict(getattr(record, _FIELDS, {}))
        for name in _CONTRACT:
            if name not in extras and hasattr(record, name):
                extras[name] = getattr(record, name)
        line: dict[str, object] = {
            "ts": to_wire(datetime.fromtimestamp(record.created, UTC)),
            "level": record.levelname.lower(),
            "service": self._service,
            "category": record.name,
            "event": record.getMessage(),
            **extras,
        }
        if record.exc_info:
            line["exception"] = self.formatException(record.exc_info)
        return json.dumps(line, default=str, ensure_ascii=False)


class _Words(logging.Formatter):
    """Writes a record as an event and its fields, for a person at a terminal."""

    @override
    def format(self, record: logging.LogRecord) -> str:
        """Return the line without its end."""
        fields: dict[str, object] = dict(getattr(record, _FIELDS, {}))
        told = (
            f"{name}={json.dumps(value, default=str, ensure_ascii=False)}" for name, value in fields.items()
        )
        return " ".join([record.getMessage(), *told])


class EventLog:
    """A room's log."""

    def __init__(self, category: str) -> None:
        """Speak under the name of a room.

        Args:
            category: dotted, such as ``federation.driver``.
        """
        self._log = logging.getLogger(category)

    def info(self, event: str, **fields: object) -> None:
        """Say that something happened, with its fields; never a secret, never a payload."""
        self._log.info(event, extra={_FIELDS: fields})

    def warning(self, event: str, **fields: object) -> None:
        """Say that something is not as it should be and was survived."""
        self._log.warning(event, extra={_FIELDS: fields})

    def error(self, event: str, *, exception: BaseException | None = None, **fields: object) -> None:
        """Say that something failed, with its exception if there is one."""
        self._log.error(event, extra={_FIELDS: fields}, exc_info=exception)


def write_warnings(stream: TextIO | None = None) -> None:
    """Send what this process warns of to one stream, as an event and its fields.

    Args:
        stream: where to; by default stderr.
    """
    handler = logging.StreamHandler(stream or sys.stderr)
    handler.setFormatter(_Words())
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(logging.WARNING)


def write_json_logs(service: str, stream: TextIO | None = None) -> None:
    """Send every log of this process to one stream as JSON lines.

    Args:
        service: which process speaks, such as ``api``.
        stream: where to; by default stderr.
    """
    handler = logging.StreamHandler(stream or sys.stderr)
    handler.setFormatter(_JsonLines(service))
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(logging.INFO)

"""Models, their versions and the gates they declare."""

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime

from thunderline.canonical import Json
from thunderline.errors import InvalidInput

_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._-]{0,127}", re.ASCII)
_DIRECTIONS = ("higher", "lower")
_LOWER = re.compile(
    r"(?:^|[_./-])(?:loss|perplexity|ppl|error|rmse|mse|mae|wer|cer|latency)(?:$|[_./-])", re.ASCII
)


@dataclass(frozen=True, slots=True)
class MetricGate:
    """The figure a candidate is judged by."""

    metric: str
    direction: str  # ``higher`` or ``lower``: which is better
    margin: float  # by how much a candidate may be worse than the champion, >= 0, in the metric's unit
    floor: float | None  # the worst value accepted at all; needed while there is no champion


@dataclass(frozen=True, slots=True)
class Gates:
    """What a model asks of its candidates beside intact bytes."""

    metric: MetricGate | None = None
    is_ungated: bool = False  # said out loud: no metric is asked for
    required: tuple[str, ...] = ()  # keys that an artifact's metadata must carry to become active

    def to_json(self) -> dict[str, Json]:
        """Return the gates as stored and sent."""
        metric = self.metric
        return {
            "metric": None
            if metric is None
            else {
                "metric": metric.metric,
                "direction": metric.direction,
                "margin": metric.margin,
                "floor": metric.floor,
            },
            "ungated": self.is_ungated,
            "required": list(self.required),
        }


@dataclass(frozen=True, slots=True)
class Model:
    """A name under which versions are kept and references point."""

    name: str
    gates: Gates
    head_seq: int  # of its history; 0 before the first promotion
    head_hash: str
    created_at: datetime
    created_by: str


@dataclass(frozen=True, slots=True)
class ModelVersion:
    """One artifact under a model's name."""

    model: str
    version: int  # 1, 2, ... within the model
    artifact_id: str
    sha256: str
    created_at: datetime
    created_by: str


def parse_model_name(text: str, field: str = "model") -> str:
    """Return ``text`` if it can name a model on every face: URL, key, command line.

    Raises:
        InvalidInput: empty, longer than 128, or with characters other than letters, digits, ``._-``.

    >>> parse_model_name("coop-chat-v2")
    'coop-chat-v2'
    """
    if not _NAME.fullmatch(text) or text in {".", ".."}:
        raise InvalidInput(
            field,
            f"{text[:140]!r} is not a name; use letters, digits, '.', '_', '-', starting with a letter, "
            "digit or '_', 128 at most",
        )
    return text


def better_direction(metric: str) -> str:
    """Return which is better of a metric, as its name says.

    >>> better_direction("accuracy"), better_direction("val_perplexity")
    ('higher', 'lower')
    """
    return "lower" if _LOWER.search(metric) else "higher"


def parse_gates(document: Json, field: str = "gates") -> Gates:
    """Read gates as sent or stored.

    Args:
        document: ``{"metric": {...} or null, "ungated": bool, "required": [...]}``; all optional.
        field: how a refusal names it.

    Raises:
        InvalidInput: an unknown key, a value out of range, or a metric beside ``ungated``.
    """
    given = _mapping(document, field, {"metric", "ungated", "required"})
    required = given.get("required", [])
    if not isinstance(required, list) or not all(isinstance(one, str) for one in required):
        raise InvalidInput(f"{field}.required", "expected a list of metadata keys")
    ungated = given.get("ungated", False)
    if not isinstance(ungated, bool):
        raise InvalidInput(f"{field}.ungated", "expected true or false")
    metric = given.get("metric")
    if metric is not None and ungated:
        raise InvalidInput(f"{field}.ungated", "a model is either ungated or judged by a metric, not both")
    gate = None if metric is None else _parse_metric(metric, f"{field}.metric")
    return Gates(gate, ungated, tuple(str(one) for one in required))


def _parse_metric(document: Json, field: str) -> MetricGate:
    given = _mapping(document, field, {"metric", "direction", "margin", "floor"})
    name, direction = given.get("metric"), given.get("direction", "higher")
    if not isinstance(name, str) or not name.strip():
        raise InvalidInput(f"{field}.metric", "expected the metric's name, such as accuracy")
    if not isinstance(direction, str) or direction not in _DIRECTIONS:
        raise InvalidInput(
            f"{field}.direction", f"expected one of {', '.join(_DIRECTIONS)}, got {direction!r}"
        )
    margin = _number(given.get("margin", 0.0), f"{field}.margin")
    if margin < 0:
        raise InvalidInput(f"{field}.margin", f"must be 0 or more, got {margin}")
    floor = given.get("floor")
    return MetricGate(name, direction, margin, None if floor is None else _number(floor, f"{field}.floor"))


def _number(value: Json, field: str) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        raise InvalidInput(field, f"expected a finite number, got {value!r}")
    return float(value)


def _mapping(document: Json, field: str, known: set[str]) -> Mapping[str, Json]:
    if not isinstance(document, Mapping):
        raise InvalidInput(field, "expected an object")
    for key in document:
        if key not in known:
            raise InvalidInput(f"{field}.{key}", f"no such key; known are {', '.join(sorted(known))}")
    return document

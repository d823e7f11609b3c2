"""Stages, their labels and other words; targets and addresses as people write them."""

import re
from dataclasses import dataclass

from thunderline.canonical import is_digest
from thunderline.errors import InvalidInput
from thunderline.registry.model import parse_model_name
from thunderline.registry.reference import parse_label

STAGES = ("shadow", "staging", "active")
# Each word for a stage, and the label under which that stage's reference is kept.
_LABEL_OF_WORD = {
    "shadow": "shadow",
    "staging": "staging",
    "canary": "staging",
    "active": "prod",
    "global": "prod",
    "production": "prod",
    "prod": "prod",
}
_STAGE_OF_LABEL = {"shadow": "shadow", "staging": "staging", "prod": "active"}


@dataclass(frozen=True, slots=True)
class Target:
    """A reference to move: a model's label, and the stage it stands for if it does."""

    model: str
    label: str
    stage: str | None

    @property
    def ref(self) -> str:
        """Return ``name:label``, as events and histories write it."""
        return f"{self.model}:{self.label}"


@dataclass(frozen=True, slots=True)
class ByVersion:
    """``name@3``."""

    model: str
    version: int


@dataclass(frozen=True, slots=True)
class ByUri:
    """``s3://bucket/key``."""

    uri: str


@dataclass(frozen=True, slots=True)
class ByDigest:
    """A sha256."""

    sha256: str


Address = ByVersion | ByUri | ByDigest | Target
_VERSION = re.compile(r"([^@]+)@v?([1-9]\d{0,8})", re.ASCII)


def stage_of_label(label: str) -> str | None:
    """Return the stage a label stands for, None for a free label.

    >>> stage_of_label("prod"), stage_of_label("edge-eu")
    ('active', None)
    """
    return _STAGE_OF_LABEL.get(label)


def target_of(model: str, word: str, field: str = "target_ref") -> Target:
    """Return the reference that a model and a label, stage or other word for a stage name.

    Raises:
        InvalidInput: the name or the label has a wrong form.

    >>> target_of("m", "canary")
    Target(model='m', label='staging', stage='staging')
    """
    label = _LABEL_OF_WORD.get(word) or parse_label(word, field)
    return Target(parse_model_name(model, field), label, stage_of_label(label))


def parse_target(text: str, field: str = "target_ref") -> Target:
    """Read ``name:label`` or ``name#stage``.

    Raises:
        InvalidInput: another form, or an unknown stage after ``#``.

    >>> parse_target("coop-chat-v2#active").ref
    'coop-chat-v2:prod'
    """
    if "#" in text:
        model, _, word = text.partition("#")
        if word not in _LABEL_OF_WORD:
            raise InvalidInput(field, f"{word!r} is no stage; known are {', '.join(sorted(_LABEL_OF_WORD))}")
        return target_of(model, word, field)
    model, colon, word = text.partition(":")
    if not colon:
        raise InvalidInput(
            field, f"{text!r} names no reference; write name:label (such as coop:prod) or name#stage"
        )
    return target_of(model, word, field)


def parse_address(text: str, field: str = "address") -> Address:
    """Read an artifact's address: ``name@3``, ``name#active``, ``name:prod``, ``s3://…`` or a sha256.

    Raises:
        InvalidInput: none of these.
    """
    if text.startswith("s3://"):
        return ByUri(text)
    if is_digest(text):
        return ByDigest(text)
    match = _VERSION.fullmatch(text)
    if match is not None:
        return ByVersion(parse_model_name(match[1], field), int(match[2]))
    if "#" in text or ":" in text:
        return parse_target(text, field)
    raise InvalidInput(
        field, f"{text!r} is no address; write name@3, name#active, name:prod, s3://bucket/key or a sha256"
    )

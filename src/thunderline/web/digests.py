"""The digest that a request announces of its body; pure."""

import base64
from collections.abc import Sequence

from thunderline.errors import InvalidInput

_DIGEST_BYTES = 32
_SHOWN = 80


def announced_digest(fields: Sequence[str], name: str) -> str | None:
    """Return the sha256 that the lines of a digest field announce, None when they announce none.

    Args:
        fields: every line of ``Repr-Digest`` or ``Content-Digest``.
        name: the field's name, for refusals.

    Raises:
        InvalidInput: a sha-256 that is not 32 bytes of base64 between colons.

    Source:
        RFC 9530, sections 2 and 3; RFC 8941, section 3.2: of two members with one key the last counts.
        Other algorithms are ignored.

    >>> announced_digest(["sha-512=:AAAA:", "md5=:AAAA:"], "Repr-Digest") is None
    True
    """
    found: str | None = None
    for member in ",".join(fields).split(","):
        key, _, value = member.partition("=")
        if key.partition(";")[0].strip().lower() == "sha-256":
            found = _digest(value.partition(";")[0].strip(), name)
    return found


def _digest(value: str, name: str) -> str:
    if len(value) < 2 or (value[0], value[-1]) != (":", ":"):  # noqa: PLR2004 -- the two colons
        raise InvalidInput(name, f"sha-256 must be base64 between colons, got {value[:_SHOWN]!r}")
    try:
        digest = base64.b64decode(value[1:-1], validate=True)
    except ValueError as error:
        raise InvalidInput(name, f"sha-256 is not base64: {value[:_SHOWN]!r}") from error
    if len(digest) != _DIGEST_BYTES:
        raise InvalidInput(name, f"sha-256 must be {_DIGEST_BYTES} bytes, got {len(digest)}")
    return digest.hex()


def announced_by(fields: Sequence[tuple[str, Sequence[str]]]) -> str | None:
    """Return the one digest that several fields announce.

    Args:
        fields: names with all their lines.

    Raises:
        InvalidInput: one is malformed, or two announce different bytes.
    """
    found = {announced_digest(lines, name) for name, lines in fields} - {None}
    if len(found) > 1:
        names = " and ".join(name for name, _ in fields)
        raise InvalidInput(fields[0][0], f"{names} announce different bytes")
    return next(iter(found), None)

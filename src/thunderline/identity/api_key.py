"""API keys: issue, recognise, compare."""

import hmac
import re
import secrets
import zlib
from dataclasses import dataclass

from thunderline.canonical import sha256_hex

_FORM = re.compile(r"tl_([0-9a-f]{12})_([A-Za-z0-9_-]{43})([0-9a-f]{8})", re.ASCII)


@dataclass(frozen=True, slots=True)
class IssuedKey:
    """A new key; ``text`` is shown once and never stored."""

    key_id: str  # 12 hex digits, public
    text: str
    sha256: str  # of the whole text: what is stored


def issue() -> IssuedKey:
    """Make a key of 256 random bits with a check sum, so that a mistyped one is told at once.

    Returns:
        The key; keep ``sha256``, hand ``text`` over.
    """
    key_id, secret = secrets.token_hex(6), secrets.token_urlsafe(32)
    body = f"tl_{key_id}_{secret}"
    text = f"{body}{zlib.crc32(body.encode()):08x}"
    return IssuedKey(key_id, text, sha256_hex(text.encode()))


def key_id_of(text: str) -> str | None:
    """Return the public id of a well-formed key, or None for anything else.

    >>> key_id_of("tl_nonsense") is None
    True
    """
    match = _FORM.fullmatch(text)
    if match is None or f"{zlib.crc32(text[:-8].encode()):08x}" != match[3]:
        return None
    return match[1]


def matches(text: str, stored_sha256: str) -> bool:
    """Compare a key with the stored digest in constant time."""
    return hmac.compare_digest(sha256_hex(text.encode()), stored_sha256)

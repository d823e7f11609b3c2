"""Ids from a path or a body."""

from uuid import UUID

from thunderline.errors import InvalidInput


def parse_uuid(text: str, field: str) -> str:
    """Return a UUID in its usual form.

    Raises:
        InvalidInput: anything else.
    """
    try:
        return str(UUID(text))
    except ValueError as error:
        raise InvalidInput(field, f"{text[:80]!r} is not a UUID") from error

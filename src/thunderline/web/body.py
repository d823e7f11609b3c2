"""JSON bodies, read strictly: bounded, no doubled keys, no NaN, no unknown fields."""

import asyncio
import difflib
from collections.abc import AsyncIterator, Mapping
from typing import Annotated, TypeVar

from fastapi import Depends, Request
from pydantic import BaseModel, ConfigDict, ValidationError
from starlette.requests import ClientDisconnect

from thunderline.canonical import Json
from thunderline.document import JSON_LIMIT_BYTES, parse_json
from thunderline.errors import InvalidInput, TimedOut, TooLarge
from thunderline.web.auth import services
from thunderline.wiring import Services


class Document(BaseModel):
    """The base of every request document; each lives and dies in the file that reads it."""

    model_config = ConfigDict(extra="forbid", strict=True, allow_inf_nan=False)


Form = TypeVar("Form", bound=Document)


async def incoming(request: Request, idle_timeout_s: float) -> AsyncIterator[bytes]:
    """Yield a body as it comes.

    Args:
        request: whose body.
        idle_timeout_s: the longest silence.

    Raises:
        TimedOut: nothing came for too long.
        InvalidInput: the caller went away in the middle.
    """
    stream = request.stream()
    try:
        while True:
            try:
                async with asyncio.timeout(idle_timeout_s):
                    chunk = await anext(stream)
            except StopAsyncIteration:
                return
            yield chunk
    except TimeoutError as error:
        raise TimedOut("body", f"nothing came for {idle_timeout_s:g} s; send it again") from error
    except ClientDisconnect as error:
        raise InvalidInput("body", "the connection ended before the body did; nothing was kept") from error


async def raw_body(request: Request, parts: Annotated[Services, Depends(services)]) -> bytes:
    """Read a small body whole.

    Raises:
        TooLarge: more than 1 MiB.
        TimedOut: nothing came for too long.
        InvalidInput: the caller went away in the middle.
    """
    content = bytearray()
    async for chunk in incoming(request, parts.settings.web.idle_timeout_s):
        content += chunk
        if len(content) > JSON_LIMIT_BYTES:
            raise TooLarge("body", f"more than the {JSON_LIMIT_BYTES} bytes allowed")
    return bytes(content)


async def json_body(content: Annotated[bytes, Depends(raw_body)]) -> Json:
    """Read a JSON body strictly.

    Raises:
        InvalidInput: not strict JSON.
    """
    return parse_json(content)


def checked(form: type[Form], document: Json, field: str = "") -> Form:
    """Check a document against a form.

    Args:
        form: what it must look like.
        document: as read.
        field: path before its own, for refusals.

    Raises:
        InvalidInput: with the path of the first wrong field, and the nearest known name of an unknown one.
    """
    if not isinstance(document, Mapping):
        raise InvalidInput(field or "body", "expected a JSON object")
    try:
        return form.model_validate(document)
    except ValidationError as error:
        wrong = error.errors()  # a misspelled name is told before the one that is missing because of it
        first = next((one for one in wrong if one["type"] == "extra_forbidden"), wrong[0])
        path = ".".join(map(str, first["loc"]))
        where = f"{field}.{path}" if field else path
        if first["type"] == "extra_forbidden":
            raise InvalidInput(where, _unknown(str(first["loc"][-1]), list(form.model_fields))) from error
        raise InvalidInput(where, first["msg"]) from error


def _unknown(name: str, known: list[str]) -> str:
    near = difflib.get_close_matches(name, known, 1)
    return (
        f"no such field; did you mean {near[0]}?" if near else f"no such field; known are {', '.join(known)}"
    )


def described(form: type[Document]) -> dict[str, object]:
    """Return what the OpenAPI document says of a route that reads ``form``."""
    schema = form.model_json_schema(ref_template="#/components/schemas/{model}")
    schema.pop("$defs", None)
    return {"requestBody": {"required": True, "content": {"application/json": {"schema": schema}}}}

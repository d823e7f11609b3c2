"""How the command line reaches the API: where it is, with which key, and what its refusals mean here."""

import json
import time
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import httpx

from thunderline import errors
from thunderline.artifacts.artifact import format_of
from thunderline.canonical import Json, new_hasher
from thunderline.cli.home import home_of
from thunderline.document import parse_json
from thunderline.errors import InvalidInput, NotAuthenticated, ThunderlineError, Unavailable
from thunderline.settings import Settings, load_settings

_CHUNK = 1 << 20
_TIMEOUT = httpx.Timeout(30, read=300, write=300)
_ANSWER_LIMIT = 64 << 20


class Refused(ThunderlineError):
    """What the API refused, with its own code and sentence."""

    def __init__(self, status: int, code: str, message: str, facts: Mapping[str, object]) -> None:
        super().__init__(message)
        self.status, self.code, self.facts = status, code, facts
        self.exit = _exit_of(code, status)


def _all_leaves(stem: type[ThunderlineError]) -> Iterator[type[ThunderlineError]]:
    for one in stem.__subclasses__():
        yield one
        yield from _all_leaves(one)


def _exit_of(code: str, status: int) -> int:
    for one in _all_leaves(ThunderlineError):
        if one.__module__ == errors.__name__ and one.code == code:
            return one.exit
    by_status = {400: 2, 401: 4, 403: 4, 404: 1, 409: 5, 413: 2, 422: 6, 503: 7}
    return by_status.get(status, 1)


class Api:
    """The API of one platform, as one key sees it."""

    def __init__(self, url: str, key: str) -> None:
        """Reach nothing yet.

        Args:
            url: such as ``http://127.0.0.1:4000``.
            key: sent as ``X-API-Key``.
        """
        self.url, self.headers = url.rstrip("/"), {"X-API-Key": key}
        self._client = httpx.Client(
            base_url=self.url, headers=self.headers, timeout=_TIMEOUT, trust_env=False
        )

    @classmethod
    def from_settings(cls, settings: Settings) -> "Api":
        """Find the platform: the set URL and key, or else what runs below home.

        Raises:
            Unavailable: no URL is set and nothing runs here.
            NotAuthenticated: no key is set and there is none below home.
            InvalidInput: the URL set is none.
        """
        home = home_of(settings)
        board = home.board()
        url = settings.client.url or (board.url if board else None)
        if not url:
            raise Unavailable(
                "platform", f"nothing runs in {home.path}; start it with `thunderline up --detach`"
            )
        if not url.startswith(("http://", "https://")):
            raise InvalidInput("client.url", f"{url!r} is no address such as http://127.0.0.1:4000")
        if settings.client.api_key is not None:
            return cls(url, settings.client.api_key.get_secret_value())
        if not home.key_file.is_file():
            raise NotAuthenticated(f"no key in {home.key_file}; set THUNDERLINE_API_KEY")
        return cls(url, home.key_file.read_text(encoding="ascii").strip())

    def get(self, path: str, **params: str | int | None) -> Mapping[str, Json]:
        """Fetch one document; parameters that are None are left out."""
        given = {name: value for name, value in params.items() if value is not None}
        return self._document(self._send("GET", path, params=given))

    def post(self, path: str, document: Json = None) -> Mapping[str, Json]:
        """Send a document and return the answer."""
        return self._document(self._send("POST", path, content=json.dumps(document).encode()))

    def put(self, path: str, document: Json) -> Mapping[str, Json]:
        """Put a document and return the answer."""
        return self._document(self._send("PUT", path, content=json.dumps(document).encode()))

    def post_content(self, path: str, content: bytes, content_type: str, **params: str) -> Mapping[str, Json]:
        """Send bytes of some type and return the answer."""
        return self._document(
            self._send("POST", path, content=content, params=params, headers={"Content-Type": content_type})
        )

    def upload(self, file: Path) -> str:
        """Upload a file, hashing it on the way.

        Returns:
            Its id: the sha256 of its bytes.

        Raises:
            InvalidInput: no such file, or it shrank while it was sent; what was added meanwhile is left out.
            IntegrityError: the store says another digest than was sent.
        """
        try:
            size = file.stat().st_size
        except OSError as error:
            raise InvalidInput("path", f"cannot read {file}: {error.strerror}") from error

        def chunks() -> Iterator[bytes]:
            left = size
            with file.open("rb") as opened:
                while left and (chunk := opened.read(min(_CHUNK, left))):
                    left -= len(chunk)
                    yield chunk
            if left:
                raise InvalidInput("path", f"{file} became shorter while it was sent; send it again")

        return self.upload_stream(chunks(), size, kind=format_of(file.name), subject=str(file))

    def upload_stream(self, chunks: Iterable[bytes], size_bytes: int, *, kind: str, subject: str) -> str:
        """Upload bytes as they come, hashing them on the way.

        Args:
            chunks: all of the bytes.
            size_bytes: how many they are; announced, so that a broken upload is never taken for a whole one.
            kind: the format, for the content type.
            subject: how a refusal names the bytes.

        Returns:
            Their id: the sha256 of the bytes.

        Raises:
            IntegrityError: the store says another digest than was sent.
        """
        running = new_hasher()

        def hashed() -> Iterator[bytes]:
            for chunk in chunks:
                running.update(chunk)
                yield chunk

        headers = {"Content-Length": str(size_bytes), "Content-Type": f"application/x-{kind}"}
        answer = self._document(self._send("POST", "/files", content=hashed(), headers=headers))
        if answer.get("file_id") != running.hexdigest():
            raise errors.ChecksumMismatch(
                subject, recorded=running.hexdigest(), read=str(answer.get("file_id"))
            )
        return running.hexdigest()

    @contextmanager
    def stream(self, path: str, **params: str) -> Iterator[httpx.Response]:
        """Open a streamed answer; the caller reads it."""
        try:
            with self._client.stream(
                "GET", path, params=params, timeout=httpx.Timeout(30, read=None)
            ) as response:
                if response.is_error:
                    response.read()
                    raise _refused(response)
                yield response
        except httpx.TransportError as error:
            raise self._away(error) from error

    def wait_until_ready(self, timeout_s: float) -> bool:
        """Ask until the platform is ready; False when it is not in time."""
        end = time.monotonic() + timeout_s
        while time.monotonic() < end:
            try:
                if self._client.get("/readyz", timeout=5).status_code == httpx.codes.OK:
                    return True
            except httpx.TransportError:
                pass  # not there yet; the loop asks again
            time.sleep(0.05)
        return False

    def close(self) -> None:
        """Give connections back."""
        self._client.close()

    def _send(
        self,
        method: str,
        path: str,
        *,
        content: bytes | Iterator[bytes] | None = None,
        params: Mapping[str, str | int] | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> httpx.Response:
        sent = {"Content-Type": "application/json", **(headers or {})}
        try:
            response = self._client.request(method, path, content=content, params=params, headers=sent)
        except httpx.TransportError as error:
            raise self._away(error) from error
        if response.is_error:
            raise _refused(response)
        return response

    def _away(self, error: Exception) -> Unavailable:
        return Unavailable(
            "api", f"{self.url} does not answer ({error}); is it running? `thunderline status`"
        )

    def _document(self, response: httpx.Response) -> Mapping[str, Json]:
        document = parse_json(response.content, field="answer", limit_bytes=_ANSWER_LIMIT)
        if not isinstance(document, Mapping):
            raise Unavailable(
                "api", f"{self.url} answered something that is not an object; is it Thunderline?"
            )
        return document


def _refused(response: httpx.Response) -> Refused:
    try:
        document = parse_json(response.content, field="answer")
    except ThunderlineError:
        document = {}
    told: Mapping[str, Json] = document if isinstance(document, Mapping) else {}
    message = told.get("message")
    return Refused(
        response.status_code,
        str(told.get("code", f"HTTP_{response.status_code}")),
        str(message) if message else f"{response.url} answered {response.status_code}",
        told,
    )


@contextmanager
def connected() -> Iterator[Api]:
    """Open the API that the settings name, for one command."""
    api = Api.from_settings(load_settings().settings)
    try:
        yield api
    finally:
        api.close()

"""A ``multipart/form-data`` body as a stream: the one part ``file``, never spooled."""

from collections.abc import Iterator

from python_multipart.exceptions import FormParserError
from python_multipart.multipart import MultipartParser, parse_options_header

from thunderline.errors import InvalidInput

_HEADER_LIMIT = 16 << 10


class FilePart:
    """Fed with the body, gives the bytes of its part ``file``."""

    def __init__(self, content_type: str) -> None:
        """Read the boundary.

        Raises:
            InvalidInput: there is none.
        """
        _, options = parse_options_header(content_type.encode("latin-1"))
        boundary = options.get(b"boundary")
        if not boundary:
            raise InvalidInput("Content-Type", "multipart/form-data without a boundary")
        self.content_type = "application/octet-stream"
        self._out: list[bytes] = []
        self._name, self._value = b"", b""
        self._headers: dict[bytes, bytes] = {}
        self._is_file, self._files, self._ended = False, 0, False
        self._parser = MultipartParser(
            boundary,
            {
                "on_part_begin": self._begin,
                "on_header_field": self._field,
                "on_header_value": self._take_value,
                "on_header_end": self._header,
                "on_headers_finished": self._headers_done,
                "on_part_data": self._take,
                "on_end": self._end,
            },
        )

    def feed(self, chunk: bytes) -> Iterator[bytes]:
        """Take the next bytes of the body and yield those of the file among them.

        Raises:
            InvalidInput: not multipart, or more than one part ``file``.
        """
        try:
            self._parser.write(chunk)
        except FormParserError as error:
            raise InvalidInput("body", f"not multipart/form-data: {error}") from error
        found, self._out = self._out, []
        yield from found

    def finish(self) -> None:
        """Make sure that the body was whole.

        Raises:
            InvalidInput: no part ``file``, or an end without the closing boundary.
        """
        if not self._ended:
            raise InvalidInput("body", "the multipart body ends before its closing boundary")
        if self._files != 1:
            raise InvalidInput("body", "expected exactly one part named file")

    def _begin(self) -> None:
        self._headers, self._is_file = {}, False

    def _field(self, data: bytes, start: int, end: int) -> None:
        self._name += data[start:end]
        self._bound()

    def _take_value(self, data: bytes, start: int, end: int) -> None:
        self._value += data[start:end]
        self._bound()

    def _bound(self) -> None:
        if len(self._name) + len(self._value) > _HEADER_LIMIT:
            raise InvalidInput("body", f"a part's header is longer than {_HEADER_LIMIT} bytes")

    def _header(self) -> None:
        self._headers[self._name.lower()] = self._value
        self._name, self._value = b"", b""

    def _headers_done(self) -> None:
        _, options = parse_options_header(self._headers.get(b"content-disposition", b""))
        self._is_file = options.get(b"name") == b"file"
        if self._is_file:
            self._files += 1
            self.content_type = self._headers.get(b"content-type", b"application/octet-stream").decode(
                "latin-1"
            )
            if self._files > 1:
                raise InvalidInput("body", "more than one part named file; send one")

    def _take(self, data: bytes, start: int, end: int) -> None:
        if self._is_file:
            self._out.append(data[start:end])

    def _end(self) -> None:
        self._ended = True

"""Verified local copies of what a reference holds; the few last ones are kept."""

import json
import os
from collections.abc import Mapping
from pathlib import Path

from thunderline.artifacts.download import download
from thunderline.canonical import sha256_of_chunks
from thunderline.clock import to_wire
from thunderline.consumer.watch import Wanted, parse_wanted
from thunderline.errors import InvalidInput
from thunderline.telemetry import EventLog

_LOG = EventLog("consumer.copies")
_LAST = "last.json"  # which copy served last, as a reference document
_KEEP = 3
_CHUNK = 1 << 20
_SAFE_FORMATS = frozenset({"safetensors", "onnx", "npz", "pt", "tar", "json", "bin"})


class Copies:
    """A directory of verified copies, named by digest."""

    def __init__(
        self, folder: Path, *, reference: tuple[str, str], url: str, headers: Mapping[str, str]
    ) -> None:
        """Make the directory.

        Args:
            folder: for the copies.
            reference: model and label.
            url: of the API.
            headers: with the key.
        """
        self._folder, self._url, self._headers = folder, url.rstrip("/"), dict(headers)
        self._reference = reference
        folder.mkdir(parents=True, exist_ok=True)

    def obtain(self, wanted: Wanted) -> Path:
        """Return a file with exactly the wanted bytes: a copy that still verifies, or a new download.

        Raises:
            ChecksumMismatch: other bytes came.
            Unavailable: the API does not answer.
        """
        file = self._file_of(wanted)
        if file.is_file() and _digest(file) == wanted.sha256:
            file.touch()
        else:
            file.unlink(missing_ok=True)
            download(self._url, wanted.sha256, file, headers=self._headers, size_bytes=wanted.size_bytes)
        self._bound(file)
        return file

    def remember(self, wanted: Wanted) -> None:
        """Note which copy serves, for a start while the API is away; a full disk does not disturb serving."""
        model, label = self._reference
        document = {
            "schema": "thunderline/reference/v1",
            "model": model,
            "label": label,
            "seq": wanted.seq,
            "sha256": wanted.sha256,
            "size_bytes": wanted.size_bytes,
            "format": wanted.format,
            "version": wanted.version,
            "promoted_at": to_wire(wanted.promoted_at),
        }
        beside = self._folder / f"{_LAST}.new"
        try:
            with beside.open("w", encoding="utf-8") as file:
                json.dump(document, file)
                file.flush()
                os.fsync(file.fileno())
            beside.replace(self._folder / _LAST)
        except OSError as error:
            _LOG.warning("copy_not_remembered", folder=str(self._folder), problem=str(error))

    def recall(self) -> tuple[Wanted, Path] | None:
        """Return the copy that served last, if it is of this reference and still verifies."""
        wanted = self._last()
        if wanted is None:
            return None
        file = self._file_of(wanted)
        return (wanted, file) if file.is_file() and _digest(file) == wanted.sha256 else None

    def _last(self) -> Wanted | None:
        model, label = self._reference
        try:
            return parse_wanted((self._folder / _LAST).read_bytes(), model=model, label=label)
        except FileNotFoundError:
            return None
        except (OSError, InvalidInput) as error:
            _LOG.warning("copy_not_recalled", folder=str(self._folder), problem=str(error))
            return None

    def _file_of(self, wanted: Wanted) -> Path:
        extension = wanted.format if wanted.format in _SAFE_FORMATS else "bin"
        return self._folder / f"{wanted.sha256}.{extension}"

    def _bound(self, newest: Path) -> None:
        """Remove old copies, but never the one that served last: candidates may still be rejected."""
        last = self._last()
        kept = {newest, self._file_of(last) if last else newest}
        copies = sorted(self._folder.glob("[0-9a-f]*.*"), key=lambda one: one.stat().st_mtime, reverse=True)
        for copy in [one for one in copies if one not in kept][max(0, _KEEP - len(kept)) :]:
            copy.unlink(missing_ok=True)


def _digest(file: Path) -> str:
    with file.open("rb") as opened:
        return sha256_of_chunks(iter(lambda: opened.read(_CHUNK), b""))

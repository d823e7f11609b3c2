"""Verified local copies of what a reference holds; the few last ones are kept."""

from collections.abc import Mapping
from pathlib import Path

from thunderline.artifacts.download import download
from thunderline.canonical import sha256_of_chunks
from thunderline.consumer.watch import Wanted

_KEEP = 3
_CHUNK = 1 << 20
_SAFE_FORMATS = frozenset({"safetensors", "onnx", "npz", "pt", "tar", "json", "bin"})


class Copies:
    """A directory of verified copies, named by digest."""

    def __init__(self, folder: Path, *, url: str, headers: Mapping[str, str]) -> None:
        """Make the directory.

        Args:
            folder: for the copies.
            url: of the API.
            headers: with the key.
        """
        self._folder, self._url, self._headers = folder, url.rstrip("/"), dict(headers)
        folder.mkdir(parents=True, exist_ok=True)

    def obtain(self, wanted: Wanted) -> Path:
        """Return a file with exactly the wanted bytes: a copy that still verifies, or a new download.

        Raises:
            ChecksumMismatch: other bytes came.
            Unavailable: the API does not answer.
        """
        extension = wanted.format if wanted.format in _SAFE_FORMATS else "bin"
        file = self._folder / f"{wanted.sha256}.{extension}"
        if file.is_file() and _digest(file) == wanted.sha256:
            file.touch()
        else:
            file.unlink(missing_ok=True)
            download(self._url, wanted.sha256, file, headers=self._headers, size_bytes=wanted.size_bytes)
        self._bound(file)
        return file

    def _bound(self, newest: Path) -> None:
        copies = sorted(self._folder.glob("[0-9a-f]*.*"), key=lambda one: one.stat().st_mtime, reverse=True)
        for copy in [one for one in copies if one != newest][_KEEP - 1 :]:
            copy.unlink(missing_ok=True)


def _digest(file: Path) -> str:
    with file.open("rb") as opened:
        return sha256_of_chunks(iter(lambda: opened.read(_CHUNK), b""))

"""An artifact: its digest, size, format, and what is known of it."""

from dataclasses import dataclass
from datetime import datetime

from thunderline.canonical import Json

_EXTENSIONS = {
    "safetensors": "safetensors",
    "onnx": "onnx",
    "npz": "npz",
    "torch": "pt",
    "pt": "pt",
    "tar": "tar",
    "json": "json",
    "bin": "bin",
}


@dataclass(frozen=True, slots=True)
class Artifact:
    """Bytes that may serve, and where they came from (S0-12, S3-46)."""

    id: str
    federation_id: str | None
    round_id: str | None
    kind: str
    uri: str
    sha256: str
    size_bytes: int
    format: str
    metrics: dict[str, Json]
    metadata: dict[str, Json]
    created_at: datetime
    created_by: str


def extension_of(format: str) -> str:  # noqa: A002 -- the contract's word
    """Return the file extension of a format, ``bin`` for one that is unknown.

    >>> extension_of("safetensors"), extension_of("torch"), extension_of("?")
    ('safetensors', 'pt', 'bin')
    """
    return _EXTENSIONS.get(format, "bin")


def format_of(name: str) -> str:
    """Return the format that a file's name says, ``bin`` when it says none.

    >>> format_of("model.PT"), format_of("weights")
    ('pt', 'bin')
    """
    extension = name.rpartition(".")[2].lower() if "." in name else ""
    return extension if extension in _EXTENSIONS else "bin"

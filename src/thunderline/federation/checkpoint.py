"""Arrays as bytes and back: checkpoints, and the shards that clients train on."""

import io
from dataclasses import dataclass
from zipfile import ZIP_STORED, BadZipFile, ZipFile

import numpy as np
from safetensors import SafetensorError
from safetensors.numpy import load, save

from thunderline.errors import ArtifactError, InvalidInput
from thunderline.federation.network import Arrays, Floats, Labels
from thunderline.federation.npy import read_npy

_DIMENSIONS = 2


@dataclass(frozen=True, slots=True)
class Examples:
    """Inputs, shape (n, inputs), and their classes, shape (n,); n at least 1."""

    x: Floats
    y: Labels


def write_arrays(arrays: Arrays, format: str) -> bytes:  # noqa: A002 -- the contract's word
    """Write arrays so that equal arrays give equal bytes.

    Args:
        arrays: float32, by name.
        format: ``safetensors`` or ``npz`` (without objects).

    Raises:
        InvalidInput: another format.
    """
    ordered = {name: np.ascontiguousarray(arrays[name]) for name in sorted(arrays)}
    if format == "safetensors":
        return save(ordered)
    if format != "npz":
        raise InvalidInput("format", f"{format!r} cannot be written; use safetensors or npz")
    out = io.BytesIO()
    np.savez(out, allow_pickle=False, **ordered)
    return out.getvalue()


def read_arrays(content: bytes, format: str = "safetensors") -> dict[str, Floats]:  # noqa: A002
    """Read arrays and check that they could serve.

    Raises:
        ArtifactError: not of that format, empty, not float32, or with NaN or infinity.
    """
    try:
        found = _read_npz(content) if format == "npz" else load(content)
    except (SafetensorError, KeyError, BadZipFile, ValueError, OSError, EOFError, RuntimeError) as error:
        # zipfile says RuntimeError of a member that is encrypted, or of a version that it cannot read
        raise ArtifactError(f"not a {format} file: {_problem(error)}") from error
    if not found:
        raise ArtifactError("the file holds no array")
    for name, array in found.items():
        if array.dtype != np.float32 or not np.isfinite(array).all():
            raise ArtifactError(
                f"array {name[:80]!r} is {array.dtype}, or holds NaN or infinity; float32 is needed"
            )
    return found


def _problem(error: Exception) -> str:
    """Say why a file cannot be read, in words that can be kept: the file's own names are among them."""
    if isinstance(error, KeyError):  # of the table of types
        return f"numpy has no type {error.args[0]}; convert the arrays to float32"
    return str(error)[:300].replace("\0", r"\0")


def _read_npz(content: bytes) -> dict[str, Floats]:
    """Read each member by its own header; stored members only, so that none is larger than the file."""
    found: dict[str, Floats] = {}
    with ZipFile(io.BytesIO(content)) as archive:
        for member in archive.infolist():
            if member.compress_type != ZIP_STORED or member.file_size > len(content):
                raise ValueError(f"{member.filename[:80]!r} is compressed; write it with numpy.savez")
            found[member.filename.removesuffix(".npy")] = read_npy(archive.read(member))
    return found


def read_examples(content: bytes) -> Examples:
    """Read a shard: tensors ``x`` float32 (n, inputs) and ``y`` int64 (n,) in safetensors.

    Raises:
        ArtifactError: anything else.
    """
    try:
        found = load(content)
    except (SafetensorError, KeyError, ValueError) as error:
        raise ArtifactError(f"the shard is not a safetensors file: {_problem(error)}") from error
    x, y = found.get("x"), found.get("y")
    if x is None or y is None:
        raise ArtifactError(f"the shard needs tensors x and y, it has {str(sorted(found))[:200]}")
    if x.dtype != np.float32 or x.ndim != _DIMENSIONS or y.dtype != np.int64 or y.shape != x.shape[:1]:
        raise ArtifactError(
            f"x is {x.dtype}{x.shape} and y {y.dtype}{y.shape}; float32 (n, d), int64 (n,) needed"
        )
    if len(y) == 0 or not np.isfinite(x).all() or y.min() < 0:
        raise ArtifactError("the shard is empty, or x holds NaN or infinity, or y a negative class")
    return Examples(x, y)

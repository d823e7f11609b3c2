"""Arrays as bytes and back."""

import io
import json
import zipfile

import numpy as np
import pytest
from safetensors.numpy import save

from tests.federations import base_model, examples, shard
from thunderline.errors import ArtifactError, InvalidInput
from thunderline.federation.checkpoint import read_arrays, read_examples, write_arrays


@pytest.mark.parametrize("format", ["safetensors", "npz"])
def test_arrays_come_back_as_they_were(format: str) -> None:  # noqa: A002
    arrays = base_model()
    found = read_arrays(write_arrays(arrays, format), format)
    assert set(found) == set(arrays)
    assert all(np.array_equal(found[name], arrays[name]) for name in arrays)


@pytest.mark.parametrize("format", ["safetensors", "npz"])
def test_equal_arrays_give_equal_bytes_whatever_their_order(format: str) -> None:  # noqa: A002
    arrays = base_model()
    turned = dict(reversed(arrays.items()))
    assert write_arrays(arrays, format) == write_arrays(turned, format)


def test_another_format_is_refused() -> None:
    with pytest.raises(InvalidInput, match="use safetensors or npz"):
        write_arrays(base_model(), "pickle")


def _npz_with_objects() -> bytes:
    out = io.BytesIO()
    np.savez(out, w0=np.array([{"a": 1}], dtype=object))
    return out.getvalue()


def _zipped(payload: bytes, how: int = zipfile.ZIP_STORED) -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", how) as archive:
        archive.writestr("w0.npy", payload)
    return out.getvalue()


def _claiming(shape: tuple[int, ...]) -> bytes:
    """An npy payload of four bytes whose header claims more."""
    out = io.BytesIO()
    np.lib.format.write_array_header_1_0(out, {"descr": "<f4", "fortran_order": False, "shape": shape})
    return out.getvalue() + bytes(4)


def _of_type(dtype: str, name: str = "w0") -> bytes:
    """A safetensors file with four bytes of a type that numpy may not have."""
    size = {"BF16": 2, "F8_E4M3": 1}.get(dtype, 4)
    header = json.dumps({name: {"dtype": dtype, "shape": [4 // size], "data_offsets": [0, 4]}}).encode()
    return len(header).to_bytes(8, "little") + header + bytes(4)


def _flagged(offset: int, value: int) -> bytes:
    """An npz with one byte of its directory's first entry changed."""
    content = bytearray(write_arrays(base_model(), "npz"))
    content[content.index(b"PK\x01\x02") + offset] = value
    return bytes(content)


BROKEN = {
    "nothing": (b"", "safetensors"),
    "text": (b"hello", "safetensors"),
    "a header that claims too much": ((2**40).to_bytes(8, "little") + b"{}", "safetensors"),
    "cut in the middle": (write_arrays(base_model(), "safetensors")[:-4], "safetensors"),
    "no array": (save({}), "safetensors"),
    "NaN": (save({"w0": np.array([np.nan], np.float32)}), "safetensors"),
    "doubles": (save({"w0": np.array([1.0])}), "safetensors"),
    "pickled objects": (_npz_with_objects(), "npz"),
    "a zip that is no npz": (_zipped(b"\x93NUMPY\x01\x00v\x00not a header"), "npz"),
    "a header that claims 40 GB": (_zipped(_claiming((10_000_000_000,))), "npz"),
    "a compressed bomb": (_zipped(bytes(50_000_000), zipfile.ZIP_DEFLATED), "npz"),
    "bfloat16": (_of_type("BF16"), "safetensors"),
    "eight bits": (_of_type("F8_E4M3"), "safetensors"),
    "an encrypted zip": (_flagged(8, 1), "npz"),
    "a zip of a version to come": (_flagged(6, 99), "npz"),
    "no zip": (b"PK\x03\x04", "npz"),
}


@pytest.mark.parametrize("name", BROKEN)
def test_broken_bytes_are_refused(name: str) -> None:
    content, format_ = BROKEN[name]
    with pytest.raises(ArtifactError):
        read_arrays(content, format_)


def test_a_shard_comes_back_as_it_was() -> None:
    data = examples(12, seed=1)
    found = read_examples(shard(data))
    assert np.array_equal(found.x, data.x)
    assert np.array_equal(found.y, data.y)


X, Y = examples(4, seed=1).x, examples(4, seed=1).y
SHARDS = {
    "no y": save({"x": X}),
    "y of another length": save({"x": X, "y": Y[:3].copy()}),
    "y as floats": save({"x": X, "y": Y.astype(np.float32)}),
    "x as doubles": save({"x": X.astype(np.float64), "y": Y}),
    "x flat": save({"x": X[:, 0].copy(), "y": Y}),
    "empty": save({"x": X[:0].copy(), "y": Y[:0].copy()}),
    "NaN": save({"x": np.full_like(X, np.nan), "y": Y}),
    "a negative class": save({"x": X, "y": -Y - 1}),
    "bfloat16": _of_type("BF16", "x"),
    "no file": b"x",
}


@pytest.mark.parametrize("name", SHARDS)
def test_a_broken_shard_is_refused(name: str) -> None:
    with pytest.raises(ArtifactError):
        read_examples(SHARDS[name])


@pytest.mark.parametrize("dtype", ["F32", "F\0"])
def test_a_refusal_can_be_kept_whatever_the_names_in_the_file(dtype: str) -> None:
    with pytest.raises(ArtifactError) as refused:
        read_examples(_of_type(dtype, "\0" + "x" * 9999))
    assert "\0" not in str(refused.value)
    assert len(str(refused.value)) < 400

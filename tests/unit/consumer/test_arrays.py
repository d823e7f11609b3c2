"""What the loader of arrays refuses."""

from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import save_file

from thunderline.consumer.arrays import load_arrays, same_shapes
from thunderline.errors import ArtifactError

WHOLE = {"w": np.ones((2, 3), np.float32), "b": np.zeros(3, np.float32)}


def test_whole_arrays_load_as_they_were_saved(tmp_path: Path) -> None:
    save_file(WHOLE, tmp_path / "m.safetensors")
    loaded = load_arrays(tmp_path / "m.safetensors")
    assert loaded.keys() == WHOLE.keys()
    assert all(np.array_equal(loaded[name], WHOLE[name]) for name in WHOLE)


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_an_array_that_is_not_finite_is_refused_by_name(tmp_path: Path, bad: float) -> None:
    save_file({**WHOLE, "b": np.array([0, bad, 0], np.float32)}, tmp_path / "m.safetensors")
    with pytest.raises(ArtifactError, match="array b holds NaN or infinity"):
        load_arrays(tmp_path / "m.safetensors")


@pytest.mark.parametrize("content", [b"", b"\x00" * 100, b"not safetensors at all"])
def test_bytes_that_are_no_safetensors_are_refused(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "m.safetensors").write_bytes(content)
    with pytest.raises(ArtifactError, match="is not a safetensors file"):
        load_arrays(tmp_path / "m.safetensors")


def test_a_file_cut_short_is_refused(tmp_path: Path) -> None:
    save_file(WHOLE, tmp_path / "m.safetensors")
    content = (tmp_path / "m.safetensors").read_bytes()
    (tmp_path / "m.safetensors").write_bytes(content[:-1])
    with pytest.raises(ArtifactError, match="is not a safetensors file"):
        load_arrays(tmp_path / "m.safetensors")


def test_a_file_without_arrays_is_refused(tmp_path: Path) -> None:
    save_file({}, tmp_path / "m.safetensors")
    with pytest.raises(ArtifactError, match="holds no array"):
        load_arrays(tmp_path / "m.safetensors")


@pytest.mark.parametrize(
    ("expected", "said"),
    [
        ({"w": (2, 3), "b": (4,)}, r"array b: expected shape \(4,\), found \(3,\)"),
        ({"w": (2, 3)}, r"array b: expected shape None, found \(3,\)"),
        ({"w": (2, 3), "b": (3,), "c": (1,)}, r"array c: expected shape \(1,\), found None"),
    ],
)
def test_other_names_or_shapes_are_refused(expected: dict[str, tuple[int, ...]], said: str) -> None:
    with pytest.raises(ArtifactError, match=said):
        same_shapes(expected, WHOLE)


def test_the_same_names_and_shapes_pass() -> None:
    same_shapes({"w": (2, 3), "b": (3,)}, WHOLE)

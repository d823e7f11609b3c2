"""For users of numpy: a loader of safetensors that refuses what could not serve."""

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import numpy.typing as npt
from safetensors import SafetensorError
from safetensors.numpy import load_file

from thunderline.errors import ArtifactError

Arrays = Mapping[str, npt.NDArray[np.float32]]


def load_arrays(path: Path) -> Arrays:
    """Load the arrays of a safetensors file.

    Args:
        path: the file.

    Returns:
        Arrays by name.

    Raises:
        ArtifactError: not safetensors, empty, or an array with NaN or infinity.
    """
    try:
        found = load_file(path)
    except (SafetensorError, ValueError) as error:
        raise ArtifactError(f"{path.name} is not a safetensors file: {error}") from error
    if not found:
        raise ArtifactError(f"{path.name} holds no array")
    for name, array in found.items():
        if not np.isfinite(array).all():
            raise ArtifactError(f"{path.name}: array {name} holds NaN or infinity")
    return found


def same_shapes(expected: Mapping[str, tuple[int, ...]], arrays: Arrays) -> None:
    """Refuse arrays whose names or shapes are not those the serving code was written for.

    Raises:
        ArtifactError: names the first difference.
    """
    for name in sorted(expected.keys() | arrays.keys()):
        wanted = expected.get(name)
        found = arrays[name].shape if name in arrays else None
        if wanted != found:
            raise ArtifactError(f"array {name}: expected shape {wanted}, found {found}")

"""One array in numpy's own file format, read without trusting what its header claims."""

import io
import math

import numpy as np

from thunderline.federation.network import Floats

_PLAIN = ((1, 0), False, np.dtype("<f4"))


def read_npy(content: bytes) -> Floats:
    """Return the array that a payload holds, allocating no more than was received.

    Args:
        content: a whole ``.npy`` payload, format version 1.0.

    Raises:
        ValueError: not plain little-endian float32 in C order, or header and bytes disagree.
    """
    stream = io.BytesIO(content)
    version = np.lib.format.read_magic(stream)
    if version != _PLAIN[0]:
        raise ValueError(f"npy format {version} instead of {_PLAIN[0]}")
    shape, is_fortran, dtype = np.lib.format.read_array_header_1_0(stream)
    if (version, is_fortran, dtype) != _PLAIN:
        raise ValueError(f"layout {dtype}{' in Fortran order' if is_fortran else ''} instead of float32")
    if len(content) - stream.tell() != math.prod(shape) * dtype.itemsize:
        raise ValueError(f"{len(content) - stream.tell()} bytes for shape {shape}")
    return np.frombuffer(content, dtype, offset=stream.tell()).reshape(shape).copy()

"""Loops that encode."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from learnae.kernels._numba.geometry import I8_GROUP
from learnae.kernels._numba.jit import jit

__all__ = ["encode_bf16", "encode_f16", "encode_i8"]

I8_SMALLEST = np.float32(2.0**-110)
I8_LARGEST_CODE = np.float32(127.0)


@jit
def encode_bf16(src: Any, dst: Any) -> None:
    """Round the bits of `src` to nearest even into the upper half."""
    for i in range(src.size):
        bits = src[i]
        if (bits & np.uint32(0x7FFFFFFF)) > np.uint32(0x7F800000):
            dst[i] = np.uint16(0x7FC0)
        else:
            odd = (bits >> np.uint32(16)) & np.uint32(1)
            dst[i] = np.uint16((bits + np.uint32(0x7FFF) + odd) >> np.uint32(16))


def encode_f16(src: NDArray[np.float32], dst: NDArray[np.uint16]) -> None:
    """Round to binary16. NumPy's own conversion is exact; only its NaN is not ours."""
    with np.errstate(over="ignore", under="ignore", invalid="ignore"):
        dst[:] = src.astype(np.float16).view(np.uint16)
    dst[np.isnan(src)] = 0x7E00


@jit
def encode_i8(src: Any, scales: Any, codes: Any) -> int:
    """Encode groups of 256; return the first non-finite element, or -1."""
    for first in range(0, src.size, I8_GROUP):
        end = min(first + I8_GROUP, src.size)
        largest = np.float32(0.0)
        for i in range(first, end):
            magnitude = abs(src[i])
            if not magnitude < np.inf:
                return i
            largest = max(largest, magnitude)
        if largest < I8_SMALLEST:
            scales[first // I8_GROUP] = np.float32(0.0)
            codes[first:end] = 0
            continue
        scales[first // I8_GROUP] = largest / I8_LARGEST_CODE
        inverse = I8_LARGEST_CODE / largest
        for i in range(first, end):
            codes[i] = np.int8(np.rint(src[i] * inverse))
    return -1

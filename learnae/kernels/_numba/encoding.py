"""Loops that encode to 16 bits."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from learnae.kernels._numba.jit import jit

__all__ = ["encode_bf16", "encode_f16"]


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

"""The oracle of codec topk, from docs/payload.md in plain NumPy."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

__all__ = ["decode", "encode", "kept_indices", "n_kept", "parameter_of"]

Float32 = NDArray[np.float32]


def parameter_of(density: float, block_length: int = 16384) -> int:
    return math.ceil(float(np.float32(density or 0.01)) * block_length)


def n_kept(parameter: int, m: int, block_length: int) -> int:
    return -(-parameter * m // block_length)


def kept_indices(x: Float32, k: int) -> NDArray[np.int64]:
    """Return the k indices of largest magnitude, the first of equal ones, ascending."""
    magnitude = (x.view(np.uint32) & 0x7FFFFFFF).astype(np.int64)
    return np.sort(np.argsort(-magnitude, kind="stable")[:k])


def _bytes(bits: NDArray[np.int64]) -> bytes:
    return np.packbits(bits.astype(np.uint8), bitorder="little").tobytes()


def encode(x: Float32, k: int) -> bytes:
    """Encode one block, without padding."""
    n_low = int(math.log2(x.size // k))
    indices = kept_indices(x, k)
    values = x[indices]
    wide = values.view(np.uint32).astype(np.uint64)
    half = ((wide + 0x7FFF + ((wide >> np.uint64(16)) & np.uint64(1))) >> np.uint64(16)) & 0xFFFF
    half = np.where(np.isnan(values), 0x7FC0, half).astype(np.uint16)
    low = (indices[:, None] >> np.arange(n_low)) & 1
    high = np.zeros(k + ((x.size - 1) >> n_low), np.int64)
    high[(indices >> n_low) + np.arange(k)] = 1
    return half.tobytes() + _bytes(low.ravel()) + _bytes(high)


def decode(x: Float32, k: int) -> Float32:
    """Return what `encode` keeps of `x`."""
    result = np.zeros_like(x)
    data = encode(x, k)
    half = np.frombuffer(data, np.uint16, k).astype(np.uint32) << 16
    result[kept_indices(x, k)] = half.view(np.float32)
    return result

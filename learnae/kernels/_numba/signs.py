"""Encoding one group as signs, or as signs and zeros (Li & Liu, Ternary Weight Networks, 2016)."""

from __future__ import annotations

from typing import Any

import numpy as np

from learnae.kernels._numba.jit import jit

__all__ = ["encode_signs", "encode_ternary"]

LARGEST = np.finfo(np.float32).max
THRESHOLD = np.float32(0.7)  # times the mean magnitude
ALL = np.float32(-1.0)  # what every magnitude is above


@jit
def _mean_above(src: Any, threshold: Any) -> Any:
    """Return the mean of the magnitudes above `threshold`, summed in eight lanes; 0 of none."""
    lanes = np.zeros(8, np.float32)
    n = 0
    for i in range(src.size):
        magnitude = abs(src[i])
        if magnitude > threshold:
            lanes[i % 8] += magnitude
            n += 1
    if n == 0:
        return np.float32(0.0)
    total = lanes[0]
    for i in range(1, 8):
        total += lanes[i]
    return min(total * (np.float32(1.0) / np.float32(n)), LARGEST)


@jit
def encode_signs(src: Any, packed: Any) -> Any:
    """Put one bit an element into zeros, and return the scale."""
    bits = src.view(np.uint32)
    for i in range(src.size):
        packed[i // 8] |= np.uint8((bits[i] >> np.uint32(31)) << np.uint32(i % 8))
    return _mean_above(src, ALL)


@jit
def encode_ternary(src: Any, packed: Any) -> Any:
    """Put two bits an element into zeros, and return the scale."""
    threshold = THRESHOLD * _mean_above(src, ALL)
    for i in range(src.size):
        if abs(src[i]) > threshold:
            code = 3 if src[i] < 0 else 1
            packed[i // 4] |= np.uint8(code << (2 * (i % 4)))
    return _mean_above(src, threshold)

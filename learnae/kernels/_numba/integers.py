"""Sums over payloads of i8 or i4 as integers: as core/src/kernels/integers.inl.h adds them.

The integers are exact, so their order is free: one payload's codes after the other's are added to
a piece of the sum, and only then does that become floats.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from learnae.kernels._numba.groups import LEVELS_I4
from learnae.kernels._numba.jit import NAN, jit
from learnae.kernels._seam import CODECS, Float32

__all__ = ["INTEGER_CODECS", "average_integers", "codes_at"]

I4 = CODECS["i4"]
INTEGER_CODECS = ("i8", "i4")
N_UNITS = np.float32(16383.0)
TINY = np.float32(2.0**-110)
PIECE = 1 << 17  # elements: 512 KiB of integers, of which a cache has room


@jit
def codes_at(block: Any, first: int, group: int) -> tuple[int, int, int]:
    """Return the scale's byte and the block's first code's, and the place of `first` in it.

    A group starts at element `first`.
    """
    k = first // block.length
    at = block.start + k * block.stride
    m = min(block.length, block.n_elements - k * block.length)
    place = first - k * block.length
    return at + 4 * (place // group), at + 4 * ((m + group - 1) // group), place


@jit
def _read_scales(raw: Any, block: Any, group: int, scales: Any) -> None:
    for i in range(scales.size):
        scale, _, _ = codes_at(block, i * group, group)
        scales[i] = raw.f32[scale // 4]


@jit
def _add_codes(raw: Any, block: Any, group: int, factors: Any, start: int, total: Any) -> None:
    """Add each code from element `start` on, times its group's factor."""
    for first in range(0, total.size, group):
        factor = factors[(start + first) // group]
        _, codes, place = codes_at(block, start + first, group)
        part = total[first : first + group]
        if block.codec == I4:
            for i in range(part.size):
                pair = np.int64(raw.u8[codes + (place + i) // 2])
                part[i] += factor * np.int32(LEVELS_I4[pair >> (4 * (i % 2)) & 15])
        else:
            code = raw.u8[codes + place : codes + place + part.size]
            for i in range(part.size):
                part[i] += factor * np.int32(np.int8(code[i]))


@jit
def _add_units(dst: Any, group: int, units: Any, start: int, total: Any) -> None:
    for i in range(total.size):
        value = dst[start + i] + units[(start + i) // group] * np.float32(total[i])
        dst[start + i] = value if value == value else NAN


def _mixed(scales: Float32, weights: Float32) -> tuple[Float32, NDArray[np.int32]]:
    """Return each group's unit, and each payload's factor in each group as so many units."""
    with np.errstate(all="ignore"):
        factors = weights[:, None] * scales
        # As integers NaN is the largest.
        largest = np.abs(factors).view(np.uint32).max(axis=0).view(np.float32)
        some = (largest > TINY) & (largest < np.inf)
        units = np.where(some, largest / N_UNITS, np.float32(0)) + (largest - largest)
        counts = np.rint(factors * (N_UNITS / largest))
    return units, np.where(some, counts, np.float32(0)).astype(np.int32)


def average_integers(dst: Float32, sources: Sequence[tuple[Any, Any]], weights: Float32) -> None:
    """Add up to eight vectors of one codec, given as `Raw` and `Block`, in one pass."""
    group = 64 if sources[0][1].codec == I4 else 256
    scales = np.empty((len(sources), -(-dst.size // group)), np.float32)
    for (raw, block), row in zip(sources, scales, strict=True):
        _read_scales(raw, block, group, row)
    units, counts = _mixed(scales, weights)
    for start in range(0, dst.size, PIECE):
        total = np.zeros(min(PIECE, dst.size - start), np.int32)
        for (raw, block), row in zip(sources, counts, strict=True):
            _add_codes(raw, block, group, row, start, total)
        _add_units(dst, group, units, start, total)

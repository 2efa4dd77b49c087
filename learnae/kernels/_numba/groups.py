"""Codecs whose groups of elements share a scale: i8, i4, sign and ternary.

A block has all its scales first, then all its codes. Codes are turned into the numbers that they
stand for, a group at a time; the rest is the same for all of these codecs.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from learnae.kernels._numba.jit import NAN, jit
from learnae.kernels._numba.signs import encode_signs, encode_ternary
from learnae.kernels._seam import CODECS

__all__ = ["LEVELS_I4", "accumulate_groups", "decode_groups", "encode_groups", "unpack_group"]

I4, SIGN, TERNARY = CODECS["i4"], CODECS["sign"], CODECS["ternary"]
SMALLEST = np.float32(2.0**-110)
LARGEST_CODE = np.float32(127.0)
MAX_GROUP = 256

# See core/src/kernels/scalar.inl.h for where they come from, and for the rule of rounding: the
# largest code of i8 that is rounded to each level but the last.
LEVELS_I4 = np.array(
    [-127, -96, -74, -56, -41, -27, -13, 0, 12, 23, 36, 49, 63, 79, 99, 127], np.int8
)
LAST_I4 = np.array([-112, -85, -65, -49, -34, -20, -7, 6, 17, 29, 42, 56, 71, 89, 113], np.int8)


@jit
def _group_of(codec: int) -> int:
    return 64 if codec == I4 else 256


@jit
def unpack_group(u8: Any, codec: int, codes: int, first: int, n: int, out: Any) -> None:
    """Set `out` to what `n` codes from the `first` on stand for; they start at byte `codes`."""
    if codec == I4:
        for i in range(n):
            pair = np.int64(u8[codes + (first + i) // 2])
            out[i] = np.float32(LEVELS_I4[pair >> (4 * (i % 2)) & 15])
    elif codec == SIGN:
        for i in range(n):
            bits = np.int64(u8[codes + (first + i) // 8])
            out[i] = np.float32(1 - 2 * (bits >> (i % 8) & 1))
    elif codec == TERNARY:
        for i in range(n):
            pair = np.int64(u8[codes + (first + i) // 4]) >> (2 * (i % 4)) & 3
            out[i] = np.float32(pair - 4 if pair >= 2 else pair)
    else:
        for i in range(n):
            out[i] = np.float32(np.int8(u8[codes + first + i]))


@jit
def decode_groups(raw: Any, codec: int, at: int, m: int, dst: Any) -> None:
    """Set `dst` to the `m` values of the block at byte `at`."""
    group = _group_of(codec)
    codes = at + 4 * ((m + group - 1) // group)
    unpacked = np.empty(MAX_GROUP, np.float32)
    for first in range(0, m, group):
        n = min(group, m - first)
        scale = raw.f32[at // 4 + first // group]
        unpack_group(raw.u8, codec, codes, first, n, unpacked)
        for i in range(n):
            value = scale * unpacked[i]
            dst[first + i] = value if value == value else NAN


@jit
def accumulate_groups(raw: Any, codec: int, at: int, m: int, weight: Any, acc: Any) -> None:
    """Set ``acc = acc + weight * value``, rounding ``weight * scale`` once a group."""
    group = _group_of(codec)
    codes = at + 4 * ((m + group - 1) // group)
    unpacked = np.empty(MAX_GROUP, np.float32)
    for first in range(0, m, group):
        n = min(group, m - first)
        scaled = weight * raw.f32[at // 4 + first // group]
        unpack_group(raw.u8, codec, codes, first, n, unpacked)
        for i in range(n):
            value = acc[first + i] + scaled * unpacked[i]
            acc[first + i] = value if value == value else NAN


@jit
def _first_nonfinite(src: Any) -> int:
    for i in range(src.size):
        if not abs(src[i]) < np.inf:
            return i
    return -1


@jit
def _encode_i8(src: Any, scales: Any, index: int, codes: Any) -> None:
    """Encode one group of finite elements."""
    largest = np.float32(0.0)
    for i in range(src.size):
        largest = max(largest, abs(src[i]))
    if largest < SMALLEST:
        scales[index] = np.float32(0.0)
        codes[: src.size] = 0
        return
    scales[index] = largest / LARGEST_CODE
    inverse = LARGEST_CODE / largest
    for i in range(src.size):
        codes[i] = np.int8(np.rint(src[i] * inverse))


@jit
def _pack_i4(codes: Any, n: int, packed: Any) -> None:
    """Round codes of i8 to the nearest level, and put two a byte; `packed` starts as zeros."""
    for i in range(n):
        level = np.uint8(0)
        for last in LAST_I4:
            level += np.uint8(codes[i] > last)
        packed[i // 2] |= level << np.uint8(4 * (i % 2))


@jit
def encode_groups(codec: int, src: Any, scales: Any, packed: Any) -> int:
    """Encode a block into zeros; return the first non-finite element, or -1."""
    group = _group_of(codec)
    codes = np.empty(MAX_GROUP, np.int8)
    for first in range(0, src.size, group):
        part = src[first : first + group]
        n, index = part.size, first // group
        bad = _first_nonfinite(part)
        if bad >= 0:
            return first + bad
        if codec == SIGN:
            scales[index] = encode_signs(part, packed[first // 8 :])
        elif codec == TERNARY:
            scales[index] = encode_ternary(part, packed[first // 4 :])
        else:
            _encode_i8(part, scales, index, codes)
            if codec == I4:
                _pack_i4(codes, n, packed[first // 2 :])
            else:
                packed[first : first + n] = codes[:n].view(np.uint8)
    return -1

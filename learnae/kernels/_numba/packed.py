"""What a block of codec i8z or i4z is, and how its parts are checked.

`shape` is the codec's entry in `geometry.CODES`: bits of an element's code, and elements that
share a scale.
"""

from __future__ import annotations

import numpy as np

from learnae.kernels._numba.prefix import N_STREAMS, code_complete
from learnae.kernels._seam import Bytes

__all__ = [
    "AT_SCALES",
    "AT_SIZES",
    "AT_STREAMS",
    "CODED",
    "N_CODES",
    "RAW",
    "lengths_of",
    "n_code_bytes",
    "packed_valid",
    "spare_zero",
]

RAW, CODED = 1, 2
N_CODES = 256
AT_SCALES = 4
# Behind the scales of a coded block.
AT_SIZES = N_CODES // 2
AT_STREAMS = AT_SIZES + 4 * N_STREAMS

Shape = tuple[int, int]


def n_code_bytes(shape: Shape, m: int) -> int:
    """Return how many bytes the codes of `m` elements fill."""
    return -(-m * shape[0] // 8)


def lengths_of(tail: Bytes) -> Bytes:
    """Return the lengths of all words, from what follows the scales."""
    pairs = tail[:AT_SIZES]
    return np.stack([pairs & 15, pairs >> 4], axis=1).ravel()


def spare_zero(shape: Shape, codes: Bytes, m: int) -> bool:
    """Tell whether the bits behind the last code of `m` are 0."""
    used = m * shape[0] % 8
    return not (used and codes[-1] >> used)


def packed_valid(shape: Shape, block: Bytes, m: int) -> bool:
    """Tell whether a block with its padding is one, but for its scales and streams."""
    before, n = AT_SCALES + 4 * -(-m // shape[1]), n_code_bytes(shape, m)
    if block.size < before or block[1:AT_SCALES].any():
        return False
    tail = block[before:]
    if block[0] == RAW:
        content = n
    elif block[0] == CODED and tail.size >= AT_STREAMS:
        if not code_complete(lengths_of(tail)):
            return False
        sizes = np.frombuffer(tail[AT_SIZES:AT_STREAMS].tobytes(), "<u4")
        words = (n + 3 - np.arange(4)) // 4
        if (sizes < (words + 7) // 8).any():
            return False  # no word is shorter than a bit
        content = AT_STREAMS + int(sizes.sum(dtype=np.int64))
    else:
        return False
    whole = -(-(before + content) // 64) * 64 == block.size and not tail[content:].any()
    return whole and (block[0] == CODED or spare_zero(shape, tail[:n], m))

"""Sums over payloads of sign or ternary: in pairs, as core/src/kernels/lookup.inl.h adds them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from learnae.kernels._numba.groups import unpack_group
from learnae.kernels._numba.integers import codes_at
from learnae.kernels._numba.jit import NAN, jit
from learnae.kernels._seam import Float32

__all__ = ["PAIR_CODECS", "average_pairs"]

PAIR_CODECS = ("sign", "ternary")
GROUP = 256
PIECE = 1 << 15  # elements: eight products of each take 1 MiB


@jit
def _products(raw: Any, block: Any, weight: Any, start: int, out: Any) -> None:
    """Set `out` to the products from element `start` on."""
    for first in range(0, out.size, GROUP):
        scale, codes, place = codes_at(block, start + first, GROUP)
        factor = weight * raw.f32[scale // 4]
        part = out[first : first + GROUP]
        unpack_group(raw.u8, block.codec, codes, place, part.size, part)
        for i in range(part.size):
            part[i] = factor * part[i]


@jit
def _add_products(dst: Any, products: Any, n: int) -> None:
    """Add the sum of `n` rows to `dst`; the rows are used up."""
    by = 1
    while by < n:
        for k in range(0, n - by, 2 * by):
            total, other = products[k], products[k + by]
            for i in range(dst.size):
                total[i] += other[i]
        by *= 2
    total = products[0]
    for i in range(dst.size):
        value = dst[i] + total[i]
        dst[i] = value if value == value else NAN


def average_pairs(dst: Float32, sources: Sequence[tuple[Any, Any]], weights: Float32) -> None:
    """Add up to eight vectors of one codec, given as `Raw` and `Block`, in one pass."""
    products = np.empty((len(sources), PIECE), np.float32)
    for start in range(0, dst.size, PIECE):
        part = dst[start : start + PIECE]
        for (raw, block), weight, row in zip(sources, weights, products, strict=True):
            _products(raw, block, weight, start, row[: part.size])
        _add_products(part, products, len(sources))

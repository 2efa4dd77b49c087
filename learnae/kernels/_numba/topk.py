"""Codec topk: the elements of largest magnitude in a block, and where they are.

A block of `m` elements keeps `n_kept`: their values as bf16, then the low bits of their indices,
then a bitmap of the high parts (Elias and Fano); see docs/payload.md.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from learnae.kernels._numba.encoding import encode_bf16
from learnae.kernels._numba.jit import NAN, jit
from learnae.kernels._seam import Float32

__all__ = ["accumulate_topk", "decode_topk", "encode_topk", "topk_nbytes", "topk_valid"]


@jit
def _low_bits(m: int, n_kept: int) -> int:
    n_low = 0
    while n_kept << (n_low + 1) <= m:
        n_low += 1
    return n_low


@jit
def _layout(m: int, n_kept: int) -> tuple[int, int, int, int]:
    """Return the number of low bits, where they and the bitmap start, and the bitmap's bits."""
    n_low = _low_bits(m, n_kept)
    low_at = 2 * n_kept
    return n_low, low_at, low_at + (n_kept * n_low + 7) // 8, n_kept + ((m - 1) >> n_low)


def topk_nbytes(m: int, n_kept: int) -> int:
    """Return the size of a block before its padding."""
    _, _, high_at, n_high = _layout(m, n_kept)
    return int(high_at + (n_high + 7) // 8)


def encode_topk(src: Float32, n_kept: int, block: NDArray[np.uint8]) -> None:
    """Encode into zeros."""
    magnitude = src.view(np.uint32) & np.uint32(0x7FFFFFFF)
    least = np.partition(magnitude, src.size - n_kept)[src.size - n_kept]
    above = np.flatnonzero(magnitude > least)
    equal = np.flatnonzero(magnitude == least)[: n_kept - above.size]
    indices = np.sort(np.concatenate([above, equal]))
    encode_bf16(src.view(np.uint32)[indices], block[: 2 * n_kept].view(np.uint16))
    n_low, low_at, high_at, n_high = _layout(src.size, n_kept)
    low = (indices[:, None] >> np.arange(n_low)) & 1
    block[low_at:high_at] = np.packbits(low.astype(np.uint8).ravel(), bitorder="little")
    high = np.zeros(n_high, np.uint8)
    high[(indices >> n_low) + np.arange(n_kept)] = 1
    bitmap = np.packbits(high, bitorder="little")
    block[high_at : high_at + bitmap.size] = bitmap


@jit
def _kept(u8: Any, at: int, m: int, n_kept: int, indices: Any) -> int:
    """Set `indices` to what the block says, right or wrong; return how many it names."""
    n_low, low_at, high_at, n_high = _layout(m, n_kept)
    rank = 0
    for bit in range((n_high + 7) // 8 * 8):
        if rank == n_kept or not (u8[at + high_at + bit // 8] >> (bit % 8)) & 1:
            continue
        low = np.int64(0)
        for k in range(n_low):
            place = rank * n_low + k
            low |= ((np.int64(u8[at + low_at + place // 8]) >> (place % 8)) & 1) << k
        indices[rank] = (bit - rank) << n_low | low
        rank += 1
    return rank


@jit
def _value(raw: Any, at: int, rank: int, scratch: Any) -> Any:
    scratch[0] = np.uint32(raw.u16[at // 2 + rank]) << np.uint32(16)
    value = scratch.view(np.float32)[0]
    return value if value == value else NAN


@jit
def decode_topk(raw: Any, at: int, m: int, n_kept: int, dst: Any) -> None:
    """Set `dst` to the `m` values of the block at byte `at`."""
    indices, scratch = np.empty(n_kept, np.int64), np.empty(1, np.uint32)
    dst[:m] = np.float32(0.0)
    for rank in range(_kept(raw.u8, at, m, n_kept, indices)):
        if indices[rank] < m:
            dst[indices[rank]] = _value(raw, at, rank, scratch)


@jit
def accumulate_topk(raw: Any, at: int, m: int, n_kept: int, weight: Any, acc: Any) -> None:
    """Set ``acc = acc + weight * value`` where a value is kept."""
    indices, scratch = np.empty(n_kept, np.int64), np.empty(1, np.uint32)
    for rank in range(_kept(raw.u8, at, m, n_kept, indices)):
        i = indices[rank]
        if i < m:
            value = acc[i] + weight * _value(raw, at, rank, scratch)
            acc[i] = value if value == value else NAN


def topk_valid(u8: NDArray[np.uint8], at: int, m: int, n_kept: int) -> bool:
    """Tell whether indices are in range and ascend, and spare bits are zero."""
    n_low, low_at, high_at, n_high = _layout(m, n_kept)
    low = u8[at + low_at : at + high_at]
    bitmap = np.unpackbits(u8[at + high_at : at + high_at + (n_high + 7) // 8], bitorder="little")
    if n_kept * n_low % 8 and low[-1] >> (n_kept * n_low % 8):
        return False
    if bitmap[n_high:].any() or np.count_nonzero(bitmap) != n_kept:
        return False
    indices = np.empty(n_kept, np.int64)
    _kept(u8, at, m, n_kept, indices)
    return bool(indices[-1] < m and np.all(np.diff(indices) > 0))

"""Loops that decode, and those that use what they decode at once.

The same arithmetic as the C kernels, in the same order: LLVM fuses no multiply-add unless it is
told to, and ``fastmath`` is off. Every array is one-dimensional. Payload bytes come as one
``uint8`` array and its ``uint16``, ``uint32`` and ``float32`` views, as offsets are multiples of
64; a vector starts at byte `start`, and a full block takes `stride` bytes.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from learnae.kernels._numba.groups import accumulate_groups, decode_groups
from learnae.kernels._numba.jit import NAN, jit
from learnae.kernels._numba.sums import add_scaled
from learnae.kernels._numba.topk import accumulate_topk, decode_topk

__all__ = ["F16_VALUES", "Block", "Raw", "accumulate", "decode", "decode_block", "distance"]

F32, BF16, F16, TOPK = 1, 2, 3, 8
RUN = 256  # elements whose squares are added in float32


class Raw(NamedTuple):
    """The bytes of a payload, seen as four types."""

    u8: NDArray[np.uint8]
    u16: NDArray[np.uint16]
    u32: NDArray[np.uint32]
    f32: NDArray[np.float32]


class Block(NamedTuple):
    """Where a vector lies in a payload: its codec, and its blocks' place, size and length."""

    codec: int
    start: int
    stride: int
    length: int
    n_elements: int
    parameter: int


def _f16_values() -> NDArray[np.float32]:
    """Return the value of each binary16: decoding is a look-up in 256 KiB."""
    with np.errstate(invalid="ignore"):
        values = np.arange(2**16, dtype=np.uint16).view(np.float16).astype(np.float32)
    values[np.isnan(values)] = NAN
    return values


F16_VALUES = _f16_values()


@jit
def _block_at(block: Any, k: int) -> tuple[int, int, int]:
    """Return block `k`'s first byte, first element and number of elements."""
    first = k * block.length
    return block.start + k * block.stride, first, min(block.length, block.n_elements - first)


@jit
def _n_kept(block: Any, m: int) -> Any:
    return (block.parameter * m + block.length - 1) // block.length


@jit
def _decode_block(raw: Any, block: Any, at: int, m: int, f16_values: Any, dst: Any) -> None:
    """Decode `m` elements of the block at byte `at`. f32 is copied as numbers, not as bits."""
    codec = block.codec
    if codec == F32:
        for i in range(m):
            dst[i] = raw.f32[at // 4 + i]
    elif codec == BF16:
        bits = dst.view(np.uint32)
        for i in range(m):
            wide = np.uint32(raw.u16[at // 2 + i]) << np.uint32(16)
            is_nan = (wide & np.uint32(0x7FFFFFFF)) > np.uint32(0x7F800000)
            bits[i] = np.uint32(0x7FC00000) if is_nan else wide
    elif codec == F16:
        for i in range(m):
            dst[i] = f16_values[raw.u16[at // 2 + i]]
    elif codec == TOPK:
        decode_topk(raw, at, m, _n_kept(block, m), dst)
    else:
        decode_groups(raw, codec, at, m, dst)


@jit
def decode_block(raw: Any, block: Any, f16_values: Any, k: int, dst: Any) -> None:
    """Set the start of `dst` to the values of block `k`."""
    at, _, m = _block_at(block, k)
    if block.codec == F32:
        dst.view(np.uint32)[:m] = raw.u32[at // 4 : at // 4 + m]
    else:
        _decode_block(raw, block, at, m, f16_values, dst[:m])


@jit
def decode(raw: Any, block: Any, f16_values: Any, dst: Any) -> None:
    """Set `dst` to a vector's values."""
    for k in range((block.n_elements + block.length - 1) // block.length):
        decode_block(raw, block, f16_values, k, dst[k * block.length :])


@jit
def accumulate(raw: Any, block: Any, f16_values: Any, weight: Any, acc: Any) -> None:
    """Set ``acc = acc + weight * value``, of any codec that `integers` does not add.

    See `accumulate_groups` for those with scales.
    """
    values = np.empty(min(block.length, block.n_elements), np.float32)
    for k in range((block.n_elements + block.length - 1) // block.length):
        at, first, m = _block_at(block, k)
        part = acc[first : first + m]
        if block.codec <= F16:
            _decode_block(raw, block, at, m, f16_values, values)
            add_scaled(part, values, weight)
        elif block.codec == TOPK:
            accumulate_topk(raw, at, m, _n_kept(block, m), weight, part)
        else:
            accumulate_groups(raw, block.codec, at, m, weight, part)


@jit
def _sum_lanes(lanes: Any) -> float:
    total = lanes[0]
    for i in range(1, 8):
        total += lanes[i]
    return total if total == total else np.nan


@jit
def _add_squares(values: Any, reference: Any, far: Any, norm: Any) -> None:
    """Add one run to the lanes: in float32 within the run, then in float64."""
    far32, norm32 = np.zeros(8, np.float32), np.zeros(8, np.float32)
    for i in range(values.size):
        value = values[i]
        norm32[i % 8] += value * value
        difference = value - reference[i] if reference.size else value
        far32[i % 8] += difference * difference
    for lane in range(8):
        far[lane] += np.float64(far32[lane])
        norm[lane] += np.float64(norm32[lane])


@jit
def _first_nonfinite(values: Any) -> int:
    for i in range(values.size):
        if not abs(values[i]) < np.inf:
            return i
    return -1


@jit
def distance(raw: Any, block: Any, f16_values: Any, reference: Any) -> tuple[int, float, float]:
    """Return the first non-finite element or -1, and the sums of the squares.

    An empty `reference` counts as zeros.
    """
    values = np.empty(min(block.length, block.n_elements), np.float32)
    far, norm = np.zeros(8), np.zeros(8)
    for k in range((block.n_elements + block.length - 1) // block.length):
        at, first, m = _block_at(block, k)
        _decode_block(raw, block, at, m, f16_values, values)
        bad = _first_nonfinite(values[:m])
        if bad >= 0:
            return first + bad, 0.0, 0.0
        for start in range(0, m, RUN):
            end = min(start + RUN, m)
            _add_squares(values[start:end], reference[first + start : first + end], far, norm)
    return -1, _sum_lanes(far), _sum_lanes(norm)

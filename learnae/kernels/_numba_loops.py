"""The hot loops of the numba backend: the same arithmetic as the C kernels, in the same order.

LLVM fuses no multiply-add unless it is told to, and ``fastmath`` is off: products and sums are
rounded one by one. Every array is one-dimensional. Payload bytes come as one ``uint8`` array
and its ``uint16``, ``uint32`` and ``float32`` views, as offsets are multiples of 64; a vector
starts at byte `start`, and a full block takes `stride` bytes.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple, TypeVar, cast

import numba
import numpy as np
from numpy.typing import NDArray

__all__ = [
    "F16_VALUES",
    "Block",
    "Raw",
    "accumulate",
    "add_scaled",
    "crc32c",
    "decode",
    "distance",
    "encode_bf16",
    "encode_f16",
    "encode_i8",
    "mix",
    "scale",
]

F32, BF16, F16 = 1, 2, 3
GROUP = 256
NAN = np.float32(np.nan)  # bits 0x7fc00000
I8_SMALLEST = np.float32(2.0**-110)
I8_LARGEST_CODE = np.float32(127.0)

_Function = TypeVar("_Function", bound=Callable[..., Any])


def _jit(function: _Function) -> _Function:
    """Compile at the first call, keep the machine code on disk, and release the GIL."""
    jit = numba.njit(cache=True, nogil=True, error_model="numpy", fastmath=False)
    return cast(_Function, jit(function))


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


def _f16_values() -> NDArray[np.float32]:
    """Return the value of each binary16: decoding is a look-up in 256 KiB."""
    with np.errstate(invalid="ignore"):
        values = np.arange(2**16, dtype=np.uint16).view(np.float16).astype(np.float32)
    values[np.isnan(values)] = NAN
    return values


def _crc_table() -> NDArray[np.uint32]:
    """Return eight tables of 256: the CRC-32C of each byte followed by 0 to 7 zero bytes."""
    table = np.arange(256, dtype=np.uint32)
    for _ in range(8):
        table = np.where(table & 1, np.uint32(0x82F63B78) ^ (table >> 1), table >> 1)
    tables = [table.astype(np.uint32)]
    for _ in range(7):
        tables.append(tables[0][tables[-1] & 0xFF] ^ (tables[-1] >> 8))
    return np.ascontiguousarray(tables, dtype=np.uint32)


F16_VALUES = _f16_values()
_CRC = _crc_table()


@_jit
def scale(dst: Any, src: Any, weight: Any) -> None:
    """Set ``dst = weight * src``."""
    for i in range(dst.size):
        value = weight * src[i]
        dst[i] = value if value == value else NAN


@_jit
def add_scaled(dst: Any, src: Any, weight: Any) -> None:
    """Set ``dst = dst + weight * src``."""
    for i in range(dst.size):
        value = dst[i] + weight * src[i]
        dst[i] = value if value == value else NAN


@_jit
def mix(params: Any, mean: Any, keep: Any, rate: Any) -> None:
    """Set ``params = keep * params + rate * mean``."""
    for i in range(params.size):
        value = keep * params[i] + rate * mean[i]
        params[i] = value if value == value else NAN


@_jit
def _block_at(block: Any, k: int) -> tuple[int, int, int]:
    """Return block `k`'s first byte, first element and number of elements."""
    first = k * block.length
    return block.start + k * block.stride, first, min(block.length, block.n_elements - first)


@_jit
def _decode_block(raw: Any, codec: int, at: int, m: int, f16_values: Any, dst: Any) -> None:
    """Decode `m` elements of the block at byte `at`. f32 is copied as numbers, not as bits."""
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
    else:
        codes = at + 4 * ((m + GROUP - 1) // GROUP)
        for i in range(m):
            value = raw.f32[at // 4 + i // GROUP] * np.float32(np.int8(raw.u8[codes + i]))
            dst[i] = value if value == value else NAN


@_jit
def decode(raw: Any, block: Any, f16_values: Any, dst: Any) -> None:
    """Set `dst` to a vector's values."""
    for k in range((block.n_elements + block.length - 1) // block.length):
        at, first, m = _block_at(block, k)
        if block.codec == F32:
            dst.view(np.uint32)[first : first + m] = raw.u32[at // 4 : at // 4 + m]
        else:
            _decode_block(raw, block.codec, at, m, f16_values, dst[first : first + m])


@_jit
def _accumulate_i8(raw: Any, at: int, m: int, weight: Any, acc: Any) -> None:
    codes = at + 4 * ((m + GROUP - 1) // GROUP)
    for first in range(0, m, GROUP):
        scaled = weight * raw.f32[at // 4 + first // GROUP]
        for i in range(first, min(first + GROUP, m)):
            value = acc[i] + scaled * np.float32(np.int8(raw.u8[codes + i]))
            acc[i] = value if value == value else NAN


@_jit
def accumulate(raw: Any, block: Any, f16_values: Any, weight: Any, acc: Any) -> None:
    """Set ``acc = acc + weight * value``; i8 rounds ``weight * scale`` once a group."""
    values = np.empty(min(block.length, block.n_elements), np.float32)
    for k in range((block.n_elements + block.length - 1) // block.length):
        at, first, m = _block_at(block, k)
        part = acc[first : first + m]
        if block.codec <= F16:
            _decode_block(raw, block.codec, at, m, f16_values, values)
            add_scaled(part, values, weight)
        else:
            _accumulate_i8(raw, at, m, weight, part)


@_jit
def _sum_lanes(lanes: Any) -> float:
    total = lanes[0]
    for i in range(1, 8):
        total += lanes[i]
    return total if total == total else np.nan


@_jit
def distance(raw: Any, block: Any, f16_values: Any, reference: Any) -> tuple[int, float, float]:
    """Return the first non-finite element or -1, and the sums of the squares.

    An empty `reference` counts as zeros.
    """
    values = np.empty(min(block.length, block.n_elements), np.float32)
    far, norm = np.zeros(8), np.zeros(8)
    for k in range((block.n_elements + block.length - 1) // block.length):
        at, first, m = _block_at(block, k)
        _decode_block(raw, block.codec, at, m, f16_values, values)
        for i in range(m):
            value = np.float64(values[i])
            if not abs(value) < np.inf:
                return first + i, 0.0, 0.0
            difference = value - np.float64(reference[first + i]) if reference.size else value
            far[i % 8] += difference * difference
            norm[i % 8] += value * value
    return -1, _sum_lanes(far), _sum_lanes(norm)


@_jit
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


@_jit
def encode_i8(src: Any, scales: Any, codes: Any) -> int:
    """Encode groups of 256; return the first non-finite element, or -1."""
    for first in range(0, src.size, GROUP):
        end = min(first + GROUP, src.size)
        largest = np.float32(0.0)
        for i in range(first, end):
            magnitude = abs(src[i])
            if not magnitude < np.inf:
                return i
            largest = max(largest, magnitude)
        if largest < I8_SMALLEST:
            scales[first // GROUP] = np.float32(0.0)
            codes[first:end] = 0
            continue
        scales[first // GROUP] = largest / I8_LARGEST_CODE
        inverse = I8_LARGEST_CODE / largest
        for i in range(first, end):
            codes[i] = np.int8(np.rint(src[i] * inverse))
    return -1


@_jit
def _crc32c(data: Any, crc: Any, table: Any) -> Any:
    crc = np.uint32(crc) ^ np.uint32(0xFFFFFFFF)
    n_wide = data.size // 8 * 8
    for i in range(0, n_wide, 8):
        low = np.uint32(data[i]) | np.uint32(data[i + 1]) << np.uint32(8)
        low |= np.uint32(data[i + 2]) << np.uint32(16) | np.uint32(data[i + 3]) << np.uint32(24)
        low ^= crc
        crc = table[7, low & np.uint32(0xFF)] ^ table[6, (low >> np.uint32(8)) & np.uint32(0xFF)]
        crc ^= table[5, (low >> np.uint32(16)) & np.uint32(0xFF)] ^ table[4, low >> np.uint32(24)]
        crc ^= table[3, data[i + 4]] ^ table[2, data[i + 5]]
        crc ^= table[1, data[i + 6]] ^ table[0, data[i + 7]]
    for i in range(n_wide, data.size):
        crc = table[0, (crc ^ data[i]) & np.uint32(0xFF)] ^ (crc >> np.uint32(8))
    return crc ^ np.uint32(0xFFFFFFFF)


def crc32c(data: NDArray[np.uint8], crc: int = 0) -> int:
    """Return the CRC-32C of a read-only array of bytes, continuing from `crc`."""
    return int(_crc32c(data, np.uint32(crc), _CRC))

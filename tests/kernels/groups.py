"""The oracle of the codecs whose groups of elements share a scale, in plain NumPy."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

__all__ = ["GROUPS", "encode", "unpack"]

Float32 = NDArray[np.float32]
# Elements that share a scale, and bits of a code.
GROUPS = {"i8": (256, 8), "i4": (64, 4)}
LEVELS_I4 = np.array([-127, -96, -74, -56, -41, -27, -13, 0, 12, 23, 36, 49, 63, 79, 99, 127])


def rows_of(x: Float32, length: int) -> Float32:
    """Cut into rows, the last filled up with zeros."""
    n_rows = -(-x.size // length)
    return np.pad(x, (0, n_rows * length - x.size)).reshape(n_rows, length)


def packed(codes: NDArray[np.uint8], n_bits: int) -> bytes:
    """Join codes of so many bits, the first in the lowest bits of a byte."""
    columns = [codes >> np.uint8(b) & np.uint8(1) for b in range(n_bits)]
    return np.packbits(np.stack(columns, axis=1).ravel(), bitorder="little").tobytes()


def unpacked(data: bytes, n_bits: int, m: int) -> NDArray[np.uint8]:
    rows = np.unpackbits(np.frombuffer(data, np.uint8), bitorder="little")
    columns = rows[: m * n_bits].reshape(m, n_bits).T
    return sum(column << np.uint8(b) for b, column in enumerate(columns)).astype(np.uint8)


def encode_i8(rows: Float32) -> tuple[Float32, NDArray[np.int8]]:
    largest = np.abs(rows).max(axis=1)
    zero = largest < np.float32(2.0**-110)
    scales = np.where(zero, np.float32(0), largest / np.float32(127))
    codes = np.rint(rows * (np.float32(127) / largest)[:, None])
    return scales, np.where(zero[:, None], 0, codes).astype(np.int8)


def encode(codec: str, x: Float32) -> bytes:
    """Encode one block, without padding."""
    length, n_bits = GROUPS[codec]
    rows = rows_of(x, length)
    with np.errstate(all="ignore"):
        scales, signed = encode_i8(rows)
    codes = signed.ravel()[: x.size]
    if codec == "i4":  # argmin takes the first, lower one of two equally near
        codes = np.abs(LEVELS_I4 - codes[:, None].astype(int)).argmin(axis=1)
    return scales.astype(np.float32).tobytes() + packed(codes.astype(np.uint8), n_bits)


def unpack(codec: str, data: bytes, m: int) -> tuple[Float32, Float32]:
    """Return each element's scale, and the number its code stands for."""
    length, n_bits = GROUPS[codec]
    scales = np.frombuffer(data, np.float32, -(-m // length))
    codes = unpacked(data[scales.nbytes :], n_bits, m)
    numbers = LEVELS_I4[codes] if codec == "i4" else codes.view(np.int8)
    return np.repeat(scales, length)[:m], numbers.astype(np.float32)

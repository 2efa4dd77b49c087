"""The oracle of the codecs whose groups of elements share a scale, in plain NumPy."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

__all__ = ["GROUPS", "INTEGERS", "add_pass", "encode", "pass_length", "unpack"]

Float32 = NDArray[np.float32]
# Elements that share a scale, and bits of a code.
GROUPS = {"i8": (256, 8), "i4": (64, 4), "sign": (256, 1), "ternary": (256, 2)}
INTEGERS = ("i8", "i4")  # whose codes are added as integers
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


def mean_above(rows: Float32, thresholds: Float32, kept: NDArray[np.bool_]) -> Float32:
    """Return each row's mean magnitude above its threshold, where `kept` too; 0 of none."""
    magnitudes = np.abs(rows)
    above = kept & (magnitudes > thresholds[:, None])
    magnitudes = np.where(above, magnitudes, np.float32(0))
    lanes = np.zeros((len(rows), 8), np.float32)
    for first in range(0, rows.shape[1], 8):
        lanes = lanes + magnitudes[:, first : first + 8]
    total = lanes[:, 0]
    for lane in range(1, 8):
        total = total + lanes[:, lane]
    n = above.sum(axis=1).astype(np.float32)
    mean = np.minimum(total * (np.float32(1) / n), np.finfo(np.float32).max)
    return np.where(n > 0, mean, np.float32(0)).astype(np.float32)


def encode_signs(codec: str, rows: Float32, kept: NDArray[np.bool_]) -> tuple[Float32, Float32]:
    """Return the scales and the codes; `kept` says which elements are not filled up."""
    mean = mean_above(rows, np.full(len(rows), -1, np.float32), kept)
    negative = np.signbit(rows)
    if codec == "sign":
        return mean, negative.astype(np.uint8)
    thresholds = np.float32(0.7) * mean
    above = np.abs(rows) > thresholds[:, None]
    return mean_above(rows, thresholds, kept), np.where(above, np.where(negative, 3, 1), 0)


def encode(codec: str, x: Float32) -> bytes:
    """Encode one block, without padding."""
    length, n_bits = GROUPS[codec]
    rows = rows_of(x, length)
    with np.errstate(all="ignore"):
        if codec in ("sign", "ternary"):
            kept = np.arange(rows.size).reshape(rows.shape) < x.size
            scales, signed = encode_signs(codec, rows, kept)
        else:
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
    tables = {"i4": LEVELS_I4, "sign": np.array([1, -1]), "ternary": np.array([0, 1, -2, -1])}
    numbers = tables[codec][codes] if codec in tables else codes.view(np.int8)
    return np.repeat(scales, length)[:m], numbers.astype(np.float32)


def pass_length(n_left: int) -> int:
    """Return how many of so many payloads of one codec are added in the next pass."""
    return -(-n_left // -(-n_left // 8))


def add_pass(
    codec: str, acc: Float32, models: Sequence[Float32], weights: Sequence[float]
) -> Float32:
    """Add up to eight encoded models."""
    unpacked_models = [unpack(codec, encode(codec, x), x.size) for x in models]
    numbers = np.stack([numbers for _, numbers in unpacked_models])
    with np.errstate(all="ignore"):
        factors = np.stack(
            [
                np.float32(weight) * scales
                for weight, (scales, _) in zip(weights, unpacked_models, strict=True)
            ]
        )
        result = acc + (in_units if codec in INTEGERS else in_pairs)(factors, numbers)
    result[np.isnan(result)] = np.uint32(0x7FC00000).view(np.float32)
    return result


def in_units(factors: Float32, numbers: Float32) -> Float32:
    """Return the sum of the products, in units of the largest factor of each group."""
    largest = np.abs(factors).max(axis=0)
    some = np.isfinite(largest) & (largest > np.float32(2.0**-110))
    shares = np.where(some, np.rint(factors * (np.float32(16383) / largest)), 0)
    unit = np.where(some, largest / np.float32(16383), np.float32(0))
    total = (shares.astype(np.int64) * numbers.astype(np.int64)).sum(axis=0)
    assert abs(total).max() < 2**24
    return np.where(np.isfinite(largest), unit * total.astype(np.float32), np.float32(np.nan))


def in_pairs(factors: Float32, numbers: Float32) -> Float32:
    """Return the sum of the products: of two next to each other, then of two such sums ..."""
    sums = list(factors * numbers)
    while len(sums) > 1:
        pairs = [a + b for a, b in zip(sums[::2], sums[1::2], strict=False)]
        sums = pairs + sums[2 * len(pairs) :]
    return sums[0]

"""Codec delta: the exact bits of a model, given those of its base.

The bytes are in docs/payload.md, the reasons in core/src/delta.h. Values come as their bits.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from learnae.kernels._numba.jit import jit
from learnae.kernels._numba.prefix import (
    N_STREAMS,
    TABLE_LENGTH,
    code_complete,
    code_lengths,
    code_table,
    code_words,
    put_bits,
    window_at,
)

__all__ = ["decode_delta", "delta_bound", "delta_valid", "encode_delta"]

SAME, RAW, CODED = 0, 1, 2
N_CLASSES = 33
AT_LENGTHS, AT_SIZES, AT_STREAMS = 4, 24, 40

Bits = NDArray[np.uint32]
Bytes = NDArray[np.uint8]


def delta_bound(m: int) -> int:
    """Return the most bytes that a block of `m` elements takes, before its padding."""
    return AT_LENGTHS + 4 * m


@jit
def _ordered(bits: Any) -> Any:
    """Return the place of a float among all of them, from its bits."""
    wide = np.int64(bits)
    return wide ^ 0xFFFFFFFF if wide >> 31 else wide ^ 0x80000000


@jit
def _unordered(order: Any) -> Any:
    return order ^ 0x80000000 if order >> 31 else order ^ 0xFFFFFFFF


@jit
def _split(src: Any, base: Any, zigzag: Any, symbols: Any, places: Any) -> None:
    """Set each element's zigzag difference, its class, and the place of its highest bit."""
    for i in range(src.size):
        d = (_ordered(src[i]) - _ordered(base[i])) & 0xFFFFFFFF
        z = ((d << 1) & 0xFFFFFFFF) ^ (0xFFFFFFFF if d >> 31 else 0)
        place = 0
        while z >> (place + 1):
            place += 1
        exponent = np.int64(base[i]) >> 23 & 0xFF
        zigzag[i], places[i] = z, place
        symbols[i] = 1 + ((place + exponent) & 31) if z else 0


@jit
def _write(
    stream: int, zigzag: Any, symbols: Any, places: Any, words: Any, lengths: Any, out: Any
) -> None:
    at = 0
    for i in range(stream, zigzag.size, N_STREAMS):
        at = put_bits(out, at, words[symbols[i]], np.int64(lengths[symbols[i]]))
        at = put_bits(out, at, zigzag[i] & ((1 << places[i]) - 1), places[i])


def encode_delta(src: Bits, base: Bits, block: Bytes) -> int:
    """Encode into zeros, of which there are enough; return how many bytes it takes."""
    if np.array_equal(src, base):
        block[0] = SAME
        return AT_LENGTHS
    zigzag, places = np.empty(src.size, np.int64), np.empty(src.size, np.int64)
    symbols = np.empty(src.size, np.int64)
    _split(src, base, zigzag, symbols, places)
    lengths = code_lengths(np.bincount(symbols, minlength=N_CLASSES))
    n_bits = lengths[symbols].astype(np.int64) + places
    sizes = [(int(n_bits[k::N_STREAMS].sum()) + 7) // 8 for k in range(N_STREAMS)]
    if AT_STREAMS + sum(sizes) >= delta_bound(src.size):
        block[0] = RAW
        block[AT_LENGTHS : delta_bound(src.size)] = src.view(np.uint8)
        return delta_bound(src.size)
    block[0] = CODED
    packed = np.zeros(34, np.uint8)
    packed[:N_CLASSES] = lengths
    block[AT_LENGTHS : AT_LENGTHS + 17] = packed[::2] | packed[1::2] << 4
    block[AT_SIZES:AT_STREAMS] = np.array(sizes, "<u4").view(np.uint8)
    words, at = code_words(lengths), AT_STREAMS
    for k, size in enumerate(sizes):
        _write(k, zigzag, symbols, places, words, lengths, block[at : at + size])
        at += size
    return at


def _lengths_of(block: Bytes) -> Bytes:
    pairs = block[AT_LENGTHS : AT_LENGTHS + 17]
    return np.stack([pairs & 15, pairs >> 4], axis=1).ravel()


def _sizes_of(block: Bytes) -> list[int]:
    return [int(size) for size in np.frombuffer(block[AT_SIZES:AT_STREAMS].tobytes(), "<u4")]


def delta_valid(block: Bytes, m: int) -> bool:
    """Tell whether a block with its padding is one, but for its streams."""
    if block[1:AT_LENGTHS].any():
        return False
    if block[0] == SAME:
        content = AT_LENGTHS
    elif block[0] == RAW:
        content = delta_bound(m)
    elif block[0] == CODED:
        content = AT_STREAMS + sum(_sizes_of(block))
        lengths = _lengths_of(block)
        spare = lengths[N_CLASSES] or block[AT_LENGTHS + 17 : AT_SIZES].any()
        if spare or not code_complete(lengths[:N_CLASSES]):
            return False
    else:
        return False
    return -(-content // 64) * 64 == block.size and not block[content:].any()


@jit
def _read(stream: int, data: Any, table: Any, lengths: Any, values: Any) -> Any:
    """Turn a stream's elements of the base into the model's; return where the stream ends."""
    at: Any = 0
    for i in range(stream, values.size, N_STREAMS):
        window = window_at(data, at)
        symbol = np.int64(table[window & (TABLE_LENGTH - 1)])
        n_word = np.int64(lengths[symbol])
        place: Any = 0
        z: Any = 0
        if symbol:
            place = (symbol - 1 - (np.int64(values[i]) >> 23 & 0xFF)) & 31
            z = (window >> n_word & ((1 << place) - 1)) | 1 << place
        at += n_word + place
        d = z >> 1 ^ (0xFFFFFFFF if z & 1 else 0)
        values[i] = np.uint32(_unordered((_ordered(values[i]) + d) & 0xFFFFFFFF))
    return at


def decode_delta(block: Bytes, values: Bits) -> bool:
    """Turn the base's values into the model's; return whether the streams are right.

    The block is valid.
    """
    if block[0] == RAW:
        values[:] = np.frombuffer(block[AT_LENGTHS : delta_bound(values.size)].tobytes(), "<u4")
    if block[0] != CODED:
        return True
    lengths, at, good = _lengths_of(block), AT_STREAMS, True
    table = code_table(lengths[:N_CLASSES])
    for k, size in enumerate(_sizes_of(block)):
        data = block[at : at + size]
        end = _read(k, data, table, lengths, values)
        good = good and (end + 7) // 8 == size and not (end % 8 and data[-1] >> (end % 8))
        at += size
    return good

"""The oracle of codec delta, and of prefix codes, from docs/payload.md in plain Python."""

from __future__ import annotations

import heapq

import numpy as np
from numpy.typing import NDArray

__all__ = ["encode", "joined", "lengths_of", "words_of"]

Float32 = NDArray[np.float32]


def _ordered(x: Float32) -> NDArray[np.int64]:
    bits = x.view(np.uint32).astype(np.int64)
    return np.where(bits >= 2**31, 2**32 - 1 - bits, 2**31 + bits)


def lengths_of(counts: dict[int, int]) -> dict[int, int]:
    """Return the length of each symbol's word, by merging the two rarest again and again."""
    if len(counts) == 1:
        (only,) = counts
        return {only: 1, 1 if only == 0 else 0: 1}
    leaves = sorted(counts, key=lambda symbol: (counts[symbol], symbol))
    numbers = [counts[symbol] for symbol in leaves]
    while True:
        # Of equal ones the leaf first, then the older: the third entry counts both kinds on.
        heap = [(n, 0, i, (leaves[i],)) for i, n in enumerate(numbers)]
        depth = dict.fromkeys(leaves, 0)
        made = 0
        while len(heap) > 1:
            a, b = heapq.heappop(heap), heapq.heappop(heap)
            for symbol in a[3] + b[3]:
                depth[symbol] += 1
            heapq.heappush(heap, (a[0] + b[0], 1, made, a[3] + b[3]))
            made += 1
        if max(depth.values()) <= 11:
            return depth
        numbers = [n // 2 + 1 for n in numbers]


def words_of(lengths: dict[int, int]) -> dict[int, str]:
    """Return the words as text, in the order in which their bits go."""
    words, word, before = {}, 0, 0
    for symbol in sorted(lengths, key=lambda s: (lengths[s], s)):
        word <<= lengths[symbol] - before
        before = lengths[symbol]
        words[symbol] = f"{word:0{before}b}"
        word += 1
    return words


def joined(streams: list[str]) -> bytes:
    """Return the sizes of four streams of bits, and the streams."""
    packed = [
        int(bits[::-1], 2).to_bytes(-(-len(bits) // 8), "little") if bits else b""
        for bits in streams
    ]
    return b"".join(len(stream).to_bytes(4, "little") for stream in packed) + b"".join(packed)


def encode(x: Float32, base: Float32) -> bytes:
    """Encode one block, without padding."""
    if np.array_equal(x.view(np.uint32), base.view(np.uint32)):
        return bytes(4)
    d = (_ordered(x) - _ordered(base)) % 2**32
    d = np.where(d >= 2**31, d - 2**32, d)
    zigzag = [int(2 * v if v >= 0 else -2 * v - 1) for v in d]
    exponents = (base.view(np.uint32) >> 23 & 255).tolist()
    symbols = [
        1 + (z.bit_length() - 1 + e) % 32 if z else 0
        for z, e in zip(zigzag, exponents, strict=True)
    ]
    lengths = lengths_of({symbol: symbols.count(symbol) for symbol in set(symbols)})
    words = words_of(lengths)
    streams = ["", "", "", ""]
    for i, (z, symbol) in enumerate(zip(zigzag, symbols, strict=True)):
        below = f"{z:b}"[1:][::-1] if z else ""  # lowest bit first, without the highest
        streams[i % 4] += words[symbol] + below
    nibbles = [lengths.get(symbol, 0) for symbol in range(34)]
    head = bytes(low | high << 4 for low, high in zip(nibbles[::2], nibbles[1::2], strict=True))
    content = b"\x02\0\0\0" + head + bytes(3) + joined(streams)
    raw = b"\x01\0\0\0" + x.tobytes()
    return min(raw, content, key=len)

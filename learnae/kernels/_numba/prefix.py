"""Prefix codes (Huffman's), as core/src/prefix.h describes them: the same lengths, words and table.

A code is its lengths, 0 for a symbol that does not occur.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from learnae.kernels._numba.jit import jit

__all__ = [
    "CODE_MAX",
    "N_STREAMS",
    "TABLE_LENGTH",
    "code_complete",
    "code_lengths",
    "code_table",
    "code_words",
    "put_bits",
    "window_at",
]

CODE_MAX = 11
N_STREAMS = 4  # side by side: element i is in stream i mod 4
TABLE_LENGTH = 1 << CODE_MAX


@jit
def _depths(leaves: Any, counts: Any, depth: Any) -> int:
    """Join the rarest two until one is left; set `depth` of each leaf and return the largest.

    Leaves are sorted, and inner nodes come out so: the rarest is always the first of either, of
    two equal ones the leaf.
    """
    n = leaves.size
    count, parent = np.zeros(2 * n, np.int64), np.zeros(2 * n, np.int64)
    count[:n] = counts
    leaf, inner = 0, n
    for end in range(n, 2 * n - 1):
        for _ in range(2):
            if leaf < n and (inner == end or count[leaf] <= count[inner]):
                taken = leaf
                leaf += 1
            else:
                taken = inner
                inner += 1
            count[end] += count[taken]
            parent[taken] = end
    below = np.zeros(2 * n, np.int64)
    for i in range(2 * n - 3, -1, -1):
        below[i] = below[parent[i]] + 1
    depth[:] = below[:n]
    return int(depth.max())


def code_lengths(counts: Any) -> Any:
    """Return lengths of a code with least total, none above `CODE_MAX`; see core/src/prefix.h."""
    lengths = np.zeros(counts.size, np.uint8)
    leaves = np.flatnonzero(counts)
    leaves = leaves[np.argsort(counts[leaves], kind="stable")]
    if leaves.size == 1:
        lengths[leaves[0]] = lengths[1 if leaves[0] == 0 else 0] = 1
        return lengths
    halved, depth = counts[leaves].astype(np.int64), np.zeros(leaves.size, np.int64)
    while _depths(leaves, halved, depth) > CODE_MAX:
        halved = halved // 2 + 1
    lengths[leaves] = depth
    return lengths


def code_complete(lengths: Any) -> bool:
    """Tell whether every sequence of bits means something."""
    if lengths.max(initial=0) > CODE_MAX:
        return False
    used = TABLE_LENGTH >> lengths[lengths > 0].astype(np.int64)
    return int(used.sum()) == TABLE_LENGTH


def code_words(lengths: Any) -> Any:
    """Return each symbol's word, its first bit lowest."""
    words = np.zeros(lengths.size, np.int64)
    word, before = 0, 0
    for symbol in sorted(np.flatnonzero(lengths), key=lambda s: (lengths[s], s)):
        length = int(lengths[symbol])
        word <<= length - before
        words[symbol] = int(f"{word:0{length}b}"[::-1], 2)
        word, before = word + 1, length
    return words


def code_table(lengths: Any) -> Any:
    """Return the symbol that each sequence of `CODE_MAX` bits starts with."""
    table = np.zeros(TABLE_LENGTH, np.uint8)
    words = code_words(lengths)
    for symbol in np.flatnonzero(lengths):
        table[words[symbol] :: 1 << int(lengths[symbol])] = symbol
    return table


@jit
def put_bits(out: Any, at: int, value: Any, n_bits: Any) -> Any:
    """Set `n_bits` bits from bit `at` on, over zeros; return where they end."""
    for k in range(n_bits):
        out[(at + k) >> 3] |= np.uint8(((value >> k) & 1) << ((at + k) & 7))
    return at + n_bits


@jit
def window_at(data: Any, at: Any) -> Any:
    """Return the 48 bits from bit `at` on; behind the end there are zeros."""
    word: Any = 0
    first = at >> 3
    for k in range(7):
        if first + k < data.size:
            word |= np.int64(data[first + k]) << (8 * k)
    return word >> (at & 7)

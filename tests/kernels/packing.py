"""The oracle of codecs i8z and i4z, from docs/payload.md in plain Python and NumPy."""

from __future__ import annotations

from collections import Counter

import numpy as np
from kernels import reference
from kernels.groups import GROUPS
from kernels.lossless import joined, lengths_of, words_of

__all__ = ["PLAIN", "pack", "packed"]

PLAIN = {"i8z": "i8", "i4z": "i4"}


def pack(codec: str, block: bytes, m: int) -> bytes:
    """Pack a block of `m` elements without padding, encoded in the plain codec."""
    n_scales = 4 * -(-m // GROUPS[PLAIN[codec]][0])
    scales, codes = block[:n_scales], block[n_scales:]
    lengths = lengths_of(dict(Counter(codes)))
    words = words_of(lengths)
    streams = ["".join(words[code] for code in codes[k::4]) for k in range(4)]
    halves = [lengths.get(code, 0) for code in range(256)]
    head = bytes(low | high << 4 for low, high in zip(halves[::2], halves[1::2], strict=True))
    coded = b"\x02\0\0\0" + scales + head + joined(streams)
    return min(b"\x01\0\0\0" + scales + codes, coded, key=len)


def packed(
    codec: str,
    schema: bytes,
    vectors: list[np.ndarray],
    block_length: int = 16384,
    base_cid: bytes = bytes(36),
) -> bytes:
    """Write a packed payload as docs/payload.md specifies it."""
    parts = [
        vector[i : i + block_length]
        for vector in vectors
        for i in range(0, vector.size, block_length)
    ]
    blocks = [pack(codec, reference.encode_block(PLAIN[codec], x), x.size) for x in parts]
    counts = (len(vectors), vectors[0].size, block_length)
    return reference.framed(codec, schema, *counts, blocks, base_cid=base_cid)

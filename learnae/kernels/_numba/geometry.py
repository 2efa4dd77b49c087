"""Where everything lies in a payload (docs/payload.md)."""

from __future__ import annotations

import struct
from dataclasses import dataclass

from learnae.kernels._numba.delta import delta_bound
from learnae.kernels._numba.packed import AT_SCALES
from learnae.kernels._numba.topk import topk_nbytes
from learnae.kernels._seam import CODECS, PACKED

__all__ = [
    "ALIGNMENT",
    "BLOCK_LENGTH",
    "BLOCK_STEP",
    "CODES",
    "HEADER",
    "Geometry",
    "n_groups",
    "padded",
]

BLOCK_STEP = 256  # every codec's groups end at multiples of it
HEADER = struct.Struct("<8sHHIQII32sQI36sI8sI")
ALIGNMENT = 64
BLOCK_LENGTH = 16384
# By codec: bits of an element's code, and elements that share a scale, 0 where there are none.
CODES = {
    CODECS["f32"]: (32, 0),
    CODECS["bf16"]: (16, 0),
    CODECS["f16"]: (16, 0),
    CODECS["i8"]: (8, 256),
    CODECS["i4"]: (4, 64),
    CODECS["sign"]: (1, 256),
    CODECS["ternary"]: (2, 256),
    CODECS["topk"]: (0, 0),  # not all elements have one
    CODECS["delta"]: (0, 0),
    CODECS["i8z"]: (8, 256),
    CODECS["i4z"]: (4, 64),
}
_PACKED = frozenset(CODECS[name] for name in PACKED)
_TOPK, _DELTA = CODECS["topk"], CODECS["delta"]


@dataclass(frozen=True)
class Geometry:
    """Where everything lies in a payload, as it follows from five numbers; sizes in bytes."""

    codec: int
    n_vectors: int
    n_elements: int
    block_length: int
    parameter: int = 0

    @property
    def blocks_per_vector(self) -> int:
        return -(-self.n_elements // self.block_length)

    @property
    def n_blocks(self) -> int:
        return self.blocks_per_vector * self.n_vectors

    @property
    def first_block(self) -> int:
        return HEADER.size + padded(8 * self.n_blocks)

    @property
    def nbytes(self) -> int:
        return self.first_block + self.n_vectors * self.vector_nbytes

    @property
    def block_nbytes(self) -> int:
        return padded(self.content_nbytes(self.block_length))

    @property
    def vector_nbytes(self) -> int:
        last = self.block_elements(self.blocks_per_vector - 1)
        return (self.blocks_per_vector - 1) * self.block_nbytes + padded(self.content_nbytes(last))

    def content_nbytes(self, n_elements: int) -> int:
        """Return the size of a block of so many elements before its padding, or the most."""
        if self.codec == _DELTA:
            return delta_bound(n_elements)
        if self.codec == _TOPK:
            return topk_nbytes(n_elements, self.n_kept(n_elements))
        n_bits, _ = CODES[self.codec]
        head = AT_SCALES if self.codec in _PACKED else 0
        return head + 4 * n_groups(self.codec, n_elements) + -(-n_elements * n_bits // 8)

    def n_kept(self, n_elements: int) -> int:
        """Return how many elements a block of so many keeps (topk)."""
        return -(-self.parameter * n_elements // self.block_length)

    def block_elements(self, k: int) -> int:
        return min(self.block_length, self.n_elements - k * self.block_length)

    @property
    def varies(self) -> bool:
        """Whether sizes are the most that they can be, and the real ones are in the table."""
        return self.codec == _DELTA or self.codec in _PACKED

    def blocks(self) -> list[tuple[int, int, int]]:
        """List each block's first byte, size with padding, and number of elements."""
        return [
            (
                self.first_block + v * self.vector_nbytes + k * self.block_nbytes,
                padded(self.content_nbytes(self.block_elements(k))),
                self.block_elements(k),
            )
            for v in range(self.n_vectors)
            for k in range(self.blocks_per_vector)
        ]


def padded(nbytes: int) -> int:
    return -(-nbytes // ALIGNMENT) * ALIGNMENT


def n_groups(codec: int, n_elements: int) -> int:
    """Return how many scales a block of so many elements has."""
    _, group = CODES[codec]
    return -(-n_elements // group) if group else 0

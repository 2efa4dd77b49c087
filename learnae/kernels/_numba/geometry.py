"""Where everything lies in a payload (docs/payload.md)."""

from __future__ import annotations

import struct
from dataclasses import dataclass

from learnae.kernels._seam import CODECS

__all__ = ["BLOCK_LENGTH", "HEADER", "I8_GROUP", "Geometry", "n_groups", "padded"]

I8_GROUP = 256
HEADER = struct.Struct("<8sHHIQII32sQI36sI8sI")
ALIGNMENT = 64
BLOCK_LENGTH = 16384
_I8 = CODECS["i8"]


@dataclass(frozen=True)
class Geometry:
    """Where everything lies in a payload, as it follows from four numbers; sizes in bytes."""

    codec: int
    n_vectors: int
    n_elements: int
    block_length: int

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
        """Return the size of a block of so many elements before its padding."""
        if self.codec == _I8:
            return 4 * n_groups(n_elements) + n_elements
        return (4 if self.codec == CODECS["f32"] else 2) * n_elements

    def block_elements(self, k: int) -> int:
        return min(self.block_length, self.n_elements - k * self.block_length)

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


def n_groups(n_elements: int) -> int:
    return -(-n_elements // I8_GROUP)

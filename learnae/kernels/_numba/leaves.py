"""Vectors that lie in several arrays."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Sequence
from itertools import accumulate

import numpy as np

from learnae.kernels._seam import Float32

__all__ = ["Leaves"]


class Leaves:
    """A vector of `size` elements in arrays that follow each other, none of them empty."""

    def __init__(self, arrays: Sequence[Float32]) -> None:
        self._arrays = arrays
        *self._starts, self.size = accumulate((array.size for array in arrays), initial=0)

    def part(self, first: int, m: int) -> Float32:
        """Return `m` elements, in their own memory where one array holds them all."""
        end, pieces = first + m, []
        at = bisect_right(self._starts, first) - 1
        while first < end:
            start, array = self._starts[at], self._arrays[at]
            pieces.append(array[first - start : end - start])
            first = start + array.size
            at += 1
        return pieces[0] if len(pieces) == 1 else np.concatenate(pieces)

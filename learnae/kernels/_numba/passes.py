"""Payloads of one codec with scales, several of them added in a pass."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from learnae.kernels._numba.integers import INTEGER_CODECS, average_integers
from learnae.kernels._numba.pairs import PAIR_CODECS, average_pairs
from learnae.kernels._seam import Float32

__all__ = ["MAX_SOURCES", "add_pass", "n_in_pass"]

MAX_SOURCES = 8  # more would not leave the sums of integers exact


def n_in_pass(codecs: Sequence[str]) -> int:
    """Return how many of these payloads the next pass adds: as the compiled core splits them."""
    if codecs[0] not in INTEGER_CODECS + PAIR_CODECS:
        return 1
    n = next((i for i, codec in enumerate(codecs) if codec != codecs[0]), len(codecs))
    return -(-n // -(-n // MAX_SOURCES))


def add_pass(
    codec: str, dst: Float32, sources: Sequence[tuple[Any, Any]], weights: Float32
) -> None:
    """Add up to `MAX_SOURCES` vectors of one codec, given as `Raw` and `Block`."""
    average = average_integers if codec in INTEGER_CODECS else average_pairs
    average(dst, sources, weights)

"""The form of a rival, and the plain arrays that several of them start from."""

from __future__ import annotations

import importlib.metadata
from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from learnae.bench.cases.entry import Inputs
from learnae.kernels import Float32

__all__ = ["GROUP", "I8", "Rival", "bf16_of", "i8_of"]

GROUP = 256


@dataclass(frozen=True)
class Rival:
    """How one library does the work of one kernel.

    `prepare` takes what the kernel was given and its codec, and returns the call to measure.
    """

    name: str
    module: str
    kernel: str
    prepare: Callable[[Inputs, str], Callable[[], object]]
    codecs: tuple[str, ...] = ("f32",)
    distribution: str = ""
    set_threads: Callable[[int], object] | None = None  # None: it decides for itself

    @property
    def version(self) -> str:
        """The installed version."""
        return importlib.metadata.version(self.distribution or self.module)


class I8(NamedTuple):
    """Codes in rows of `GROUP`, and one scale a row; the last row is filled with zeros."""

    codes: NDArray[np.int8]
    scales: Float32


def i8_of(vector: Float32) -> I8:
    """Return what the codec `i8` holds, as NumPy arrays."""
    rows = np.zeros((-(-vector.size // GROUP), GROUP), np.float32)
    rows.reshape(-1)[: vector.size] = vector
    largest = np.abs(rows).max(axis=1, keepdims=True)
    codes = np.rint(rows * (127 / largest)).astype(np.int8)
    return I8(codes, (largest / 127).astype(np.float32))


def bf16_of(vector: Float32) -> NDArray[np.uint16]:
    """Return the upper halves, rounded to nearest even."""
    bits = vector.view(np.uint32)
    return ((bits + 0x7FFF + ((bits >> 16) & 1)) >> 16).astype(np.uint16)

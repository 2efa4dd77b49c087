"""From the bytes that a kernel has to move to the time which that takes at least.

The floor of a call is ::

    2 * min(read, written) / copy  +  (read - written) / read or (written - read) / copy
                                   +  2 * scaled / scale

with the rates of this machine for memory of the same size and the same number of threads,
measured in the same rounds. What is read but not written, or the reverse, goes at the rate of the
third or fourth term; there is no stream that only writes, so the copy's rate stands for it.
"""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from learnae.bench.timing import Samples

__all__ = ["Rates", "Traffic", "floor_fraction", "floor_seconds"]

# Bytes a second, of bytes read and bytes written together, by operation.
Rates = Mapping[str, float]


@dataclass(frozen=True)
class Traffic:
    """The bytes of one call: those only read, only written, and updated where they are."""

    read: int = 0
    written: int = 0
    scaled: int = 0

    @property
    def nbytes(self) -> int:
        """How many bytes are moved: what is updated is moved twice."""
        return self.read + self.written + 2 * self.scaled

    @property
    def footprint(self) -> int:
        """How much memory is touched."""
        return self.read + self.written + self.scaled


def floor_seconds(traffic: Traffic, rates: Rates) -> float:
    """Return the least time that `traffic` takes at these rates."""
    both = min(traffic.read, traffic.written)
    copied = 2 * both + (traffic.written - both)
    return (
        copied / rates["copy"]
        + (traffic.read - both) / rates["read"]
        + 2 * traffic.scaled / rates["scale"]
    )


def floor_fraction(traffic: Traffic, rates: Sequence[Rates], samples: Samples) -> float:
    """Return floor over time: the median over rounds, each with its own rates."""
    pairs = zip(rates, samples, strict=True)
    return statistics.median(floor_seconds(traffic, r) / s for r, s in pairs if s is not None)

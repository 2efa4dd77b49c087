"""What may go wrong in a `learnae.transports.memory.MemoryNetwork`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

__all__ = ["Faults", "Partition"]


class Partition(NamedTuple):
    """A time during which endpoints reach only members of their own group.

    Attributes
    ----------
    start, end
        Seconds of the network's clock; `end` is no longer part of it.
    groups
        Endpoint names. Those that no group names form one more group.
    """

    start: float
    end: float
    groups: Sequence[Sequence[str]]


@dataclass(frozen=True)
class Faults:
    """What goes wrong between any two endpoints.

    Attributes
    ----------
    loss
        Probability that a message is not delivered, and that a ``get`` from another endpoint
        fails.
    duplicate
        Probability that a message is delivered twice, each copy with its own delay.
    reorder
        Probability that a message is held back by one more delay, and comes after up to eight
        later ones of the same moment. Otherwise the messages of a link stay in order,
        whatever their delays.
    damage
        Probability that a ``get`` receives bytes with one bit flipped (and therefore fails).
    delay_s
        Lowest and highest one-way delay of a message, in seconds of the network's clock.
    partitions
        Times during which some endpoints cannot reach others. What has been published before
        a partition begins still arrives.
    """

    loss: float = 0.0
    duplicate: float = 0.0
    reorder: float = 0.0
    damage: float = 0.0
    delay_s: tuple[float, float] = (0.0, 0.0)
    partitions: tuple[Partition | tuple[float, float, Sequence[Sequence[str]]], ...] = ()

    def __post_init__(self) -> None:
        for name in ("loss", "duplicate", "reorder", "damage"):
            if not 0.0 <= getattr(self, name) <= 1.0:
                raise ValueError(f"Faults.{name} is a probability, between 0 and 1")
        low, high = self.delay_s
        if not 0.0 <= low <= high < float("inf"):
            raise ValueError("Faults.delay_s is (lowest, highest), in seconds")

"""The result as one JSON object: the machine, its bandwidth, and a row for each measurement."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from learnae.bench.bandwidth import Bandwidth
from learnae.bench.machine import Machine

__all__ = ["Report", "Row"]


@dataclass(frozen=True)
class Row:
    """One kernel as it was called.

    `gb_per_s` counts the bytes that it has to move, read and written; `floor_fraction` is the
    floor's time divided by its own; `error` is relative L2, None where nothing is lost; `rivals`
    is each rival's time divided by its own; `ratio` is a float32 model's bytes divided by those of
    its payload, None where none is written or decoded.
    """

    kernel: str
    codec: str
    n: int
    k: int
    isa: str
    threads: int
    seconds: float
    gb_per_s: float
    floor_fraction: float
    error: float | None
    rivals: Mapping[str, float]
    versions: Mapping[str, str]
    ratio: float | None = None


@dataclass(frozen=True)
class Report:
    """All of one run."""

    machine: Machine
    bandwidth: Sequence[Bandwidth]
    rows: Sequence[Row]

    def as_json(self) -> dict[str, Any]:
        """Return the object that ``--json`` prints."""
        return {
            "machine": self.machine.as_json(),
            "bandwidth": [found.as_json() for found in self.bandwidth],
            "rows": [asdict(row) for row in self.rows],
        }

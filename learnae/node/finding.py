"""What the doctor finds: one line about one part."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

__all__ = ["Finding", "Verdict"]


class Verdict(StrEnum):
    """What was found about a part."""

    GOOD = "good"
    NOTE = "note"  # works, and yet the user should know
    FAULT = "fault"


@dataclass(frozen=True)
class Finding:
    """One line about one part; of a fault it names cause and cure."""

    part: str
    verdict: Verdict
    line: str

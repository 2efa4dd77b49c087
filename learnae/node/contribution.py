"""What a round gives to the swarm, and the counts of what went over the wire."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["Contribution", "Traffic"]


@dataclass(frozen=True)
class Contribution:
    """What one round gives to the swarm: an encoded model and what the others need to know.

    Attributes
    ----------
    payload
        The bytes to publish.
    round
        The round that made it.
    samples
        How many examples stand behind it: its weight in everybody's mean.
    loss
        Mean local loss of the round, or None.
    """

    payload: bytes | bytearray
    round: int
    samples: int
    loss: float | None


@dataclass
class Traffic:
    """Counts since this process started; bytes are those of payloads and announcements."""

    bytes_sent: int = 0
    bytes_received: int = 0
    heard: int = 0
    ignored: int = 0
    accepted: int = 0
    rejected: int = 0
    missed: int = 0
    models_merged: int = 0

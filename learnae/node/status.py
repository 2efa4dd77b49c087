"""What a peer tells about itself."""

from __future__ import annotations

import os
import time
from dataclasses import dataclass, field

__all__ = ["Status"]


@dataclass
class Status:
    """What a peer tells about itself; `as_dict` is the content of status.json."""

    peer_id: str
    role: str
    state: str = "starting"
    round: int = 0
    rounds: int | None = None
    loss: float | None = None
    accuracy: float | None = None
    n_peers: int = 0
    n_merged: int = 0
    models_merged: int = 0
    bytes_sent: int = 0
    bytes_received: int = 0
    announcements_heard: int = 0
    rejected: int = 0
    cpu_seconds: float = 0.0
    cpu_seconds_per_round: float | None = None
    adopted_round: int | None = None
    resumed_round: int | None = None
    started_at: float = field(default_factory=time.time)
    training_since: float | None = None
    updated_at: float = 0.0
    pid: int = field(default_factory=os.getpid)

    def as_dict(self) -> dict[str, object]:
        """Return every field by name, ready for JSON."""
        return dict(self.__dict__)

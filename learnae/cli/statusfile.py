"""What a peer writes about itself into its folder, read back.

The node replaces ``status.json`` several times a second and appends a line a round to
``rounds.jsonl``; both are for people and programs outside the process. A reader never fails on
what it finds there: a file that is missing, half a line or an unexpected type is "not known".
"""

from __future__ import annotations

import json
import math
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

__all__ = ["PeerStatus", "RoundLine", "is_running", "read_rounds", "read_status"]

STATUS_NAME = "status.json"
ROUNDS_NAME = "rounds.jsonl"


@dataclass(frozen=True)
class PeerStatus:
    """One peer's own account of itself; None stands for what it has not said."""

    peer_id: str
    role: str
    state: str
    pid: int | None
    round: int
    rounds: int | None
    loss: float | None
    accuracy: float | None
    n_peers: int
    n_merged: int
    models_merged: int
    bytes_sent: int
    bytes_received: int
    rejected: int
    adopted_round: int | None
    resumed_round: int | None
    cpu_seconds_per_round: float | None
    started_at: float | None
    training_since: float | None
    updated_at: float | None


@dataclass(frozen=True)
class RoundLine:
    """One round as the peer logged it; `time` is Unix time, `seconds` its length."""

    round: int
    time: float
    seconds: float
    loss: float | None
    accuracy: float | None


def finite(value: object) -> float | None:
    """Return `value` as a finite float, or None."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    return float(value) if math.isfinite(value) else None


def whole(value: object) -> int | None:
    """Return `value` as an int, or None."""
    return value if isinstance(value, int) and not isinstance(value, bool) else None


def text(value: object) -> str:
    """Return `value` if it is text, else the empty string."""
    return value if isinstance(value, str) else ""


def read_status(home: Path) -> PeerStatus | None:
    """Return what the peer in `home` last said about itself, or None if it never has."""
    try:
        found: Any = json.loads((home / STATUS_NAME).read_bytes())
    except (OSError, ValueError):
        return None
    if not isinstance(found, Mapping):
        return None
    return PeerStatus(
        peer_id=text(found.get("peer_id")),
        role=text(found.get("role")),
        state=text(found.get("state")),
        pid=whole(found.get("pid")),
        round=whole(found.get("round")) or 0,
        rounds=whole(found.get("rounds")),
        loss=finite(found.get("loss")),
        accuracy=finite(found.get("accuracy")),
        n_peers=whole(found.get("n_peers")) or 0,
        n_merged=whole(found.get("n_merged")) or 0,
        models_merged=whole(found.get("models_merged")) or 0,
        bytes_sent=whole(found.get("bytes_sent")) or 0,
        bytes_received=whole(found.get("bytes_received")) or 0,
        rejected=whole(found.get("rejected")) or 0,
        adopted_round=whole(found.get("adopted_round")),
        resumed_round=whole(found.get("resumed_round")),
        cpu_seconds_per_round=finite(found.get("cpu_seconds_per_round")),
        started_at=finite(found.get("started_at")),
        training_since=finite(found.get("training_since")),
        updated_at=finite(found.get("updated_at")),
    )


def read_rounds(home: Path) -> list[RoundLine]:
    """Return the rounds that the peer in `home` has logged, in the order of the file."""
    try:
        lines = (home / ROUNDS_NAME).read_bytes().splitlines()
    except OSError:
        return []
    rounds = []
    for line in lines:
        try:
            found: Any = json.loads(line)
        except ValueError:
            continue  # a peer that was killed may leave half a line
        if not isinstance(found, Mapping):
            continue
        number, time = whole(found.get("round")), finite(found.get("time"))
        if number is None or time is None:
            continue
        rounds.append(
            RoundLine(
                round=number,
                time=time,
                seconds=finite(found.get("seconds")) or 0.0,
                loss=finite(found.get("loss")),
                accuracy=finite(found.get("accuracy")),
            )
        )
    return rounds


def is_running(status: PeerStatus) -> bool:
    """Tell whether the process that wrote `status` still exists, as far as its pid can say."""
    if status.state == "stopped" or status.pid is None or status.pid <= 0:
        return False
    try:
        os.kill(status.pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True

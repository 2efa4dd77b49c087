"""Is this machine's clock right? Said in one line where it cannot be."""

from __future__ import annotations

import time

from learnae.errors import ClockError
from learnae.swarm.events import ClockSuspect

__all__ = ["require_possible_clock", "suspicion"]

# No swarm of this software is older than the software: a clock that says so belongs to a board
# without a battery.
EARLIEST_TIME = 1_767_225_600.0  # 2026-01-01T00:00:00Z

_CURE = "(for example: timedatectl set-ntp true)"


def require_possible_clock(now: float) -> None:
    """Raise `ClockError` if `now` (Unix seconds) is before this software existed."""
    if now < EARLIEST_TIME:
        raise ClockError(
            f"this machine's clock says {_date(now)}, before this software existed: set it {_CURE}"
        )


def suspicion(suspect: ClockSuspect, now: float) -> str:
    """Return the line for a user whose clock contradicts the other peers' clocks."""
    return (
        f"this machine's clock says {_date(now)}, but what {suspect.n_peers} other peer(s) "
        f"announced is dated {_span(suspect.skew_s)}: set the clock that is wrong {_CURE}"
    )


def _date(seconds: float) -> str:
    return time.strftime("%Y-%m-%d %H:%M UTC", time.gmtime(seconds))


def _span(skew_s: float) -> str:
    days = abs(skew_s) / 86400
    amount = f"{days / 365.25:.1f} years" if days > 365 else f"{days:.1f} days"
    return f"{amount} {'later' if skew_s > 0 else 'earlier'}"

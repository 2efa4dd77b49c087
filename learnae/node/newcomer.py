"""A peer's first moments: a clock that can be right, and a swarm that may be under way."""

from __future__ import annotations

import time

import numpy as np
from numpy.typing import NDArray

from learnae.errors import ClockError
from learnae.node.session import Session

__all__ = ["adopt", "listen_at_start", "require_possible_clock"]

# No swarm of this software is older than the software: a clock that says so belongs to a board
# without a battery.
EARLIEST_TIME = 1_767_225_600.0  # 2026-01-01T00:00:00Z

POLL_S = 0.05


def require_possible_clock(now: float) -> None:
    """Raise `ClockError` if `now` (Unix seconds) is before this software existed."""
    if now < EARLIEST_TIME:
        raise ClockError(
            f"this machine's clock says {_date(now)}, before this software existed: set it "
            "(for example: timedatectl set-ntp true)"
        )


def listen_at_start(session: Session) -> None:
    """Take in what the others announced; `ClockError` if their clocks contradict ours."""
    now = time.time()
    session.listen(now)
    suspect = session.clock_suspect
    if suspect is not None:
        raise ClockError(
            f"this machine's clock says {_date(now)}, but what {suspect.n_peers} other peer(s) "
            f"announced is dated {_span(suspect.skew_s)}: set the clock that is wrong (for "
            "example: timedatectl set-ntp true)"
        )


def adopt(
    session: Session, params: NDArray[np.float32], patience_s: float, deadline_s: float
) -> bool:
    """Take over the mean of the models that the swarm has now, if it is under way.

    Parameters
    ----------
    params
        Genesis params, shape (n_elements,); overwritten with what is adopted.
    patience_s
        How long to wait to hear anybody at all, in seconds.
    deadline_s
        How long to try to fetch what was announced, in seconds.

    Returns
    -------
    bool
        False if there is nobody, or nobody's model could be had: then start from genesis.
    """
    began = time.monotonic()
    listen_at_start(session)
    while True:
        for fetch in session.wanted(time.time()):
            session.fetch(fetch, params, time.time())
        waited = time.monotonic() - began
        wanted = session.wanted(time.time())
        if waited > deadline_s or (session.n_remembered and not wanted):
            break
        if not session.heard_weights and waited > patience_s:
            break
        if not wanted:
            time.sleep(POLL_S)
            listen_at_start(session)
    return session.merge(params, None, 0, own=False).n_models > 0


def _date(seconds: float) -> str:
    return time.strftime("%Y-%m-%d %H:%M UTC", time.gmtime(seconds))


def _span(skew_s: float) -> str:
    days = abs(skew_s) / 86400
    amount = f"{days / 365.25:.1f} years" if days > 365 else f"{days:.1f} days"
    return f"{amount} {'later' if skew_s > 0 else 'earlier'}"

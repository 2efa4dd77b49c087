"""A peer's first moments: a clock that can be right, and a swarm that may be under way."""

from __future__ import annotations

import time

import numpy as np
from numpy.typing import NDArray

from learnae.errors import ClockError
from learnae.node.clock import suspicion
from learnae.node.session import Session

__all__ = ["adopt", "listen_at_start"]

POLL_S = 0.05


def listen_at_start(session: Session) -> None:
    """Take in what the others announced; `ClockError` if their clocks contradict ours."""
    now = time.time()
    session.listen(now)
    suspect = session.clock_suspect
    if suspect is not None:
        raise ClockError(suspicion(suspect, now))


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
        fetches = session.wanted(time.time())
        for fetch in fetches:
            session.fetch(fetch, params, time.time())
        waited = time.monotonic() - began
        if waited > deadline_s or (session.n_remembered and not fetches):
            break
        session.catch_up(time.time())
        if not session.heard_weights and waited > patience_s:
            break
        if not fetches:
            time.sleep(POLL_S)
            listen_at_start(session)
    return session.merge(params, None, 0, own=False).n_models > 0

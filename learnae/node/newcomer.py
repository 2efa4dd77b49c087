"""A peer's first moments: a clock that can be right, and a swarm that may be under way."""

from __future__ import annotations

import time

import numpy as np
from numpy.typing import NDArray

from learnae.errors import ClockError
from learnae.node.clock import suspicion
from learnae.node.fetching import Fetchers
from learnae.node.session import Session

__all__ = ["adopt", "listen_at_start"]

POLL_S = 0.05
ANSWER_S = 10.0


def listen_at_start(session: Session) -> None:
    """Take in what the others announced; `ClockError` if their clocks contradict ours."""
    now = time.time()
    session.listen(now)
    suspect = session.clock_suspect
    if suspect is not None:
        raise ClockError(suspicion(suspect, now))


def adopt(
    session: Session,
    fetchers: Fetchers,
    params: NDArray[np.float32],
    patience_s: float,
    deadline_s: float,
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
        session.catch_up(time.time())
        fetches = session.wanted(time.time(), only_new=True)
        for fetch in fetches:
            fetchers.give(fetch)
        waited = time.monotonic() - began
        # Who has a model already does not wait for long for those who do not answer.
        is_done = not fetches and (fetchers.busy == 0 or waited > ANSWER_S)
        if waited > deadline_s or (session.n_remembered and is_done):
            break
        if not session.heard_weights and waited > patience_s:
            break
        time.sleep(POLL_S)
        listen_at_start(session)
    return session.merge(params, None, 0, own=False).n_models > 0

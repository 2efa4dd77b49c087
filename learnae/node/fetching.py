"""Fetching models in threads of their own: who is slow or silent holds up nobody else.

One fetch from a peer whose link is down takes as long as its deadline. Announcements, fetches
from others and one's own contributions must not wait for it.
"""

from __future__ import annotations

import queue
import threading
import time
from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from learnae.node.background import yield_to_training
from learnae.node.session import Session
from learnae.swarm.events import Fetch
from learnae.swarm.memory import GIVE_UP_S

__all__ = ["Fetchers", "deadline_s"]

# How long a fetch may take: this, and longer for payloads that fill a slow link for longer.
DEADLINE_S = 30.0
SLOW_LINK_BYTES_PER_S = 250_000
_JOIN_S = 5.0


def deadline_s(nbytes: int) -> float:
    """Return how long the fetch of a payload may take; the protocol waits longer than that."""
    return min(max(DEADLINE_S, nbytes / SLOW_LINK_BYTES_PER_S), GIVE_UP_S - DEADLINE_S)


class Fetchers:
    """Threads that fetch for one session; there are as many as fetches under way at once.

    Parameters
    ----------
    params
        Own params, which what is fetched is compared with; shape (n_elements,).

    Attributes
    ----------
    done
        Called after each fetch.
    training
        Whether somebody trains in this process, whom the threads give way to.
    failure
        What no peer can have caused.
    """

    def __init__(self, session: Session, params: NDArray[np.float32]) -> None:
        self._session, self._params = session, params
        self._deadline_s = deadline_s(session.max_payload_nbytes)
        self._todo: queue.SimpleQueue[Fetch | None] = queue.SimpleQueue()
        self._lock = threading.Lock()
        self._all_done = threading.Condition(self._lock)
        self._threads: list[threading.Thread] = []
        self._busy = 0
        self._closed = False
        self.failure: BaseException | None = None
        self.done: Callable[[], None] = lambda: None
        self.training = False

    def give(self, fetch: Fetch) -> None:
        """Fetch in the background; `done` is called afterwards.

        The result is in the session; what no peer can have caused is left in `failure`.
        """
        with self._lock:
            self._busy += 1
            if self._busy > len(self._threads):
                name = f"learnae-fetch-{len(self._threads)}"
                thread = threading.Thread(target=self._run, name=name, daemon=True)
                self._threads.append(thread)
                thread.start()
        self._todo.put(fetch)

    @property
    def busy(self) -> int:
        """Fetches under way."""
        with self._lock:
            return self._busy

    def wait(self, deadline_s: float) -> bool:
        """Wait until nothing is under way; False if something still is after `deadline_s`."""
        with self._all_done:
            return self._all_done.wait_for(lambda: self._busy == 0, max(0.0, deadline_s))

    def close(self) -> None:
        """End the threads that wait; those that fetch end when their transport is closed."""
        if not self._closed:
            self._closed = True
            for _ in self._threads:
                self._todo.put(None)

    def join(self) -> None:
        """Wait until the threads have ended, after the transport was closed."""
        for thread in self._threads:
            thread.join(_JOIN_S)

    def _run(self) -> None:
        while (fetch := self._todo.get()) is not None and not self._closed:
            if self.training:
                yield_to_training()
            try:
                self._session.fetch(fetch, self._params, time.time(), self._deadline_s)
            except BaseException as error:
                self.failure = error
            with self._lock:
                self._busy -= 1
                self._all_done.notify_all()
            self.done()

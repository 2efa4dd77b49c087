"""The I/O thread: everything of a node that may wait for the network or the disk."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass

from learnae.errors import LearnaeError, TransportError
from learnae.node.clock import suspicion
from learnae.node.fetching import Fetchers
from learnae.node.home import Checkpoint, Home
from learnae.node.session import Contribution, Session

__all__ = ["IoThread", "NodeSettings"]

log = logging.getLogger("learnae.node")

# Pubsub may lose messages, and a peer that only serves has nothing new to say.
REMIND_S = 30.0


@dataclass(frozen=True)
class NodeSettings:
    """How one node goes about its I/O.

    Attributes
    ----------
    role
        "trainer", or "relay" for a peer without data.
    poll_s
        How often to look for announcements, in seconds; None derives it from the charter's pace.
    checkpoint_s
        Seconds between checkpoints.
    status_s
        Seconds between writes of status.json.
    patience_s
        How long a newcomer waits to hear somebody before it starts from the genesis params; None
        for 0.2 s, or 2 s where the others are on other machines.
    adopt_s
        How long a newcomer who heard somebody tries to fetch models to adopt.
    """

    role: str = "trainer"
    poll_s: float | None = None
    checkpoint_s: float = 2.0
    status_s: float = 0.2
    patience_s: float | None = None
    adopt_s: float = 30.0


class IoThread:
    """Publishes, listens, fetches, and writes checkpoint and status, beside training.

    The training thread leaves what it wants done in `outgoing` and `checkpoint` (the newest
    replaces what has not been done yet) and calls `wake`.

    Attributes
    ----------
    outgoing
        The contribution to publish next, or None.
    checkpoint
        The checkpoint to write next, or None.
    budget
        How many more payloads may be fetched in this round.
    """

    def __init__(
        self,
        session: Session,
        home: Home,
        fetchers: Fetchers,
        settings: NodeSettings,
        write_status: Callable[[], None],
    ) -> None:
        self.outgoing: Contribution | None = None
        self.checkpoint: Checkpoint | None = None
        self.budget = session.charter.gossip.fan_in
        self._session, self._home, self._fetchers = session, home, fetchers
        fetchers.done = self.wake
        self._settings, self._write_status = settings, write_status
        self._unbounded = self._closing = False
        self._failure: BaseException | None = None
        self._last_said = self._last_status = 0.0
        self._clock_noted = False
        self._wake = threading.Event()
        self._thread = threading.Thread(target=self._run, name="learnae-io", daemon=True)

    def start(self) -> None:
        """Begin."""
        self._last_said = time.monotonic()
        self._thread.start()

    def wake(self) -> None:
        """Look at once at what there is to do."""
        self._wake.set()

    def serve(self) -> None:
        """From now on fetch whatever is new: who does not train has no rounds to count by."""
        self._unbounded = True

    def stop(self) -> bool:
        """Do what is left to do, and end; False if it had failed before."""
        self._closing = True
        self._wake.set()
        if self._thread.is_alive():
            self._thread.join()
        self._fetchers.close()
        return self._failure is None

    def check(self) -> None:
        """Raise what stopped this thread or a fetcher, if anything did."""
        self._failure = self._failure or self._fetchers.failure
        if isinstance(self._failure, LearnaeError):
            raise self._failure
        if self._failure is not None:
            raise RuntimeError("the I/O thread stopped; see the log") from self._failure

    def _run(self) -> None:
        try:
            while not self._closing:
                self._wake.wait(self._poll_s)
                self._wake.clear()
                self._turn()
            self._turn()
        except BaseException as error:
            log.error("the I/O thread stopped: %s", error)
            self._failure = error

    def _turn(self) -> None:
        try:
            self._say()
            self._session.listen(time.time())
            self._note_clock()
            self._session.catch_up(time.time())
            self._fetch()
        except TransportError as error:
            log.warning("%s", error)
        checkpoint, self.checkpoint = self.checkpoint, None
        if checkpoint is not None:
            self._home.save_checkpoint(checkpoint)
        if time.monotonic() - self._last_status >= self._settings.status_s:
            self._last_status = time.monotonic()
            self._write_status()

    def _say(self) -> None:
        contribution, self.outgoing = self.outgoing, None
        if contribution is not None:
            try:
                self._session.publish(contribution, time.time())
            except TransportError:
                # Kept for the next turn, unless a newer one has come meanwhile.
                self.outgoing = self.outgoing or contribution
                raise
        elif time.monotonic() - self._last_said >= REMIND_S:
            self._session.remind(time.time())
        else:
            return
        self._last_said = time.monotonic()

    def _fetch(self) -> None:
        if self._unbounded:
            self.budget = self._session.charter.gossip.fan_in
        if self.budget > 0 and not self._closing:
            for fetch in self._session.wanted(time.time(), limit=self.budget):
                self.budget -= 1
                self._fetchers.give(fetch)

    def _note_clock(self) -> None:
        suspect = self._session.clock_suspect
        if suspect is not None and not self._clock_noted:
            self._clock_noted = True
            log.error("%s", suspicion(suspect, time.time()))

    @property
    def _poll_s(self) -> float:
        if self._settings.poll_s is not None:
            return self._settings.poll_s
        return min(0.25, max(0.02, self._session.charter.training.min_seconds / 2))

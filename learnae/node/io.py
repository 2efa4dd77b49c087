"""The I/O thread: everything of a node that may wait for the network or the disk."""

from __future__ import annotations

import logging
import threading
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import Generic, TypeVar

from learnae.errors import LearnaeError, TransportError
from learnae.node.background import yield_to_training
from learnae.node.clock import suspicion
from learnae.node.contribution import Contribution
from learnae.node.fetching import Fetchers
from learnae.node.home import Checkpoint, Home
from learnae.node.session import Session

__all__ = ["IoThread", "NodeSettings", "Slot"]

T = TypeVar("T")

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
        Seconds between checkpoints; more where one takes over a two-hundredth of it to write.
    status_s
        Seconds between writes of status.json; more where rounds are long.
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


class Slot(Generic[T]):
    """Where one thread leaves the newest of something for another; what it replaces is gone."""

    def __init__(self) -> None:
        self._value: T | None = None
        self._lock = threading.Lock()

    def put(self, value: T) -> None:
        """Leave a value."""
        with self._lock:
            self._value = value

    def take(self) -> T | None:
        """Take the value out; None if there is none."""
        with self._lock:
            value, self._value = self._value, None
            return value

    def put_back(self, value: T) -> None:
        """Leave a value that was taken, unless there is a newer one meanwhile."""
        with self._lock:
            if self._value is None:
                self._value = value

    @property
    def is_full(self) -> bool:
        """Whether a value is waiting."""
        return self._value is not None


class IoThread:
    """Publishes, listens, fetches, and writes checkpoint and status, beside training.

    The training thread leaves what it wants done in `outgoing` and `checkpoint` and calls
    `wake`.

    Attributes
    ----------
    outgoing
        The contribution to publish next.
    checkpoint
        The checkpoint to write next.
    round_s
        How long the last round took, in seconds.
    checkpoint_took_s
        How long the last checkpoint took to write, in seconds.
    """

    def __init__(
        self,
        session: Session,
        home: Home,
        fetchers: Fetchers,
        settings: NodeSettings,
        write_status: Callable[[], None],
    ) -> None:
        self.outgoing: Slot[Contribution] = Slot()
        self.checkpoint: Slot[Checkpoint] = Slot()
        self.round_s = self.checkpoint_took_s = 0.0
        self._budget = 0  # how many more payloads may be fetched in this round
        self._new_round = True
        self._session, self._home, self._fetchers = session, home, fetchers
        fetchers.done = self.wake
        self._settings, self._write_status = settings, write_status
        self._unbounded = self._closing = self._cannot_say = self._training = False
        self._failure: BaseException | None = None
        self._failure_told = False
        self._last_warning = ""
        self._last_said = self._last_status = 0.0
        self._clock_noted = False
        self._wake = threading.Event()
        self._drains: deque[threading.Event] = deque()
        self._thread = threading.Thread(target=self._run, name="learnae-io", daemon=True)

    def start(self) -> None:
        """Begin."""
        self._last_said = time.monotonic()
        self._thread.start()

    def wake(self) -> None:
        """Look at once at what there is to do."""
        self._wake.set()

    def begin_training(self) -> None:
        """Give way to the training thread from now on."""
        self._training = self._fetchers.training = True
        self.wake()

    def begin_round(self, last_s: float) -> None:
        """Let `fan_in` more payloads be fetched, now that a round of `last_s` seconds is over."""
        self.round_s, self._new_round = last_s, True

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

    def drain(self, deadline_s: float) -> bool:
        """Wait until what was left to do is done; False if it is not within `deadline_s`."""
        until = time.monotonic() + deadline_s
        done = threading.Event()
        self._drains.append(done)
        self._wake.set()
        return done.wait(deadline_s) and self._fetchers.wait(until - time.monotonic())

    @property
    def has_untold_failure(self) -> bool:
        """Whether something stopped this thread and `check` has not raised it yet."""
        return self._failure is not None and not self._failure_told

    def check(self) -> None:
        """Raise what stopped this thread or a fetcher, if anything did."""
        self._failure = self._failure or self._fetchers.failure
        self._failure_told = self._failure is not None
        if isinstance(self._failure, LearnaeError):
            raise self._failure
        if self._failure is not None:
            raise RuntimeError("the I/O thread stopped; see the log") from self._failure

    def _run(self) -> None:
        try:
            while not self._closing:
                self._wake.wait(self._poll_s)
                self._wake.clear()
                if self._training:
                    yield_to_training()
                # Those asked for before this turn: what is left during it waits for the next.
                asked = [self._drains.popleft() for _ in range(len(self._drains))]
                self._turn()
                for done in asked:
                    done.set()
            self._turn()
        except BaseException as error:
            log.error("the I/O thread stopped: %s", error)
            self._failure = error

    def _turn(self) -> None:
        # Each by itself: who cannot publish can still hear and learn from the others.
        for step in (self._say, self._listen, self._catch_up, self._fetch):
            try:
                step()
            except TransportError as error:
                self._warn(str(error))
        checkpoint = self.checkpoint.take()
        # Before any checkpoint, the last one included: killed between the two, we would go on
        # from the checkpoint, and the log would lack its last rounds for good.
        due = time.monotonic() - self._last_status >= self._status_s
        if due or checkpoint is not None or self._closing:
            self._last_status = time.monotonic()
            self._write_status()
        if checkpoint is not None:
            began = time.monotonic()
            self._home.save_checkpoint(checkpoint)
            self.checkpoint_took_s = time.monotonic() - began

    def _say(self) -> None:
        contribution = self.outgoing.take()
        if contribution is not None:
            try:
                self._session.publish(contribution, time.time())
            except TransportError:
                self.outgoing.put_back(contribution)
                self._cannot_say = True
                raise
        elif time.monotonic() - self._last_said >= REMIND_S:
            self._session.remind(time.time())
        else:
            return
        self._last_said = time.monotonic()
        self._last_warning, self._cannot_say = "", False

    def _fetch(self) -> None:
        if self._new_round or self._unbounded:
            self._new_round = False
            self._budget = self._session.charter.gossip.fan_in
        if self._budget > 0 and not self._closing:
            for fetch in self._session.wanted(time.time(), limit=self._budget):
                self._budget -= 1
                self._fetchers.give(fetch)

    def _catch_up(self) -> None:
        self._session.catch_up(time.time())

    def _warn(self, line: str) -> None:
        """Log a failure once, not at every turn for as long as it lasts."""
        if line != self._last_warning:
            self._last_warning = line
            log.warning("%s", line)

    def _listen(self) -> None:
        self._session.listen(time.time())
        suspect = self._session.clock_suspect
        if suspect is not None and not self._clock_noted:
            self._clock_noted = True
            log.error("%s", suspicion(suspect, time.time()))

    @property
    def _poll_s(self) -> float:
        if self._settings.poll_s is not None:
            return self._settings.poll_s
        # Often enough in a round, and no more: looking costs a third of a millisecond.
        pace_s = max(self._session.charter.training.min_seconds / 2, self.round_s / 4)
        return min(0.25, max(0.02, pace_s))

    @property
    def _status_s(self) -> float:
        # Between two rounds little changes, and writing takes a millisecond.
        return max(self._settings.status_s, min(1.0, self.round_s / 2))

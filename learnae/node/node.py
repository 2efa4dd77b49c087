"""The place where clock, threads, transport and training meet.

A `Node` owns one I/O thread. Training stays on the caller's thread and meets the swarm in
`Node.finish_round`, which encodes, hands the bytes over, and merges what has arrived by then;
it never waits for the network. What may be slow is done elsewhere: the disk and announcements
by the I/O thread, and each fetch by a thread of its own.

::

    training thread                          I/O thread
    ---------------                          ----------
    steps ...                                publish the newest contribution
    finish_round: encode -> hand over ---->  take announcements, pick whom to fetch from
                  merge <---- remembered     write checkpoint and status when due
                                             fetchers: get, gate, remember
"""

from __future__ import annotations

import json
import logging
import threading
import time
from collections import deque
from collections.abc import Callable, Mapping
from types import TracebackType

import numpy as np
from numpy.typing import NDArray

from learnae import kernels
from learnae.errors import ModelError, TransportError
from learnae.node.background import Trimmer
from learnae.node.clock import require_possible_clock
from learnae.node.contribution import Contribution
from learnae.node.fetching import Fetchers
from learnae.node.gate import saved_params
from learnae.node.home import Checkpoint, Home
from learnae.node.io import IoThread, NodeSettings
from learnae.node.merging import Merged
from learnae.node.newcomer import adopt, listen_at_start
from learnae.node.session import Session
from learnae.node.status import Status
from learnae.payload import Schema
from learnae.swarm import Charter, Kind, Peer, PeerState
from learnae.transports import Transport
from learnae.transports.seam import Reaching

__all__ = ["Node", "NodeSettings"]

Float32 = NDArray[np.float32]
log = logging.getLogger("learnae.node")

# A folder tells at once what was announced; over IPFS others have to be connected to and asked.
NEAR_S, FAR_S = 0.2, 2.0
LARGE_NBYTES = 1 << 20  # of smaller ones, storing is interpreted code: it would hold up merging


class Node:
    """One peer with I/O and a clock.

    Parameters
    ----------
    charter, schema
        The swarm's, and the shared leaves of its model.
    home
        The peer's folder: key, head, checkpoint, status.
    transport
        Store and pubsub; closed with the node.
    params
        Genesis params as one vector, float32, shape (schema.n_elements,).

    Attributes
    ----------
    extra
        The training side's arrays that were in the checkpoint, by name.
    dump_extra
        Called whenever a checkpoint is made; returns the arrays to save in it.

    Raises
    ------
    ClockError
        From `start`, when this machine's clock cannot be right.
    SchemaError
        From `start`, when the folder holds params of other shapes.
    """

    def __init__(
        self,
        charter: Charter,
        schema: Schema,
        home: Home,
        transport: Transport,
        params: Float32,
        settings: NodeSettings | None = None,
    ) -> None:
        self.charter = charter
        self.schema = schema
        self.home = home
        self.settings = settings or NodeSettings()
        self.params = np.ascontiguousarray(params, dtype=np.float32).copy()
        self.gradient: Float32 | None = None
        self.shift: Float32 | None = None
        self.extra: Mapping[str, NDArray[np.generic]] = {}
        self.dump_extra: Callable[[], Mapping[str, NDArray[np.generic]]] = lambda: self.extra
        self.status = Status(home.identity.peer_id, self.settings.role)
        self._transport = transport
        self._checkpoint = home.load_checkpoint()
        if home.damage is not None:
            log.warning("%s; going on from the checkpoint before it", home.damage)
        peer = Peer(charter, home.identity, schema.digest, self._peer_state())
        self.session = Session(charter, schema, peer, transport, home.save_head, home.path)
        self._fetchers = Fetchers(self.session, self.params)
        self._io = IoThread(self.session, home, self._fetchers, self.settings, self.write_status)
        self._trimmer = Trimmer()
        self._rounds_log: deque[str] = deque()
        self._last_checkpoint = 0.0
        self._cpu_start = 0.0
        self._rounds_here = 0
        self._started = self._closed = False

    # -- life --------------------------------------------------------------------------

    def start(self) -> None:
        """Resume from the last checkpoint or adopt the swarm's model, then begin I/O."""
        require_possible_clock(time.time())
        head = self.home.load_head()
        if head is not None:
            self.session.republish(head)
        if self._checkpoint is not None:
            self._resume(self._checkpoint)
            listen_at_start(self.session)
        elif self._adopt():
            self.status.adopted_round = self.session.adopt_round()
            log.info("adopted the swarm's model of round %d", self.round)
        stored = self.session.sweep()
        if self._checkpoint is not None:
            self.session.sender.resume(self._checkpoint.extra, stored)
        self._started = True
        self._checkpoint = None
        self._last_checkpoint = time.monotonic()
        self._io.start()

    def close(self) -> None:
        """Say farewell, write the last checkpoint, release folder and transport.

        A node that never started, or whose I/O failed, only releases. May be called again.

        Raises
        ------
        LearnaeError
            What stopped the I/O thread, if nobody has been told yet.
        """
        if self._closed:
            return
        self._closed = True
        try:
            if self._io.stop() and self._started:
                self._farewell()
        finally:
            self.session.close()
            self._transport.close()
            self._fetchers.join()
            self.home.close()
        if self._io.has_untold_failure:
            self.check()

    def __enter__(self) -> Node:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    # -- rounds ------------------------------------------------------------------------

    @property
    def round(self) -> int:
        """Rounds finished so far, those of adopted params included."""
        return self.session.peer.round

    def begin(self) -> None:
        """Note that training begins now; CPU seconds are counted from here."""
        self.status.state = "training"
        self.status.training_since = time.time()
        if self.settings.role == "trainer":
            self._io.begin_training()
        self._cpu_start = time.process_time()

    def finish_round(
        self,
        gradient: Float32 | None,
        samples: int,
        loss: float | None,
        seconds: float,
        measure: Callable[[], float | None] | None = None,
    ) -> Merged:
        """Publish `params` as they are, then merge what the swarm has sent into them.

        Never waits for the network. `params` (shape (n_elements,)) is changed in place; the
        new drift correction is left in `shift`.

        Parameters
        ----------
        gradient
            Mean raw gradient of the round, shape (n_elements,), or None.
        samples
            Examples behind this contribution.
        seconds
            How long the round took, for the log.
        measure
            Called after merging; returns the accuracy of `params`, for the status.

        Raises
        ------
        ModelError
            If params or gradient are NaN or infinite: training has diverged.
        LearnaeError
            If the I/O thread failed, for instance because the disk is full.
        """
        self.check()
        number = self.round + 1
        self._require_finite(gradient, number)
        if not self.charter.training.drift_correction:
            gradient = None
        payload = self.session.encode(self.params, gradient)
        self._io.outgoing.put(Contribution(payload, number, samples, loss))
        if len(payload) >= LARGE_NBYTES:
            self._io.wake()  # to store it on a core that training leaves idle while we merge
        merged = self.session.merge(self.params, gradient, samples)
        self.gradient, self.shift = gradient, merged.shift
        self.session.advance(number)
        self._io.begin_round(seconds)
        self._rounds_here += 1
        if measure is not None:
            self.status.accuracy = measure()
        self._note_round(number, loss, merged, seconds)
        # A hundred megabytes take a tenth of a second: large models are saved less often.
        pause_s = max(self.settings.checkpoint_s, 200 * self._io.checkpoint_took_s)
        if time.monotonic() - self._last_checkpoint >= pause_s:
            self._last_checkpoint = time.monotonic()
            self._io.checkpoint.put(self._make_checkpoint())
        self._io.wake()
        self._trimmer.when_due(seconds)
        return merged

    def serve(self, stop: threading.Event, linger_s: float | None, samples: int) -> None:
        """Keep listening, fetching and serving until `stop` is set or `linger_s` is over.

        What arrives is merged once, at the end, with own params counting as `samples`.
        """
        self.serve_from_now()
        # Now and not after `checkpoint_s`: a short run would otherwise never be written.
        self._io.checkpoint.put(self._make_checkpoint())
        self._io.wake()
        deadline = None if linger_s is None else time.monotonic() + linger_s
        while not stop.is_set():
            self.check()
            left = None if deadline is None else deadline - time.monotonic()
            if left is not None and left <= 0:
                break
            stop.wait(0.5 if left is None else min(0.5, left))
        if self.session.has_unmerged:
            merged = self.session.merge(self.params, None, samples)
            self.status.n_merged = merged.n_models

    def serve_from_now(self) -> None:
        """Fetch whatever is new, without the rounds that bound a trainer's fetches."""
        self.status.state = "serving"
        self._io.serve()

    def republish_mean(self) -> None:
        """Publish the mean of the remembered models with 0 samples: a relay's contribution."""
        self.session.merge(self.params, None, 0, own=False)
        self.session.adopt_round()
        payload = self.session.encode(self.params, None)
        self._io.outgoing.put(Contribution(payload, self.round, 0, None))
        self._io.wake()

    def drain(self, deadline_s: float) -> bool:
        """Wait until the I/O thread has done what it was given; False after `deadline_s`."""
        return self._io.drain(deadline_s)

    def check(self) -> None:
        """Raise what stopped the I/O thread, if anything did: a full disk, for instance."""
        self._io.check()

    def refresh_status(self) -> Status:
        """Bring the counts in `status` up to date and return it."""
        traffic, status = self.session.traffic, self.status
        status.round = self.round
        status.n_peers = self.session.n_remembered
        status.models_merged = traffic.models_merged
        status.bytes_sent, status.bytes_received = traffic.bytes_sent, traffic.bytes_received
        status.announcements_heard, status.rejected = traffic.heard, traffic.rejected
        status.updated_at = time.time()
        return status

    # -- starting ----------------------------------------------------------------------

    def _adopt(self) -> bool:
        patience_s, deadline_s = self.settings.patience_s, self.settings.adopt_s
        if patience_s is None:
            patience_s = FAR_S if isinstance(self._transport, Reaching) else NEAR_S
        return adopt(self.session, self._fetchers, self.params, patience_s, deadline_s)

    def _peer_state(self) -> PeerState | None:
        checkpoint = self._checkpoint
        return None if checkpoint is None else PeerState.from_bytes(checkpoint.peer_state)

    def _resume(self, checkpoint: Checkpoint) -> None:
        self.params[:] = saved_params(checkpoint.params, self.schema, str(self.home.path))
        self.extra = checkpoint.extra
        self.gradient = _optional(checkpoint.extra, "learnae.gradient")
        self.shift = _optional(checkpoint.extra, "learnae.shift")
        self.session.recall()
        self.status.resumed_round = self.round
        log.info("resumed at round %d", self.round)

    # -- writing down ------------------------------------------------------------------

    def _make_checkpoint(self) -> Checkpoint:
        extra = dict(self.dump_extra())
        if self.gradient is not None:
            extra["learnae.gradient"] = self.gradient
        if self.shift is not None:
            extra["learnae.shift"] = self.shift
        extra.update(self.session.sender.dump())
        return Checkpoint(
            swarm_id=self.charter.swarm_id,
            round=self.round,
            params=bytes(kernels.payload_write("f32", self.schema.digest, [self.params])),
            peer_state=self.session.snapshot(),
            extra=extra,
            saved_at=time.time(),
        )

    def _note_round(self, number: int, loss: float | None, merged: Merged, seconds: float) -> None:
        status = self.status
        status.round, status.loss, status.n_merged = number, loss, merged.n_models
        status.cpu_seconds = time.process_time() - self._cpu_start
        status.cpu_seconds_per_round = status.cpu_seconds / self._rounds_here
        line = {
            "round": number,
            "time": round(time.time(), 3),
            "seconds": round(seconds, 6),
            "loss": loss,
            "accuracy": status.accuracy,
            "n_merged": merged.n_models,
            "staleness": self.session.staleness(),
            "bytes_sent": self.session.traffic.bytes_sent,
            "bytes_received": self.session.traffic.bytes_received,
        }
        self._rounds_log.append(json.dumps(line))

    def write_status(self) -> None:
        """Write status.json and append the rounds since the last time."""
        status = self.refresh_status()
        # One by one, since the training thread may be appending.
        lines = [self._rounds_log.popleft() for _ in range(len(self._rounds_log))]
        self.home.append_rounds(lines)
        self.home.write_status(status.as_dict())

    def _farewell(self) -> None:
        if _is_finite(self.params):
            self.home.save_checkpoint(self._make_checkpoint())
        else:
            log.warning("params hold NaN or infinity: the checkpoint before stays")
        self.status.state = "stopped"
        try:
            self.session.say(Kind.BYE, time.time())
        except TransportError as error:
            log.warning("could not say farewell: %s", error)
        self.write_status()

    # -- failures ----------------------------------------------------------------------

    def _require_finite(self, gradient: Float32 | None, number: int) -> None:
        for name, vector in (("params", self.params), ("gradient", gradient)):
            if vector is not None and not _is_finite(vector):
                raise ModelError(
                    f"training diverged: {name} of round {number} hold NaN or infinity, nothing "
                    "was published; lower the learning rate or check the data"
                )


def _is_finite(vector: Float32) -> bool:
    with np.errstate(over="ignore", invalid="ignore"):
        # The product needs no memory; it may overflow where every element is finite.
        return bool(np.isfinite(np.dot(vector, vector)) or np.isfinite(vector).all())


def _optional(arrays: Mapping[str, NDArray[np.generic]], name: str) -> Float32 | None:
    value = arrays.get(name)
    return None if value is None else np.ascontiguousarray(value, dtype=np.float32)

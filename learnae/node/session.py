"""A peer, a transport and the payload arithmetic, tied together without thread or clock.

A `Session` does what one peer does between two rounds: publish, listen, fetch, gate, merge.
Every method is told the time and returns when its work is done, so the same code runs under
the threads of `learnae.node.node` and under a hand-moved clock in a test of a whole swarm.
"""

from __future__ import annotations

import logging
import os
import threading
from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from learnae import errors, kernels
from learnae.errors import HostileBytes, SchemaError, TransportError
from learnae.node.chains import Sender, largest_payload_nbytes
from learnae.node.contribution import Contribution, Traffic
from learnae.node.history import History
from learnae.node.merging import Merged
from learnae.node.remembered import Held, Remembered, merge_held
from learnae.node.resolving import resolve, within
from learnae.payload import Schema
from learnae.swarm import Announcement, Charter, Kind, Peer
from learnae.swarm.events import (
    Adopted,
    ClockSuspect,
    Drop,
    Event,
    Fetch,
    Heard,
    Ignored,
    Publish,
    Recalled,
)
from learnae.swarm.trust import short
from learnae.transports import Transport
from learnae.transports.seam import Reaching

__all__ = ["Session"]

Float32 = NDArray[np.float32]
log = logging.getLogger("learnae.node")


class Session:
    """One peer's business with the swarm.

    Parameters
    ----------
    charter, schema
        The swarm's, and the shared leaves of its model.
    peer
        The protocol's state.
    transport
        A store and a pubsub.
    save_head
        Called with every signed announcement before it is published, so that a crash never
        leads to two announcements with one sequence number.
    folder
        Where large models are put that came as differences; without it they stay in memory.

    Raises
    ------
    SchemaError
        If the model is larger than the charter accepts.

    Notes
    -----
    Methods may be called from two threads (I/O and training): one lock guards the peer and the
    remembered payloads, and is never held during I/O or arithmetic.
    """

    def __init__(
        self,
        charter: Charter,
        schema: Schema,
        peer: Peer,
        transport: Transport,
        save_head: Callable[[bytes], None] = lambda head: None,
        folder: str | os.PathLike[str] | None = None,
    ) -> None:
        if schema.n_elements > charter.gossip.max_elements:
            raise SchemaError(
                f"this model has {schema.n_elements:,} params, more than the charter's "
                f"gossip.max_elements of {charter.gossip.max_elements:,}: use a smaller model, or "
                "a charter with a larger number (which is another swarm)"
            )
        self.charter = charter
        self.schema = schema
        self.peer = peer
        self.transport = transport
        self.traffic = Traffic()
        self._save_head, self._folder = save_head, folder
        self._heard_weights = False
        self._history = History(transport)
        self._merged_at = 0
        self._subscription = transport.subscribe(charter.topic)
        self._remembered = Remembered(charter)
        self.sender = Sender(charter, schema)
        self._lock = threading.Lock()

    # -- what we send ------------------------------------------------------------------

    def encode(self, params: Float32, gradient: Float32 | None) -> bytearray:
        """Encode params (and the round's mean gradient) for `publish`; see `Sender.encode`."""
        return self.sender.encode(params, gradient)

    def publish(self, contribution: Contribution, now: float) -> None:
        """Store the payload, then announce it.

        Raises
        ------
        TransportError
            If store or pubsub failed; the announcement is then retried by `republish`.
        """
        draft = self.sender.draft(contribution)
        with self._lock:
            room = self.peer.make_room()
        self._drop(room)
        cid = self.transport.put(draft.payload)
        self.traffic.bytes_sent += len(draft.payload)
        self._announce(
            cid, Kind.WEIGHTS, contribution.round, contribution.samples, contribution.loss, now
        )
        self.sender.sent(draft, cid)

    def say(self, kind: Kind, now: float) -> None:
        """Announce something that needs no payload, such as a farewell."""
        self._announce(None, kind, self.peer.round, 0, None, now)

    def remind(self, now: float) -> None:
        """Publish the last announcement again, for peers that missed it."""
        with self._lock:
            events = self.peer.republish(now)
        self._carry_out(events)

    def republish(self, head: bytes) -> None:
        """Publish again what a crash may have kept from being published."""
        with self._lock:
            events = self.peer.restore_head(head)
        self._carry_out(events)

    def sweep(self) -> set[bytes]:
        """Drop own objects that no announcement of ours names, leftovers of a crash.

        Returns
        -------
        set of bytes
            CIDs of those that stay.
        """
        with self._lock:
            published = set(self.peer.published)
        owned = set(self.transport.owned())
        for cid in owned - published:
            self.transport.drop(cid)
        return owned & published

    def _announce(
        self,
        cid: bytes | None,
        kind: Kind,
        round_: int,
        samples: int,
        loss: float | None,
        now: float,
    ) -> None:
        addresses = self.transport.addresses()  # may ask a daemon
        with self._lock:
            events = self.peer.announce(
                cid,
                kind=kind,
                round=round_,
                samples=samples,
                loss=loss,
                addresses=addresses,
                now=now,
            )
        self._carry_out(events)

    def _carry_out(self, events: list[Event]) -> None:
        try:
            for event in events:
                match event:
                    case Publish(topic, data):
                        self._save_head(data)
                        self._history.keep(data)
                        self.transport.publish(topic, data)
                        self.traffic.bytes_sent += len(data)
                    case Ignored(reason, _, detail):
                        log.warning("the saved head is not used: %s %s", reason, detail)
                    case _:
                        pass
        finally:
            # Also where publishing failed: the peer names each of these only once.
            self._drop(events)

    def _drop(self, events: list[Event]) -> None:
        for event in events:
            if isinstance(event, Drop):
                try:
                    self.transport.drop(event.cid)
                except TransportError as error:
                    log.warning("an old payload stays until the next start: %s", error)

    # -- what we hear ------------------------------------------------------------------

    def listen(self, now: float) -> list[Event]:
        """Take in every announcement that has arrived."""
        messages = self._subscription.take()
        events: list[Event] = []
        for data in messages:
            self.traffic.bytes_received += len(data)
            with self._lock:
                events += self.peer.receive(data, now)
        for event in events:
            match event:
                case Heard(announcement, since):
                    self.traffic.heard += 1
                    self._heard_weights |= announcement.kind == Kind.WEIGHTS
                    self._history.note(announcement, since, now)
                    if announcement.addresses and isinstance(self.transport, Reaching):
                        self.transport.reach(announcement.addresses)
                case Ignored(reason, peer_id, detail):
                    self.traffic.ignored += 1
                    log.debug("ignored %s: %s %s", _name(peer_id), reason, detail)
                case Adopted(sequence, data):
                    self._save_head(data)
                    log.warning("our key has announced %d already; going on from there", sequence)
                case _:
                    pass
        self._drop(events)
        return events

    def catch_up(self, now: float) -> None:
        """Look for models in what others said and we missed, a few announcements at a time.

        Where nothing was missed, or nothing that matters, this is free; otherwise it waits for
        the transport.
        """
        self._history.catch_up(self._recall, now)

    def _recall(self, data: bytes) -> Announcement | None:
        self.traffic.bytes_received += len(data)
        with self._lock:
            (event,) = self.peer.receive_earlier(data)
        if not isinstance(event, Recalled):
            return None
        self._heard_weights |= event.announcement.kind == Kind.WEIGHTS
        return event.announcement

    def wanted(
        self, now: float, limit: int | None = None, *, only_new: bool = False
    ) -> list[Fetch]:
        """Say which payloads to fetch next; each must be given to `fetch` afterwards."""
        with self._lock:
            return self.peer.wanted(now, limit, only_new=only_new)

    def fetch(self, fetch: Fetch, params: Float32, now: float, deadline_s: float = 30.0) -> bool:
        """Get one payload and what it builds on, gate it, and remember it if it passes.

        Returns
        -------
        bool
            True if it is remembered now. A failure of any kind costs its sender this turn and
            is counted, never raised.
        """
        held: Held | None = None
        reason: str | None = None
        reachable, missed = True, False
        try:
            held = self._remembered.examine(self._resolve(fetch.cid, deadline_s), params)
        except TransportError as error:
            # Most often it was replaced by a newer one meanwhile, which will come; or it is our
            # own daemon that is away, which is nobody's fault.
            missed = isinstance(error, (errors.NotFound, errors.Unavailable))
            reachable, reason = isinstance(error, errors.WrongObject), str(error)
        except HostileBytes as error:
            reason = str(error)
        with self._lock:
            self.peer.fetched(
                fetch, accepted=held is not None, reason=reason, reachable=reachable, now=now
            )
            if held is not None:
                self._remembered.keep(fetch.cid, held, self.peer.contributions())
                self.traffic.accepted += 1
        if missed:
            self.traffic.missed += 1
            log.info("missed %s's round %d: %s", short(fetch.peer_id), fetch.round, reason)
        elif held is None:
            self.traffic.rejected += 1
            log.info("rejected %s's round %d: %s", short(fetch.peer_id), fetch.round, reason)
        return held is not None

    def recall(self) -> None:
        """Get the remembered payloads again after a restart, and forget what is gone."""
        contributions = self.peer.contributions()
        for contribution in contributions:
            try:
                held = Held.of(self._resolve(contribution.cid, 10.0))
                self._remembered.keep(contribution.cid, held, contributions)
            except (TransportError, HostileBytes) as error:
                log.info("forgot %s: %s", short(contribution.peer_id), error)
                self.peer.forget(contribution.peer_id)

    def _resolve(self, cid: bytes, deadline_s: float) -> kernels.PayloadView:
        get = within(self._get, deadline_s)
        known = self._remembered_view
        return resolve(cid, get, known, self.charter, self.schema, self._folder)

    def _get(self, cid: bytes, deadline_s: float) -> memoryview:
        buffer = self.transport.get(cid, self.max_payload_nbytes, deadline_s)
        self.traffic.bytes_received += len(buffer)
        return buffer

    def _remembered_view(self, cid: bytes) -> kernels.PayloadView | None:
        with self._lock:
            return self._remembered.view(cid)

    @property
    def max_payload_nbytes(self) -> int:
        """Size in bytes of a payload of this swarm: nobody needs a larger one."""
        return largest_payload_nbytes(self.charter, self.schema)

    @property
    def clock_suspect(self) -> ClockSuspect | None:
        """The suspicion that our clock is wrong, as far as what was heard till now goes."""
        with self._lock:
            return self.peer.clock_suspect

    @property
    def has_unmerged(self) -> bool:
        """Whether a payload was accepted since the last `merge`."""
        return self.traffic.accepted != self._merged_at

    @property
    def heard_weights(self) -> bool:
        """Whether anybody has announced a model so far."""
        return self._heard_weights

    @property
    def n_remembered(self) -> int:
        """Peers whose last accepted payload is remembered."""
        with self._lock:
            return self.peer.n_remembered

    def staleness(self) -> float | None:
        """Return by how many rounds the remembered models are behind ours, on average."""
        with self._lock:
            rounds = [c.round for c in self.peer.contributions()]
            own = self.peer.round
        return own - sum(rounds) / len(rounds) if rounds else None

    def advance(self, number: int) -> None:
        """Note that one's own round `number` is finished."""
        with self._lock:
            self.peer.advance(number)

    def adopt_round(self) -> int:
        """Go on from the round of the remembered models (their median), and return it."""
        with self._lock:
            return self.peer.adopt_round()

    def snapshot(self) -> bytes:
        """Return the peer's state for a checkpoint."""
        with self._lock:
            return self.peer.snapshot().to_bytes()

    def merge(
        self, params: Float32, gradient: Float32 | None, samples: int, *, own: bool = True
    ) -> Merged:
        """Average own params with the last accepted payload of every remembered peer, in place.

        Arguments and result as in `learnae.node.remembered.merge_held`; the others' weights are
        their samples times ``decay ** staleness``.
        """
        with self._lock:
            self._merged_at = self.traffic.accepted
            held = self._remembered.of(self.peer.contributions())
        merged = merge_held(params, gradient, samples if own else None, held, self.charter)
        self.traffic.models_merged += merged.n_models - int(own)
        return merged

    def close(self) -> None:
        """Stop listening. The transport belongs to the caller."""
        self._subscription.close()


def _name(peer_id: str | None) -> str:
    return "?" if peer_id is None else short(peer_id)

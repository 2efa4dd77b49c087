"""One peer's side of the protocol: bytes and a time go in, events come out.

The law is docs/protocol.md. What is wrong with a message says `learnae.swarm.law`, row by
row; what is remembered of others is in `memory`, what we have said ourselves in `chain`. There is
no socket, clock, thread or random number in here, so that the same file runs a real peer, a
test with a hand-moved clock, and a simulation of thousands.

Ours and theirs are kept apart: what comes from others never raises, whatever it is, and what
our own program asks for wrongly is a ValueError.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace

from learnae.errors import AnnouncementError, StateError
from learnae.swarm.announcement import Announcement, Kind, Opened, open_announcement
from learnae.swarm.chain import Chain
from learnae.swarm.charter import Charter
from learnae.swarm.clock import ClockWatch
from learnae.swarm.events import (
    Accepted,
    Adopted,
    ClockSuspect,
    Event,
    Fetch,
    Heard,
    Ignored,
    Reason,
    Recalled,
    Rejected,
)
from learnae.swarm.fields import MAX_ANNOUNCEMENT_NBYTES, MAX_ROUND, fit_addresses
from learnae.swarm.law import CHEAP, EARLIER, SIGNED, TIMELY, Case, objection
from learnae.swarm.memory import Memory
from learnae.swarm.state import Known, PeerState
from learnae.swarm.topology import choose
from learnae.swarm.trust import Identity

__all__ = ["Contribution", "Peer"]


@dataclass(frozen=True)
class Contribution:
    """A remembered model and its weight, `samples * decay ** staleness`, in a mean."""

    peer_id: str
    cid: bytes
    round: int
    samples: int
    weight: float


class Peer:
    """The protocol's state machine.

    Parameters
    ----------
    charter, identity, schema_digest
        The swarm, our key in it, and the 32-byte digest of the params that we share.
    state
        Where to go on from, as `snapshot` gave it.

    Raises
    ------
    StateError
        If the state is another peer's or another swarm's.
    """

    def __init__(
        self,
        charter: Charter,
        identity: Identity,
        schema_digest: bytes,
        state: PeerState | None = None,
    ) -> None:
        peer_id = identity.peer_id
        if state is None:
            state = PeerState(charter.swarm_id, peer_id, 0, None, 0, (), (), ())
        if (state.swarm_id, state.peer_id) != (charter.swarm_id, peer_id):
            raise StateError(
                "this peer's saved state belongs to another swarm or key: give the charter and "
                "key it was made with, or another folder"
            )
        self.charter = charter
        self.peer_id = peer_id
        self.schema_digest = schema_digest
        self._round = state.round
        self._chain = Chain(charter, identity, state)
        self._memory = Memory(charter.gossip.remember, state.known, state.remembered)
        self._clock = ClockWatch(charter.gossip.max_clock_skew_s)

    @property
    def sequence(self) -> int:
        """Sequence number of our last announcement; 0 before the first."""
        return self._chain.sequence

    @property
    def head(self) -> bytes | None:
        """Our last announcement, signed and encoded."""
        return self._chain.head

    @property
    def round(self) -> int:
        """Our own count of rounds."""
        return self._round

    @property
    def published(self) -> tuple[bytes, ...]:
        """CIDs of our payloads that others may still fetch, oldest first."""
        return tuple(self._chain.published)

    @property
    def known(self) -> tuple[Known, ...]:
        """The records of all other peers, the one heard longest ago first."""
        return tuple(self._memory.known.values())

    @property
    def n_remembered(self) -> int:
        """How many peers' models are remembered."""
        return len(self._memory.remembered)

    @property
    def clock_suspect(self) -> ClockSuspect | None:
        """The suspicion that our clock is wrong, if most peers heard so far give reason for it."""
        return self._clock.suspicion()

    # -- what is heard -----------------------------------------------------------------

    def receive(self, data: bytes, now: float) -> list[Event]:
        """Take in a message; any bytes give events, never an exception.

        Returns
        -------
        list of Event
            One of Heard, Ignored and Adopted, and perhaps ClockSuspect.
        """
        if len(data) > MAX_ANNOUNCEMENT_NBYTES:
            return [Ignored(Reason.TOO_LARGE, None)]
        try:
            opened = open_announcement(bytes(data))
        except AnnouncementError as error:
            return [Ignored(Reason.MALFORMED, None, str(error))]
        case = self._case(opened)
        announcement = opened.announcement
        reason = objection(CHEAP, case)
        if reason is None and not opened.verified():
            reason = Reason.FORGED
        if reason is None and case.is_own:
            drops = self._chain.take_over(announcement, bytes(data))
            return [Adopted(announcement.sequence, bytes(data)), *drops]
        if reason is None:
            reason = objection(SIGNED, case)
        if reason is not None:
            return [Ignored(reason, announcement.peer_id)]
        suspect = self._clock.see(announcement.peer_id, announcement.time, now)
        events: list[Event] = [] if suspect is None else [suspect]
        in_time = self._clock.within(announcement.time, now)
        reason = objection(TIMELY, case) if in_time else Reason.CLOCK
        if reason is not None:
            return [Ignored(reason, announcement.peer_id), *events]
        self._memory.record(announcement, opened.cid, now)
        since = 0 if case.last is None else case.last.sequence
        return [Heard(announcement, since), *events]

    def receive_earlier(self, data: bytes) -> list[Event]:
        """Take in an announcement that precedes what was heard of its sender.

        It comes from a walk back along the links, so neither its age nor its being no news
        speaks against it. Where it has a model and no later one is known, that is offered.

        Returns
        -------
        list of Event
            Recalled or Ignored.
        """
        try:
            opened = open_announcement(bytes(data[: MAX_ANNOUNCEMENT_NBYTES + 1]))
        except AnnouncementError as error:
            return [Ignored(Reason.MALFORMED, None, str(error))]
        reason = objection(EARLIER, self._case(opened))
        if reason is None and not opened.verified():
            reason = Reason.FORGED
        if reason is not None:
            return [Ignored(reason, opened.announcement.peer_id)]
        self._memory.recall(opened.announcement)
        return [Recalled(opened.announcement)]

    def _case(self, opened: Opened) -> Case:
        last = self._memory.known.get(opened.announcement.peer_id)
        return Case(
            opened, last, self.charter, self.peer_id, self._chain.sequence, self.schema_digest
        )

    # -- what is said ------------------------------------------------------------------

    def announce(
        self,
        payload: bytes | None,
        *,
        kind: Kind,
        round: int,
        samples: int,
        loss: float | None,
        addresses: Iterable[str],
        now: float,
    ) -> list[Event]:
        """Sign the next announcement.

        Addresses, best first, beyond what an announcement has room for are left out.

        Returns
        -------
        list of Event
            Publish, then a Drop for every own payload beyond those the charter keeps.

        Raises
        ------
        ValueError
            If a value is out of its range; nothing has changed then.
        """
        return self._chain.say(
            Announcement(
                swarm_id=self.charter.swarm_id,
                peer_id=self.peer_id,
                sequence=0,
                previous=None,
                kind=kind,
                round=round,
                payload=payload,
                schema_digest=self.schema_digest,
                codec=self.charter.gossip.codec,
                samples=samples,
                loss=None if loss is None else float(loss),
                addresses=fit_addresses(addresses),
                time=float(now),
            )
        )

    def make_room(self) -> list[Event]:
        """Return a Drop for what the charter no longer keeps once the next payload is stored."""
        return self._chain.make_room()

    def republish(self, now: float) -> list[Event]:
        """Repeat the last announcement, for peers that missed it; empty before the first.

        One that is about to become too old for others is signed anew first.
        """
        last, head = self._chain.last(), self._chain.head
        if last is None or head is None:
            return []
        if abs(last.time - now) > self.charter.gossip.max_clock_skew_s / 2:
            return self._chain.say(replace(last, time=float(now)))
        return self._chain.publish(last, head)

    def restore_head(self, head: bytes) -> list[Event]:
        """Take over our last announcement as it was found on disk after a restart.

        Returns
        -------
        list of Event
            Publish of the same bytes and perhaps Drop; empty if the state knows a later one;
            Ignored if these bytes are no announcement of ours.
        """
        try:
            opened = open_announcement(bytes(head))
        except AnnouncementError as error:
            return [Ignored(Reason.MALFORMED, None, str(error))]
        announcement = opened.announcement
        if announcement.swarm_id != self.charter.swarm_id:
            return [Ignored(Reason.OTHER_SWARM, announcement.peer_id)]
        if announcement.peer_id != self.peer_id or not opened.verified():
            return [Ignored(Reason.FORGED, announcement.peer_id)]
        if announcement.sequence < self._chain.sequence:
            return []
        return self._chain.publish(announcement, bytes(head))

    # -- what is fetched ---------------------------------------------------------------

    def wanted(
        self, now: float, limit: int | None = None, *, only_new: bool = False
    ) -> list[Fetch]:
        """Choose what to fetch next: at most `fan_in` less what is under way, and `limit`.

        A fetch that has been under way for long counts no more, so that the others need not wait
        for a peer that does not answer; of these there are at most two.

        Peers of whom nothing is remembered yet come first: until each is heard once, the mean
        is not over the whole swarm. Otherwise the draw is even, or, with `only_new`, empty: a
        newcomer needs one model of each and not the newest of all. Every fetch returned counts as
        under way until `fetched` is called for it, or for an hour: take only what you will fetch.
        """
        memory, gossip = self._memory, self.charter.gossip
        memory.give_up(now)
        candidates = memory.candidates(self._round, gossip.max_staleness, now)
        room = gossip.fan_in - memory.n_under_way(now)
        room = room if limit is None else min(room, limit)
        new = [peer_id for peer_id in candidates if peer_id not in memory.remembered]
        chosen = choose(self.peer_id, self._round, new, room)
        known = set() if only_new else candidates.keys() - set(new)
        chosen += choose(self.peer_id, self._round, known, room - len(chosen))
        return [memory.start(peer_id, candidates[peer_id], now) for peer_id in chosen]

    def fetched(
        self,
        fetch: Fetch,
        accepted: bool,
        reason: str | None = None,
        now: float = 0.0,
        *,
        reachable: bool = True,
    ) -> list[Event]:
        """Report how a fetch went.

        Parameters
        ----------
        accepted
            Whether the payload passed the gate: it is remembered from now on.
        reason
            Text for people, where it did not.
        reachable
            False if there was nothing to gate: it will be tried again, a few times.

        Returns
        -------
        list of Event
            Accepted or Rejected, and Forgot for models that had to go; empty for a fetch that
            is not under way.
        """
        if not self._memory.finish(fetch):
            return []
        if accepted:
            forgot = self._memory.keep(fetch, self._round)
            return [Accepted(fetch.peer_id, fetch.cid, fetch.round), *forgot]
        self._memory.failed(fetch, now, final=reachable)
        why = Reason.REFUSED if reachable else Reason.UNREACHABLE
        return [Rejected(fetch.peer_id, fetch.cid, why, reason or "")]

    def forget(self, peer_id: str) -> list[Event]:
        """Let go of a peer's remembered model, for instance because its bytes are lost.

        It becomes a candidate for fetching again.
        """
        return list(self._memory.forget(peer_id))

    # -- what is merged ----------------------------------------------------------------

    def contributions(self) -> list[Contribution]:
        """List the remembered models by peer id, each with its weight."""
        decay = self.charter.gossip.decay
        return [
            Contribution(
                kept.peer_id,
                kept.cid,
                kept.round,
                kept.samples,
                kept.samples * decay ** max(self._round - kept.round, 0),
            )
            for _, kept in sorted(self._memory.remembered.items())
        ]

    def advance(self, round: int) -> None:
        """Set our count of rounds.

        Raises
        ------
        ValueError
            If it is lower than it was, or out of range.
        """
        if not self._round <= round <= MAX_ROUND:
            raise ValueError(f"round {round} cannot follow round {self._round}")
        self._round = round

    def adopt_round(self) -> int:
        """Take over the swarm's round, never going back, and return ours.

        It is the lower median of the remembered models' rounds, and at most the charter's
        `rounds`: who is heard alone may claim any, and our own must still be able to follow.
        """
        rounds = sorted(kept.round for kept in self._memory.remembered.values())
        if rounds:
            median = rounds[(len(rounds) - 1) // 2]
            self.advance(max(self._round, min(median, self.charter.training.rounds)))
        return self._round

    def snapshot(self) -> PeerState:
        """Return everything that has to survive a restart."""
        return PeerState(
            swarm_id=self.charter.swarm_id,
            peer_id=self.peer_id,
            sequence=self._chain.sequence,
            head=self._chain.head,
            round=self._round,
            published=tuple(self._chain.published),
            known=tuple(self._memory.known.values()),
            remembered=tuple(self._memory.remembered.values()),
        )

"""What a peer knows of the others, within bounds: records, fetches, failures, models.

Nothing here judges a message; `learnae.swarm.peer` does. Dictionaries are kept in the order of
last change, so that the first entry is the one to give up.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

from learnae.swarm.announcement import Announcement, Kind
from learnae.swarm.events import Fetch, Forgot
from learnae.swarm.state import MAX_KNOWN, Known, Offer, Remembered

__all__ = ["GIVE_UP_S", "Memory"]

_MAX_FAILURES = 4096
_NEVER = float("inf")
# Seconds until an unreachable payload is tried again, and how often: a peer that is merely
# restarting is back within these, and one that is gone costs four attempts.
_RETRY_S = (1.0, 4.0, 16.0)
# After so many refused payloads in a row a peer's next one waits for 1 s, then for 2, and so on:
# to fetch them is what somebody who makes them costs the others.
_REFUSALS, _LONGEST_S = 2, 16.0
#: A fetch that nobody answered for so long was lost by our own program: its place is free again.
#: Longer than any fetch may take: the largest models on the slowest links need many minutes.
GIVE_UP_S = 3600.0
# A fetch under way for so long has a slow or dead link behind it, and its place is given to
# another; but a small machine on a slow line should not be made to fetch a dozen models at once.
_SLOW_S = 5.0
_MAX_SLOW = 2


class Memory:
    """The bounded memory of one peer; `remember` is how many models it may hold."""

    def __init__(
        self, remember: int, known: Iterable[Known] = (), remembered: Iterable[Remembered] = ()
    ) -> None:
        self._remember = remember
        self.known = {record.peer_id: record for record in known}
        self.remembered = {kept.peer_id: kept for kept in remembered}
        for peer_id in list(self.remembered)[: -self._remember]:
            self.forget(peer_id)
        self.in_flight: dict[str, Fetch] = {}
        self._since: dict[str, float] = {}
        self._failures: dict[tuple[str, bytes], tuple[int, float]] = {}
        self._refusals: dict[str, tuple[int, float]] = {}

    def record(self, announcement: Announcement, cid: bytes, now: float) -> None:
        """Replace what is known of a peer, and make room if there are too many."""
        a = announcement
        before = self.known.pop(a.peer_id, None)
        offer = None if before is None else before.offer
        if a.kind is Kind.WEIGHTS and a.payload is not None:
            offer = Offer(a.payload, a.sequence, a.round, a.samples, a.addresses)
        gone = a.kind is Kind.BYE
        self.known[a.peer_id] = Known(a.peer_id, a.sequence, cid, now, gone, offer)
        if len(self.known) > MAX_KNOWN:
            for peer_id in self.known:
                if peer_id not in self.remembered and peer_id not in self.in_flight:
                    del self.known[peer_id]
                    break

    def recall(self, announcement: Announcement) -> None:
        """Take an earlier announcement's model as the offer of its peer, if there is no later."""
        a, record = announcement, self.known[announcement.peer_id]
        later = record.offer is not None and record.offer.sequence >= a.sequence
        if a.kind is Kind.WEIGHTS and a.payload is not None and not later:
            offer = Offer(a.payload, a.sequence, a.round, a.samples, a.addresses)
            self.known[a.peer_id] = replace(record, offer=offer)

    def start(self, peer_id: str, offer: Offer, now: float) -> Fetch:
        """Note that a fetch is under way, and return it."""
        o = offer
        fetch = Fetch(peer_id, o.cid, o.round, o.samples, o.sequence, o.addresses)
        self.in_flight[peer_id], self._since[peer_id] = fetch, now
        return fetch

    def finish(self, fetch: Fetch) -> bool:
        """Note that a fetch is over; False if it was not under way."""
        if self.in_flight.get(fetch.peer_id) != fetch:
            return False
        del self.in_flight[fetch.peer_id], self._since[fetch.peer_id]
        return True

    def n_under_way(self, now: float) -> int:
        """Count the fetches under way, the slow ones only where they are too many."""
        n_slow = sum(now - since > _SLOW_S for since in self._since.values())
        return len(self.in_flight) - min(n_slow, _MAX_SLOW)

    def give_up(self, now: float) -> None:
        """End the fetches that were never answered, as if they had not been reachable."""
        for fetch in list(self.in_flight.values()):
            if now - self._since[fetch.peer_id] > GIVE_UP_S:
                self.finish(fetch)
                self.failed(fetch, now, final=False)

    def candidates(self, own_round: int, max_staleness: int, now: float) -> dict[str, Offer]:
        """Return, by peer id, the offers that may be fetched now."""
        full = len(self.remembered) >= self._remember
        floor = self._stalest().freshness if full else -1
        found: dict[str, Offer] = {}
        for peer_id, record in self.known.items():
            offer = record.offer
            if offer is None or peer_id in self.in_flight:
                continue
            if self._refusals.get(peer_id, (0, now))[1] > now:
                continue
            kept = self.remembered.get(peer_id)
            if kept is not None and kept.cid == offer.cid:
                continue
            if kept is None and min(offer.round, own_round) <= floor:
                continue
            if max_staleness and own_round - offer.round > max_staleness:
                continue
            if self._failures.get((peer_id, offer.cid), (0, now))[1] <= now:
                found[peer_id] = offer
        return found

    def failed(self, fetch: Fetch, now: float, *, final: bool) -> None:
        """Note a failure, and with it when the same payload may be tried again."""
        key = fetch.peer_id, fetch.cid
        times = self._failures.pop(key, (0, now))[0]
        wait_s = _NEVER if final or times >= len(_RETRY_S) else _RETRY_S[times]
        self._failures[key] = times + 1, now + wait_s
        if len(self._failures) > _MAX_FAILURES:
            del self._failures[next(iter(self._failures))]
        if final:
            self._refuse(fetch.peer_id, now)

    def _refuse(self, peer_id: str, now: float) -> None:
        times = self._refusals.pop(peer_id, (0, 0.0))[0] + 1
        wait_s = 2.0 ** min(times - _REFUSALS, 10) if times >= _REFUSALS else 0.0
        self._refusals[peer_id] = times, now + min(wait_s, _LONGEST_S)
        if len(self._refusals) > _MAX_FAILURES:
            del self._refusals[next(iter(self._refusals))]

    def keep(self, fetch: Fetch, own_round: int) -> list[Forgot]:
        """Remember an accepted payload; return what had to go for it."""
        self._failures.pop((fetch.peer_id, fetch.cid), None)
        self._refusals.pop(fetch.peer_id, None)
        forgot = self.forget(fetch.peer_id)
        self.remembered[fetch.peer_id] = Remembered(
            fetch.peer_id, fetch.cid, fetch.sequence, fetch.round, fetch.samples, own_round
        )
        while len(self.remembered) > self._remember:
            forgot += self.forget(self._stalest().peer_id)
        return forgot

    def forget(self, peer_id: str) -> list[Forgot]:
        """Let go of a peer's remembered payload, if there is one."""
        kept = self.remembered.pop(peer_id, None)
        return [] if kept is None else [Forgot(peer_id, kept.cid)]

    def _stalest(self) -> Remembered:
        return min(self.remembered.values(), key=lambda kept: kept.freshness)  # the first of equals

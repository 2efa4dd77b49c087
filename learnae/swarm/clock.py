"""Is it our clock or theirs? A vote among the peers heard, with old news kept out of it.

A time in the future proves that one of two clocks is wrong. A time in the past proves nothing by
itself, because transports keep announcements and a swarm may be resumed after a week; it counts
only where the sender's times move on along with ours, that is, where the sender is alive.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from enum import Enum

from learnae.swarm.events import ClockSuspect

__all__ = ["ClockWatch"]

_MAX_PEERS = 1024
_LIVE_S = 0.1  # two announcements this far apart can show that both clocks run
_LIVE_TOLERANCE = 0.5  # polling blurs the times of arrival; this part of the interval is forgiven


class _Vote(Enum):
    AGREES = 0
    AHEAD = 1
    BEHIND = -1
    NO_EVIDENCE = 2


@dataclass(frozen=True)
class _Sight:
    """One peer's clock: what it said when we first looked, how far it is off, what that means."""

    seen_at: float
    said: float
    skew_s: float
    vote: _Vote


class ClockWatch:
    """Collects how far other peers' clocks are off, and says so once when most of them are."""

    def __init__(self, max_skew_s: float) -> None:
        self._max_skew_s = max_skew_s
        self._sights: dict[str, _Sight] = {}
        self._votes: Counter[_Vote] = Counter()
        self._suspected = False

    def within(self, time: float, now: float) -> bool:
        """Tell whether a time of signing is near enough to ours."""
        return abs(time - now) <= self._max_skew_s

    def see(self, peer_id: str, time: float, now: float) -> ClockSuspect | None:
        """Take note of a verified announcement's time; return a suspicion when it arises."""
        before = self._sights.get(peer_id)
        vote = self._vote(before, time, now)
        if before is None:
            before = _Sight(now, time, 0.0, vote)
        # A transport hands over in one go what it has kept: the latest of that is the reference.
        fresh = now - before.seen_at < _LIVE_S
        said = max(before.said, time) if fresh else before.said
        self._remove(peer_id)
        self._sights[peer_id] = _Sight(before.seen_at, said, time - now, vote)
        self._votes[vote] += 1
        if len(self._sights) > _MAX_PEERS:
            self._remove(next(iter(self._sights)))
        suspicion = self.suspicion()
        first, self._suspected = not self._suspected, suspicion is not None
        return suspicion if first else None

    def suspicion(self) -> ClockSuspect | None:
        """Return what most of the peers heard so far say of our clock, if they disagree."""
        n_known = len(self._sights) - self._votes[_Vote.NO_EVIDENCE]
        for vote in (_Vote.AHEAD, _Vote.BEHIND):
            if 2 * self._votes[vote] > n_known:
                skews = sorted(s.skew_s for s in self._sights.values() if s.vote is vote)
                return ClockSuspect(skews[len(skews) // 2], len(skews))
        return None

    def _remove(self, peer_id: str) -> None:
        sight = self._sights.pop(peer_id, None)
        if sight is not None:
            self._votes[sight.vote] -= 1

    def _vote(self, before: _Sight | None, time: float, now: float) -> _Vote:
        if self.within(time, now):
            return _Vote.AGREES
        if time > now:
            return _Vote.AHEAD
        if before is not None and now - before.seen_at >= _LIVE_S:
            ours, theirs = now - before.seen_at, time - before.said
            if abs(theirs - ours) <= _LIVE_TOLERANCE * ours:
                return _Vote.BEHIND
        return _Vote.NO_EVIDENCE

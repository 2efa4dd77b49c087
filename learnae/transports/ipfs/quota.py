"""How much one daemon may say: a flood is thrown away before it costs anything to read.

A member that sends thousands of messages a second would otherwise take from every other peer the
time to parse, open and verify them. What an honest sender loses by this comes again: its counter
tells that something is missing, and whoever misses it asks. Where it is a flood by any measure,
its daemon is kept out (`learnae.transports.ipfs.barring`).
"""

from __future__ import annotations

from collections import OrderedDict

from learnae.transports.ipfs.barring import Bars

__all__ = ["BURST", "FLOOD_BURST", "FLOOD_PER_S", "PER_S", "Quota"]

#: Messages a second, and at once, of one daemon. A peer says one thing a round, and repeats eight
#: when it is asked, at most twice a second; a few peers may share a daemon.
PER_S, BURST = 50.0, 100.0
#: What is a flood: more than four peers say that share a daemon and always have something to say
#: (`learnae.transports.ipfs.pubsub.SAY_PER_S`). So much costs a peer and its daemon together a
#: thirtieth of a core, half a millisecond a message.
FLOOD_PER_S, FLOOD_BURST = 60.0, 250.0
#: Where nothing could be read for a while, what has waited comes at once: it is allowed for, for so
#: long after.
_BACKLOG_S = 10.0
_SENDERS = 1024
_FROM = b'"from":"'


class Quota:
    """Two buckets of tokens for each sender, found in a line without parsing it.

    Parameters
    ----------
    bars
        Where daemons that flood are reported, and who is not heard at all.
    """

    def __init__(self, bars: Bars | None = None) -> None:
        self._bars = bars
        self._buckets: OrderedDict[bytes, tuple[float, float, float]] = OrderedDict()
        self._last: float | None = None
        self._gap_s, self._gap_ends = 0.0, 0.0

    def admits(self, line: bytes, now: float) -> bool:
        """Whether a line of ``pubsub/sub`` is within its sender's quota."""
        start = line.find(_FROM)
        if start < 0:
            return False  # nothing that a daemon says
        start += len(_FROM)
        sender = line[start : line.find(b'"', start)]
        most = FLOOD_BURST + FLOOD_PER_S * self._backlog_s(now)
        tokens, patience, since = self._buckets.pop(sender, (BURST, most, now))
        tokens = min(BURST, tokens + PER_S * (now - since))
        patience = min(max(most, patience), patience + FLOOD_PER_S * (now - since)) - 1.0
        admitted = tokens >= 1.0
        self._buckets[sender] = tokens - admitted, max(0.0, patience), now
        if len(self._buckets) > _SENDERS:
            self._buckets.popitem(last=False)
        return not self._is_kept_out(sender, patience, now) and admitted

    def _backlog_s(self, now: float) -> float:
        """Return of how many seconds the messages may be that are read at once now."""
        gap_s = 0.0 if self._last is None else now - self._last
        self._last = now
        if gap_s > self._gap_s or now > self._gap_ends:
            self._gap_s, self._gap_ends = gap_s, now + _BACKLOG_S
        return self._gap_s

    def _is_kept_out(self, sender: bytes, patience: float, now: float) -> bool:
        if self._bars is None:
            return False
        peer = sender.decode("ascii", "replace")
        if patience < 0.0 or peer in self._bars:
            self._bars.bar(peer, now)
        return peer in self._bars

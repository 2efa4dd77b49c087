"""How much one daemon may say: a flood is thrown away before it costs anything to read.

A member that sends thousands of messages a second would otherwise take from every other peer the
time to parse, open and verify them. What an honest sender loses by this comes again: its counter
tells that something is missing, and whoever misses it asks.
"""

from __future__ import annotations

from collections import OrderedDict

__all__ = ["BURST", "PER_S", "Quota"]

#: Messages a second, and at once, of one daemon. A peer says one thing a round, and repeats eight
#: when it is asked, at most twice a second; a few peers may share a daemon.
PER_S, BURST = 50.0, 100.0
_SENDERS = 1024
_FROM = b'"from":"'


class Quota:
    """A bucket of tokens for each sender, found in a line without parsing it."""

    def __init__(self) -> None:
        self._buckets: OrderedDict[bytes, tuple[float, float]] = OrderedDict()

    def admits(self, line: bytes, now: float) -> bool:
        """Whether a line of ``pubsub/sub`` is within its sender's quota."""
        start = line.find(_FROM)
        if start < 0:
            return False  # nothing that a daemon says
        start += len(_FROM)
        sender = line[start : line.find(b'"', start)]
        tokens, since = self._buckets.pop(sender, (BURST, now))
        tokens = min(BURST, tokens + PER_S * (now - since))
        admitted = tokens >= 1.0
        self._buckets[sender] = tokens - admitted, now
        if len(self._buckets) > _SENDERS:
            self._buckets.popitem(last=False)
        return admitted

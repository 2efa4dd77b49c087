"""Announcements as a chain in the store: ours kept for others, and the others' walked back.

Pubsub loses messages, and a subscription may be lost for a while. What is lost with them is no
history that anybody needs: of each peer only the newest model counts. So a chain is walked back
from an announcement without a model (a greeting, a farewell) to the newest one that has one, or to
what had been heard before. Where the transport keeps no nodes there is nothing to walk, and the
next model of that peer makes up for it.
"""

from __future__ import annotations

import logging
import math
import time
from collections import OrderedDict, deque
from collections.abc import Callable
from dataclasses import dataclass

from learnae.errors import AnnouncementError, TransportError
from learnae.swarm import Announcement, Kind
from learnae.swarm.announcement import announcement_cid, open_announcement
from learnae.swarm.trust import short
from learnae.transports import Transport
from learnae.transports.seam import Nodes

__all__ = ["KEEP_NODES", "History"]

log = logging.getLogger("learnae.node")

#: Own announcements kept for others, and how far another's chain is walked.
KEEP_NODES = 64
# A chain that cannot be walked costs its sender, not us: the wait for one node, once a minute.
NODE_DEADLINE_S = 2.0
PENALTY_S = 60.0
_MAX_GAPS = 256
_MAX_STEPS = 8
# A chain whose nodes come slowly, one after the other, cannot be told from one behind a slow link;
# but the thread that walks it also says what we have to say. So a walk ends with the first node
# after NODE_DEADLINE_S, and one that took long is followed by a pause of three times its length.
_PAUSE = 3.0
_QUICK_S = 0.25


@dataclass
class _Gap:
    """Announcements of one peer that were missed.

    `cid` is the newest of them, `floor` the sequence number heard before the oldest, and `left`
    how many may still be read.
    """

    cid: bytes
    floor: int
    left: int = KEEP_NODES


class History:
    """The chains that one peer stores and reads; all calls from one thread at a time.

    Parameters
    ----------
    clock
        Tells how long a walk has taken, in seconds.
    """

    def __init__(self, transport: Transport, clock: Callable[[], float] = time.monotonic) -> None:
        self._nodes = transport if isinstance(transport, Nodes) else None
        self._clock, self._not_before = clock, -math.inf
        self._own: deque[bytes] | None = None
        self._gaps: OrderedDict[str, _Gap] = OrderedDict()
        self._penalty: OrderedDict[str, float] = OrderedDict()

    def keep(self, data: bytes) -> None:
        """Store an own announcement as a node, and drop the one that is `KEEP_NODES` older."""
        if self._nodes is None:
            return
        try:
            if self._own is None:
                self._own = self._stored_before(data)
            self._nodes.put_node(data)
            cid = announcement_cid(data)
            if cid not in self._own:
                self._own.append(cid)
            while len(self._own) > KEEP_NODES:
                self._nodes.drop_node(self._own.popleft())
        except TransportError as error:
            # Whoever hears the announcement itself does not need the node.
            log.warning("an announcement was not stored: %s", error)

    def _stored_before(self, data: bytes) -> deque[bytes]:
        """Find the nodes that an earlier process of this peer has left, oldest first."""
        assert self._nodes is not None
        found: deque[bytes] = deque()
        previous = open_announcement(data).announcement.previous
        while previous is not None and len(found) < KEEP_NODES:
            try:
                node = self._nodes.get_node(previous, NODE_DEADLINE_S)
                found.appendleft(previous)
                previous = open_announcement(node).announcement.previous
            except (TransportError, AnnouncementError):
                break
        return found

    def note(self, announcement: Announcement, since: int, now: float) -> None:
        """Take note of what was heard, and whether a model may have been missed before it.

        Parameters
        ----------
        since
            The sequence number heard last from this peer; 0 for none.
        """
        peer_id, previous = announcement.peer_id, announcement.previous
        if announcement.kind is Kind.WEIGHTS:
            self._gaps.pop(peer_id, None)  # older models do not count any more
        elif (
            announcement.sequence - since > 1
            and previous is not None
            and self._penalty.get(peer_id, 0.0) <= now
        ):
            before = self._gaps.pop(peer_id, None)
            self._gaps[peer_id] = _Gap(previous, since if before is None else before.floor)
            if len(self._gaps) > _MAX_GAPS:
                self._gaps.popitem(last=False)

    def catch_up(self, receive: Callable[[bytes], Announcement | None], now: float) -> None:
        """Walk a few steps back along the chains that `note` has found to be incomplete.

        Parameters
        ----------
        receive
            Gives a node to the protocol, and returns the announcement if it was taken.
        """
        began = self._clock()
        if self._nodes is None or not self._gaps or began < self._not_before:
            return
        self._walk(self._nodes, receive, began + NODE_DEADLINE_S, now)
        ended = self._clock()
        if ended - began > _QUICK_S:
            self._not_before = ended + _PAUSE * (ended - began)

    def _walk(
        self,
        nodes: Nodes,
        receive: Callable[[bytes], Announcement | None],
        end: float,
        now: float,
    ) -> None:
        for _ in range(_MAX_STEPS):
            if not self._gaps or self._clock() >= end:
                return
            peer_id, gap = self._gaps.popitem(last=False)
            try:
                found = receive(nodes.get_node(gap.cid, NODE_DEADLINE_S))
            except TransportError as error:
                self._punish(peer_id, str(error), now)
                return
            if found is None or found.peer_id != peer_id:
                self._punish(peer_id, "it is no announcement of theirs", now)
            elif self._goes_on(found, gap) and found.previous is not None:
                self._gaps[peer_id] = _Gap(found.previous, gap.floor, gap.left - 1)

    @staticmethod
    def _goes_on(found: Announcement, gap: _Gap) -> bool:
        return found.kind is not Kind.WEIGHTS and found.sequence > gap.floor + 1 and gap.left > 1

    def _punish(self, peer_id: str, reason: str, now: float) -> None:
        log.info("what %s said before is not to be had: %s", short(peer_id), reason)
        self._penalty[peer_id] = now + PENALTY_S
        self._penalty.move_to_end(peer_id)
        if len(self._penalty) > _MAX_GAPS:
            self._penalty.popitem(last=False)

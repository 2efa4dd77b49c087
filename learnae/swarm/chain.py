"""Our own announcements: the signed chain, its head, and the payloads it keeps alive."""

from __future__ import annotations

from dataclasses import replace

from learnae.swarm.announcement import Announcement, encode_announcement, open_announcement
from learnae.swarm.charter import Charter
from learnae.swarm.events import Drop, Event, Publish
from learnae.swarm.state import PeerState
from learnae.swarm.trust import Identity

__all__ = ["Chain"]


class Chain:
    """What we have said: sequence, last announcement, and CIDs that others may still fetch."""

    def __init__(self, charter: Charter, identity: Identity, state: PeerState) -> None:
        self.sequence = state.sequence
        self.head = state.head
        self.published = list(state.published)
        self._charter = charter
        self._identity = identity

    def last(self) -> Announcement | None:
        """Return our last announcement, or None before the first."""
        return None if self.head is None else open_announcement(self.head).announcement

    def say(self, draft: Announcement) -> list[Event]:
        """Sign a draft as the next announcement; its sequence and link are filled in here.

        Raises
        ------
        ValueError
            If a field is out of its range; nothing has changed then.
        """
        previous = None if self.head is None else open_announcement(self.head).cid
        announcement = replace(draft, sequence=self.sequence + 1, previous=previous)
        return self.publish(announcement, encode_announcement(announcement, self._identity))

    def make_room(self) -> list[Event]:
        """Return a Drop for each payload that would be beyond those kept if there were one more.

        Where one alone is kept it stays: without it there would be nothing to fetch.
        """
        excess = self.published[: 1 - max(2, self._charter.gossip.n_kept)]
        del self.published[: len(excess)]
        return [Drop(cid) for cid in excess]

    def publish(self, announcement: Announcement, data: bytes) -> list[Event]:
        """Make a signed announcement the head, and return it for publishing."""
        return [Publish(self._charter.topic, data), *self.take_over(announcement, data)]

    def take_over(self, announcement: Announcement, data: bytes) -> list[Event]:
        """Make a signed announcement the head; return a Drop for each payload beyond those kept."""
        self.sequence, self.head = announcement.sequence, data
        if announcement.payload is not None:
            if announcement.payload in self.published:
                self.published.remove(announcement.payload)
            self.published.append(announcement.payload)
        excess = self.published[: -self._charter.gossip.n_kept]
        del self.published[: len(excess)]
        return [Drop(cid) for cid in excess]

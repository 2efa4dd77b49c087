"""The seam between a node and whatever carries its bytes.

A transport is two small things: a *store* of immutable objects named by their CID, and a
*pubsub* of small messages by topic. `learnae.transports.memory` and
`learnae.transports.directory` implement both; anything else that does so passes the same
executable contract, ``tests/transports/contract.py``, and can be given to a node.

What holds for every implementation
-----------------------------------
Threads
    Every method may be called from any thread, also at the same time.
Failure
    Every failure of the outside world is a `learnae.errors.TransportError` of one line; a
    missing object is its subclass `learnae.errors.NotFound`. After ``close()`` every call but
    ``close()`` raises `TransportError`. A ``ValueError`` means that the caller broke the
    contract (a name or a topic that cannot exist, something that is not a CID).
Trust
    Messages are delivered as they came: any bytes. Objects are delivered only if they agree
    with their CID.
"""

from __future__ import annotations

import mmap
from collections.abc import Sequence
from typing import Protocol, TypeAlias, runtime_checkable

__all__ = [
    "MAX_MESSAGE_NBYTES",
    "MAX_NODE_NBYTES",
    "Buffer",
    "Nodes",
    "PubSub",
    "Reaching",
    "Store",
    "Subscription",
    "Transport",
]

Buffer: TypeAlias = bytes | bytearray | memoryview | mmap.mmap

#: Largest message that `PubSub.publish` takes. Four times what an announcement may measure
#: (1,000 bytes), and well below the 1 MB at which Kubo's pubsub drops messages silently.
MAX_MESSAGE_NBYTES = 4096

#: Largest node that `Nodes.put_node` takes: what fits a message fits a node.
MAX_NODE_NBYTES = MAX_MESSAGE_NBYTES


class Store(Protocol):
    """Immutable objects by content identifier."""

    def put(self, data: Buffer) -> bytes:
        """Store a copy of `data` and return its binary CID.

        Doing so again changes nothing except the object's place in ``owned()``, where it
        becomes the newest. Once the call has returned, every other peer can get the object.
        Empty objects are allowed.
        """
        ...

    def get(self, cid: bytes, max_nbytes: int, deadline_s: float) -> memoryview:
        """Fetch an object from whichever peer has it, verified against `cid`.

        Parameters
        ----------
        cid
            Binary CIDv1, as returned by ``put`` on any transport.
        max_nbytes
            A larger object is refused before any memory is allocated for it.
        deadline_s
            Seconds that the call may take, from now.

        Returns
        -------
        memoryview
            Read-only bytes, valid for as long as a reference is kept, whatever happens to
            the object afterwards (dropped, store closed, owner gone).

        Raises
        ------
        NotFound
            Nobody within reach has it.
        WrongObject
            Nobody has it as it should be, as far as that can be told: larger than `max_nbytes`,
            not sealed as all are, or put together so that `cid` is not its name here.
        TransportError
            Too slow, unreadable, or not (yet) the bytes that `cid` names.
        """
        ...

    def drop(self, cid: bytes) -> None:
        """Stop storing this peer's copy. Unknown objects are ignored; other peers' stay."""
        ...


class Subscription(Protocol):
    """Messages of one topic, from the moment of subscribing and the newest before it."""

    def take(self) -> list[bytes]:
        """Return what arrived since the last call, without waiting; possibly nothing.

        This peer's own messages are left out. Messages may be lost, repeated or out of order,
        but a transport without faults never loses the *newest* message of a peer, and a
        new subscription starts with the newest messages published before it.
        """
        ...

    def close(self) -> None:
        """End the subscription; ``take()`` then returns nothing. May be called again."""
        ...


class PubSub(Protocol):
    """Small messages by topic."""

    def publish(self, topic: str, data: bytes) -> None:
        """Send `data` to every subscriber of `topic`, now and (the newest few) later.

        Raises
        ------
        ValueError
            More than `MAX_MESSAGE_NBYTES` bytes, or a topic that no transport could carry:
            it must be 1 to 120 printable ASCII characters.
        """
        ...

    def subscribe(self, topic: str) -> Subscription:
        """Start to listen to `topic`."""
        ...


@runtime_checkable
class Transport(Store, PubSub, Protocol):
    """A store and a pubsub that belong to one named peer."""

    def addresses(self) -> tuple[str, ...]:
        """Multiaddrs at which other peers can reach this one, for its announcements.

        Empty where an address is neither needed nor meaningful to others.
        """
        ...

    def owned(self) -> list[bytes]:
        """Return the CIDs of the objects that this peer stores, the oldest ``put`` first."""
        ...

    def close(self) -> None:
        """Release everything but what is stored. May be called again."""
        ...


@runtime_checkable
class Nodes(Protocol):
    """Small linked nodes beside the objects. A capability that a transport may have or not."""

    def put_node(self, data: bytes) -> bytes:
        """Store a DAG-CBOR node of at most `MAX_NODE_NBYTES` and return its binary CID.

        ``owned()`` does not list nodes.
        """
        ...

    def get_node(self, cid: bytes, deadline_s: float) -> bytes:
        """Fetch a node from whoever has it, verified; fails as `Store.get` does."""
        ...

    def drop_node(self, cid: bytes) -> None:
        """Stop storing this peer's copy of a node."""
        ...


@runtime_checkable
class Reaching(Protocol):
    """Dialling peers by address. A capability that a transport may have or not."""

    def reach(self, addresses: Sequence[str]) -> None:
        """Try to connect to whoever is at `addresses`, in the background, and keep trying.

        Never waits and never fails: they are what somebody announced, and may be anything.
        """
        ...

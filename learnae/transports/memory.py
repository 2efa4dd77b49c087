"""A network inside one process, as bad as one likes, and the same every time.

`MemoryNetwork` connects any number of endpoints. Its faults are drawn from its seed, the
names of the two endpoints and a count per link: never from the clock, from hashes of
objects, or from the order in which different links are used. So a simulation with a
hand-moved clock repeats itself bit for bit, and a test with threads sees the same faults on
each link.

Examples
--------
>>> network = MemoryNetwork(seed=1)
>>> ann, bob = network.endpoint("ann"), network.endpoint("bob")
>>> heard = bob.subscribe("news")
>>> cid = ann.put(b"model")
>>> ann.publish("news", cid)
>>> bytes(bob.get(heard.take()[0], max_nbytes=100, deadline_s=1.0))
b'model'
"""

from __future__ import annotations

import hashlib
import heapq
import struct
import threading
import time
from collections import deque
from collections.abc import Callable

from learnae.errors import NotFound, TransportError, WrongObject
from learnae.transports.cid import DAG_CBOR, cid_of, cid_text, is_cid, node_cid
from learnae.transports.faults import Faults, Partition
from learnae.transports.seam import MAX_MESSAGE_NBYTES, MAX_NODE_NBYTES, Buffer

__all__ = ["Faults", "MemoryNetwork", "MemorySubscription", "MemoryTransport", "Partition"]

#: Messages of each peer that a later subscriber still receives, as in a directory.
_KEEP_MESSAGES = 8
#: A subscription that nobody takes from forgets its oldest messages beyond this.
_MAX_PENDING = 8192
#: How many messages a reordered one may let pass.
_OVERTAKEN = 8


class MemoryNetwork:
    """Endpoints that reach each other through memory.

    Parameters
    ----------
    seed
        Any integer; decides every fault.
    faults
        What goes wrong; nothing by default.
    clock
        Current time in seconds. With a hand-moved clock, jump to `next_event_time`.
    """

    def __init__(
        self,
        seed: int = 0,
        faults: Faults | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.faults = Faults() if faults is None else faults
        self._clock = clock
        self._seed = str(seed).encode()
        self._lock = threading.RLock()
        self._stores: dict[str, dict[bytes, bytes]] = {}  # kept while an endpoint is away
        self._open: dict[str, MemoryTransport] = {}
        self._subscriptions: dict[str, list[MemorySubscription]] = {}
        self._newest: dict[str, dict[str, deque[bytes]]] = {}
        self._n_draws: dict[tuple[str, str, str], int] = {}
        self._n_messages = 0

    def endpoint(self, name: str) -> MemoryTransport:
        """Connect `name`; after ``close()`` it may come back and finds its objects again.

        Raises
        ------
        TransportError
            An endpoint of this name is connected.
        """
        with self._lock:
            if name in self._open:
                raise TransportError(f"endpoint {name!r} is already connected: close it first")
            self._stores.setdefault(name, {})
            endpoint = self._open[name] = MemoryTransport(self, name)
            return endpoint

    def reachable(self, src: str, dst: str) -> bool:
        """Whether no partition separates two endpoints now."""
        now = self._clock()
        for start, end, groups in self.faults.partitions:
            if start <= now < end:
                sides = [next((i for i, g in enumerate(groups) if n in g), -1) for n in (src, dst)]
                if sides[0] != sides[1]:
                    return False
        return True

    def transfer_delay_s(self, src: str, dst: str) -> float:
        """Draw how long fetching an object from `src` takes for `dst`: two one-way delays.

        ``get`` itself never waits. A simulation that wants slow fetches draws this when a
        fetch begins, and calls ``get`` when the time has come.
        """
        with self._lock:
            draws = self._draws("transfer", src, dst)
            return self._delay(draws[0]) + self._delay(draws[1])

    def next_event_time(self) -> float | None:
        """When the next message can be taken, perhaps already now; None if none is under way."""
        with self._lock:
            times = [
                s._pending[0][0]
                for listening in self._subscriptions.values()
                for s in listening
                if s._pending
            ]
            return min(times, default=None)

    def _draws(self, kind: str, src: str, dst: str) -> tuple[float, ...]:
        """Return eight numbers in [0, 1) that only this use of this link will ever see."""
        link = (kind, src, dst)
        n = self._n_draws[link] = self._n_draws.get(link, 0) + 1
        text = b"\0".join((self._seed, kind.encode(), src.encode(), dst.encode(), str(n).encode()))
        return tuple(word / 2**64 for word in struct.unpack("<8Q", hashlib.blake2b(text).digest()))

    def _delay(self, draw: float) -> float:
        low, high = self.faults.delay_s
        return low + draw * (high - low)

    def _publish(self, src: str, topic: str, data: bytes) -> None:
        with self._lock:
            newest = self._newest.setdefault(topic, {})
            newest.setdefault(src, deque(maxlen=_KEEP_MESSAGES)).append(data)
            for subscription in self._subscriptions.get(topic, ()):
                self._send(src, data, subscription)

    def _subscribe(self, subscription: MemorySubscription, topic: str) -> None:
        with self._lock:
            self._subscriptions.setdefault(topic, []).append(subscription)
            for src, kept in sorted(self._newest.get(topic, {}).items()):
                for data in kept:
                    self._send(src, data, subscription)

    def _send(self, src: str, data: bytes, subscription: MemorySubscription) -> None:
        """Put a message on its way to one subscription, or lose it."""
        dst = subscription._name
        if src == dst or not self.reachable(src, dst):
            return
        lost, twice, late, *more = self._draws("message", src, dst)
        if lost < self.faults.loss:
            return
        now = self._clock()
        self._n_messages += 1
        if late < self.faults.reorder:
            when = now + self._delay(more[0]) + self._delay(more[1])
            subscription._add(when, self._n_messages + (1 + _OVERTAKEN * more[2]), data)
        else:
            when = max(now + self._delay(more[0]), subscription._last.get(src, now))
            subscription._last[src] = when
            subscription._add(when, self._n_messages, data)
        if twice < self.faults.duplicate:
            when = now + self._delay(more[3])
            subscription._add(when, self._n_messages + _OVERTAKEN * more[4], data)

    def _fetch(self, dst: str, cid: bytes, max_nbytes: int, kind: str = "fetch") -> bytes:
        """Find an object in a store within reach, and carry it through the faults."""
        with self._lock:
            data = self._stores[dst].get(cid)
            if data is not None:
                return _capped(data, cid, max_nbytes)
            failure: TransportError | None = None
            for src in sorted(self._open):
                data = self._stores[src].get(cid)
                if src == dst or data is None or not self.reachable(src, dst):
                    continue
                lost, damaged, where, *_ = self._draws(kind, src, dst)
                if lost < self.faults.loss:
                    failure = TransportError(f"{cid_text(cid)}: {src} did not answer")
                elif damaged < self.faults.damage:
                    return _flipped(_capped(data, cid, max_nbytes), where)
                else:
                    return _capped(data, cid, max_nbytes)
        raise failure or NotFound(f"{cid_text(cid)}: no peer within reach has it")


class MemoryTransport:
    """One endpoint of a `MemoryNetwork`; made by `MemoryNetwork.endpoint`."""

    def __init__(self, network: MemoryNetwork, name: str) -> None:
        self.name = name
        self.network = network
        self._closed = False

    def addresses(self) -> tuple[str, ...]:
        """Return the endpoint's name as a multiaddr."""
        return (f"/memory/{self.name}",)

    def put(self, data: Buffer) -> bytes:
        """Store a copy of `data`; see `learnae.transports.seam.Store.put`."""
        copy = bytes(data)
        cid = cid_of(copy)
        with self.network._lock:
            self._require_open()
            store = self.network._stores[self.name]
            store.pop(cid, None)  # so that it becomes the newest
            store[cid] = copy
        return cid

    def get(self, cid: bytes, max_nbytes: int, deadline_s: float) -> memoryview:
        """Fetch and verify an object at once; see `learnae.transports.seam.Store.get`."""
        self._require_open()
        _require_cid(cid)
        data = self.network._fetch(self.name, cid, max_nbytes)
        if cid_of(data) != cid:
            raise TransportError(f"{cid_text(cid)}: the bytes were damaged on the way")
        return memoryview(data)

    def drop(self, cid: bytes) -> None:
        """Forget this endpoint's copy; see `learnae.transports.seam.Store.drop`."""
        _require_cid(cid)
        with self.network._lock:
            self._require_open()
            self.network._stores[self.name].pop(cid, None)

    def owned(self) -> list[bytes]:
        """List this endpoint's objects, oldest first."""
        with self.network._lock:
            self._require_open()
            return [cid for cid in self.network._stores[self.name] if not _is_node(cid)]

    def put_node(self, data: bytes) -> bytes:
        """Store a node; see `learnae.transports.seam.Nodes.put_node`."""
        if len(data) > MAX_NODE_NBYTES:
            raise ValueError(f"a node of {len(data)} bytes: at most {MAX_NODE_NBYTES}")
        cid = node_cid(data)
        with self.network._lock:
            self._require_open()
            self.network._stores[self.name][cid] = bytes(data)
        return cid

    def get_node(self, cid: bytes, deadline_s: float) -> bytes:
        """Fetch and verify a node at once; see `learnae.transports.seam.Nodes.get_node`."""
        self._require_open()
        _require_cid(cid)
        data = self.network._fetch(self.name, cid, MAX_NODE_NBYTES, "node")
        if node_cid(data) != cid:
            raise TransportError(f"{cid_text(cid)}: the bytes were damaged on the way")
        return data

    def drop_node(self, cid: bytes) -> None:
        """Forget this endpoint's copy of a node."""
        self.drop(cid)

    def publish(self, topic: str, data: bytes) -> None:
        """Send a message; see `learnae.transports.seam.PubSub.publish`."""
        self._require_open()
        _require_topic(topic)
        if len(data) > MAX_MESSAGE_NBYTES:
            raise ValueError(f"a message of {len(data)} bytes: at most {MAX_MESSAGE_NBYTES}")
        self.network._publish(self.name, topic, bytes(data))

    def subscribe(self, topic: str) -> MemorySubscription:
        """Listen to a topic; see `learnae.transports.seam.PubSub.subscribe`."""
        self._require_open()
        _require_topic(topic)
        subscription = MemorySubscription(self, topic)
        self.network._subscribe(subscription, topic)
        return subscription

    def close(self) -> None:
        """Disconnect: nobody can fetch from here until the endpoint comes back."""
        with self.network._lock:
            if not self._closed:
                self._closed = True
                del self.network._open[self.name]
                for listening in self.network._subscriptions.values():
                    listening[:] = [s for s in listening if s._endpoint is not self]

    def _require_open(self) -> None:
        if self._closed:
            raise TransportError(f"endpoint {self.name!r} is closed")


class MemorySubscription:
    """Messages on their way to one endpoint."""

    def __init__(self, endpoint: MemoryTransport, topic: str) -> None:
        self._endpoint = endpoint
        self._name = endpoint.name
        self._topic = topic
        self._pending: list[tuple[float, float, int, bytes]] = []  # a heap
        self._last: dict[str, float] = {}  # per sender, when its last ordered message arrives
        self._n = 0
        self._closed = False

    def take(self) -> list[bytes]:
        """Return what has arrived by now; see `learnae.transports.seam.Subscription.take`."""
        network = self._endpoint.network
        with network._lock:
            if self._closed:
                return []
            self._endpoint._require_open()
            now = network._clock()
            messages = []
            while self._pending and self._pending[0][0] <= now:
                messages.append(heapq.heappop(self._pending)[3])
            return messages

    def close(self) -> None:
        """Stop listening."""
        with self._endpoint.network._lock:
            self._closed = True
            self._pending.clear()
            listening = self._endpoint.network._subscriptions.get(self._topic, [])
            listening[:] = [s for s in listening if s is not self]

    def _add(self, when: float, rank: float, data: bytes) -> None:
        self._n += 1  # decides between equals, so that bytes are never compared
        heapq.heappush(self._pending, (when, rank, self._n, data))
        if len(self._pending) > _MAX_PENDING:
            heapq.heappop(self._pending)


def _is_node(cid: bytes) -> bool:
    return cid[1] == DAG_CBOR


def _capped(data: bytes, cid: bytes, max_nbytes: int) -> bytes:
    if len(data) > max_nbytes:
        raise WrongObject(
            f"{cid_text(cid)} holds {len(data)} bytes, more than the {max_nbytes} accepted"
        )
    return data


def _flipped(data: bytes, draw: float) -> bytes:
    """Flip one bit; an empty object gains a byte."""
    bit = int(draw * len(data) * 8)
    copy = bytearray(data or b"\0")
    copy[bit // 8] ^= 1 << bit % 8
    return bytes(copy)


def _require_cid(cid: bytes) -> None:
    if not is_cid(cid):
        raise ValueError(f"{cid[:40].hex()} is not a CID: see learnae.transports.cid")


def _require_topic(topic: str) -> None:
    if not (0 < len(topic) <= 120 and topic.isascii() and topic.isprintable()):
        raise ValueError(f"{topic[:80]!r} is not a topic: 1 to 120 printable ASCII characters")

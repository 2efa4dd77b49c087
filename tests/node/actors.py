"""Peers for the tests of the node; import as `node.actors`."""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from learnae.errors import TransportError
from learnae.node.contribution import Contribution
from learnae.node.session import Session
from learnae.payload import Schema
from learnae.swarm import Charter, GossipSection, Identity, Kind, Peer, PeerState, TrainingSection
from learnae.transports import Transport
from learnae.transports.memory import MemoryNetwork, MemoryTransport
from learnae.transports.seam import Buffer, Subscription

__all__ = ["NOW", "SCHEMA", "Member", "N", "Unreliable", "charter", "full", "identity"]

Float32 = NDArray[np.float32]
N, NOW = 40, 1.8e9
SCHEMA = Schema.of({"w": np.zeros(N, np.float32)})


def identity(number: int) -> Identity:
    return Identity.from_private_bytes(hashlib.sha256(b"member %d" % number).digest())


def charter(name: str = "node", steps: int = 1, **gossip: object) -> Charter:
    section = GossipSection(**{"codec": "f32", **gossip})  # type: ignore[arg-type]
    return Charter(name=name, training=TrainingSection(steps=steps), gossip=section)


def full(value: float) -> Float32:
    return np.full(N, value, np.float32)


class Member:
    """A session with a peer over a memory network; its params are all of one value."""

    def __init__(
        self,
        network: MemoryNetwork,
        number: int,
        swarm: Charter,
        state: PeerState | None = None,
        wrap: Callable[[MemoryTransport], Transport] = lambda transport: transport,
    ) -> None:
        self.transport = wrap(network.endpoint(f"peer-{number}"))
        self.peer = Peer(swarm, identity(number), SCHEMA.digest, state)
        self.heads: list[bytes] = []
        self.session = Session(swarm, SCHEMA, self.peer, self.transport, self.heads.append)
        self.params = full(float(number))

    def publish(
        self, now: float = NOW, samples: int = 10, gradient: Float32 | None = None
    ) -> Contribution:
        """Finish a round."""
        payload = self.session.encode(self.params, gradient)
        self.session.advance(self.peer.round + 1)
        contribution = Contribution(payload, self.peer.round, samples, 0.5)
        self.session.publish(contribution, now)
        return contribution

    def announce(self, cid: bytes, now: float = NOW) -> None:
        """Announce any object as one's model."""
        self.peer.advance(self.peer.round + 1)
        (event, *_) = self.peer.announce(
            cid, kind=Kind.WEIGHTS, round=self.peer.round, samples=10, loss=None, addresses=(),
            now=now,
        )  # fmt: skip
        self.transport.publish(event.topic, event.data)  # type: ignore[union-attr]

    def hear(self, now: float = NOW) -> list[bool]:
        """Listen, and fetch whatever is wanted; say of each whether it was accepted."""
        self.session.listen(now)
        outcomes = []
        while fetches := self.session.wanted(now):
            outcomes += [self.session.fetch(fetch, self.params, now) for fetch in fetches]
        return outcomes

    def leave(self) -> None:
        self.session.close()
        self.transport.close()


class Unreliable:
    """A transport whose calls can be watched, made to fail, and made to wait.

    `calls` lists the names of what was called, `failing` those that raise, and a `get` waits
    for the event `gate`; `reached` is set when one does.
    """

    def __init__(self, inner: Transport) -> None:
        self.inner = inner
        self.calls: list[str] = []
        self.failing: dict[str, int] = {}
        self.gate = threading.Event()
        self.gate.set()
        self.reached = threading.Event()

    def _call(self, name: str) -> None:
        self.calls.append(name)
        left = self.failing.get(name, 0)
        if left:
            self.failing[name] = left - 1
            raise TransportError(f"{name} fails, as it was told to")

    def put(self, data: Buffer) -> bytes:
        self._call("put")
        return self.inner.put(data)

    def get(self, cid: bytes, max_nbytes: int, deadline_s: float) -> memoryview:
        self._call("get")
        self.reached.set()
        assert self.gate.wait(60.0)
        return self.inner.get(cid, max_nbytes, deadline_s)

    def drop(self, cid: bytes) -> None:
        self._call("drop")
        self.inner.drop(cid)

    def owned(self) -> list[bytes]:
        self._call("owned")
        return self.inner.owned()

    def publish(self, topic: str, data: bytes) -> None:
        self._call("publish")
        self.inner.publish(topic, data)

    def subscribe(self, topic: str) -> Subscription:
        return self.inner.subscribe(topic)

    def addresses(self) -> tuple[str, ...]:
        return self.inner.addresses()

    def close(self) -> None:
        self._call("close")
        self.inner.close()

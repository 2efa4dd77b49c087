"""Chains of announcements: stored for others, walked back by who missed some of them."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from learnae.node.contribution import Contribution
from learnae.node.history import KEEP_NODES, NODE_DEADLINE_S, PENALTY_S, History
from learnae.node.session import Session
from learnae.payload import Schema
from learnae.swarm import Charter, Identity, Kind, Peer, PeerState, decode_announcement
from learnae.swarm.announcement import announcement_cid, encode_announcement
from learnae.swarm.events import Fetch
from learnae.swarm.fields import Announcement
from learnae.transports import MemoryNetwork, Transport, cid_text
from learnae.transports.sealed import seal_transport
from learnae.transports.seam import Nodes

NOW = 1.8e9
PARAMS = {"w": np.arange(4, dtype=np.float32)}
SCHEMA = Schema.of(PARAMS)
CHARTER = Charter(name="test")
Open = Callable[[str], Transport]


@pytest.fixture(params=["plain", "sealed"])
def open_endpoint(request: pytest.FixtureRequest, tmp_path: Path) -> Open:
    network = MemoryNetwork(seed=3)

    def open_(name: str) -> Transport:
        endpoint = network.endpoint(name)
        if request.param == "plain":
            return endpoint
        last = tmp_path / f"{name}.chain"
        return seal_transport(endpoint, bytes(32), CHARTER.swarm_id, last=last)

    return open_


def identity(name: str) -> Identity:
    return Identity.from_private_bytes(hashlib.sha256(name.encode()).digest())


def session(transport: Transport, name: str, state: PeerState | None = None) -> Session:
    peer = Peer(CHARTER, identity(name), SCHEMA.digest, state)
    return Session(CHARTER, SCHEMA, peer, transport)


def publish(a_session: Session, round_: int) -> None:
    payload = a_session.encode(np.full(4, round_, np.float32), None)
    a_session.publish(Contribution(payload, round_, 10, 0.5), NOW)


def wanted_after_catching_up(a_session: Session) -> list[Fetch]:
    a_session.listen(NOW)
    assert a_session.wanted(NOW) == []
    for _ in range(KEEP_NODES):
        a_session.catch_up(NOW)
    return a_session.wanted(NOW)


@pytest.mark.parametrize("n_greetings", [9, 40])
def test_a_late_joiner_walks_back_to_the_model(open_endpoint: Open, n_greetings: int) -> None:
    """It hears the newest few messages only, and none of them has a model."""
    ann, bob = session(open_endpoint("ann"), "ann"), session(open_endpoint("bob"), "bob")
    publish(ann, 1)
    publish(ann, 2)
    for _ in range(n_greetings):
        ann.say(Kind.HELLO, NOW)
    late = session(open_endpoint("late"), "late")
    (fetch,) = wanted_after_catching_up(late)
    assert fetch.round == 2
    assert late.heard_weights
    assert late.fetch(fetch, np.ones(4, np.float32), NOW)
    del bob


def test_who_was_away_walks_back_to_what_it_had_heard(open_endpoint: Open) -> None:
    ann, bob = session(open_endpoint("ann"), "ann"), session(open_endpoint("bob"), "bob")
    publish(ann, 1)
    bob.listen(NOW)
    (fetch,) = bob.wanted(NOW)
    assert bob.fetch(fetch, np.ones(4, np.float32), NOW)
    bob.close()
    publish(ann, 2)
    for _ in range(20):
        ann.say(Kind.HELLO, NOW)
    again = session(bob.transport, "bob", bob.peer.snapshot())
    (fetch,) = wanted_after_catching_up(again)
    assert (fetch.round, fetch.peer_id) == (2, ann.peer.peer_id)


def test_an_older_model_never_replaces_a_newer_one(open_endpoint: Open) -> None:
    ann, bob = session(open_endpoint("ann"), "ann"), session(open_endpoint("bob"), "bob")
    publish(ann, 1)
    nodes = [ann.peer.head]
    publish(ann, 2)
    bob.listen(NOW)
    assert nodes[0] is not None
    (event,) = bob.peer.receive_earlier(nodes[0])
    (fetch,) = bob.wanted(NOW)
    assert fetch.round == 2
    assert type(event).__name__ == "Recalled"


def test_the_newest_nodes_are_kept_also_across_a_restart(open_endpoint: Open) -> None:
    transport = open_endpoint("ann")
    assert isinstance(transport, Nodes)
    ann = session(transport, "ann")
    cids = []
    for i in range(2 * KEEP_NODES):
        if i == KEEP_NODES + 20:
            transport.close()
            transport = open_endpoint("ann")
            ann = session(transport, "ann", ann.peer.snapshot())
            assert ann.peer.head is not None
            ann.republish(ann.peer.head)
        ann.say(Kind.HELLO, NOW)
        assert ann.peer.head is not None
        cids.append(announcement_cid(ann.peer.head))
    endpoint = transport.inner if hasattr(transport, "inner") else transport
    stored = endpoint.network._stores["ann"]
    assert len(stored) == KEEP_NODES
    assert isinstance(transport, Nodes)
    newest = decode_announcement(transport.get_node(cids[-1], 1.0))
    walked = [newest]
    while len(walked) < KEEP_NODES:
        assert walked[-1].previous is not None
        walked.append(decode_announcement(transport.get_node(walked[-1].previous, 1.0)))
    assert [a.sequence for a in walked] == list(range(2 * KEEP_NODES, KEEP_NODES, -1))


def test_a_plain_node_has_real_links() -> None:
    """What `ipfs dag get` shows as {"/": "bafy..."}: tag 42 before both CIDs."""
    network = MemoryNetwork(seed=3)
    ann = session(network.endpoint("ann"), "ann")
    publish(ann, 1)
    publish(ann, 2)
    head = ann.peer.head
    assert head is not None
    node = network.endpoint("bob").get_node(announcement_cid(head), 1.0)
    announcement = decode_announcement(node)
    assert announcement.previous is not None and announcement.payload is not None
    for cid in (announcement.previous, announcement.payload):
        assert b"\xd8\x2a\x58\x25\x00" + cid in node, cid_text(cid)


class CountingNodes:
    """A transport on which no node is ever found, and that counts how often it was asked."""

    def __init__(self, inner: Transport) -> None:
        self.inner = inner
        self.asked: list[float] = []

    def __getattr__(self, name: str) -> object:
        return getattr(self.inner, name)

    def put_node(self, data: bytes) -> bytes:
        raise AssertionError("nothing is said here")

    def get_node(self, cid: bytes, deadline_s: float) -> bytes:
        self.asked.append(deadline_s)
        from learnae.errors import NotFound

        raise NotFound("nobody has it")

    def drop_node(self, cid: bytes) -> None:
        raise AssertionError("nothing is said here")


def test_a_chain_that_leads_nowhere_is_walked_once_a_minute() -> None:
    network = MemoryNetwork(seed=3)
    transport = CountingNodes(network.endpoint("bob"))
    bob, liar = session(transport, "bob"), identity("liar")  # type: ignore[arg-type]
    mouth = network.endpoint("liar")
    for i in range(200):
        sequence = 2 * i + 3
        lie = Announcement(
            swarm_id=CHARTER.swarm_id, peer_id=liar.peer_id, sequence=sequence,
            previous=b"\x01\x71\x12\x20" + hashlib.sha256(b"%d" % i).digest(),
            kind=Kind.HELLO, round=0, payload=None, schema_digest=SCHEMA.digest, codec="i8",
            samples=0, loss=None, addresses=(), time=NOW,
        )  # fmt: skip
        mouth.publish(CHARTER.topic, encode_announcement(lie, liar))
        bob.listen(NOW + i)
        bob.catch_up(NOW + i)
    assert len(transport.asked) == -(-200 // int(PENALTY_S))
    assert set(transport.asked) == {NODE_DEADLINE_S}


def test_a_chain_that_comes_slowly_leaves_time_for_everything_else() -> None:
    """Each node just in time, for ever: the thread that walks also publishes and listens."""
    clock = [0.0]
    liar = identity("liar")

    def lie(sequence: int, previous: bytes) -> Announcement:
        return Announcement(
            swarm_id=CHARTER.swarm_id, peer_id=liar.peer_id, sequence=sequence, previous=previous,
            kind=Kind.HELLO, round=0, payload=None, schema_digest=SCHEMA.digest, codec="i8",
            samples=0, loss=None, addresses=(), time=NOW,
        )  # fmt: skip

    class SlowNodes(CountingNodes):
        def get_node(self, cid: bytes, deadline_s: float) -> bytes:
            self.asked.append(deadline_s)
            clock[0] += 0.95 * deadline_s
            return b"the next one"

    transport = SlowNodes(MemoryNetwork(seed=3).endpoint("bob"))
    history = History(transport, lambda: clock[0])  # type: ignore[arg-type]
    somewhere, waited = b"\x01\x71\x12\x20" + bytes(32), 0.0

    def take(data: bytes) -> Announcement:
        return lie(10**6 - len(transport.asked), somewhere)

    for second in range(600):
        clock[0] = max(clock[0], float(second))
        history.note(lie(10**6 + 2 * second, somewhere), 10, NOW)
        began = clock[0]
        history.catch_up(take, NOW)
        assert clock[0] - began < 2 * NODE_DEADLINE_S
        waited += clock[0] - began
    assert len(transport.asked) > 40
    assert waited < 0.3 * clock[0]


def test_whoever_is_heard_is_reached() -> None:
    network = MemoryNetwork(seed=3)
    ann = session(network.endpoint("ann"), "ann")
    reached: list[tuple[str, ...]] = []

    class ReachingEndpoint(CountingNodes):
        def reach(self, addresses: tuple[str, ...]) -> None:
            reached.append(addresses)

    bob = session(ReachingEndpoint(network.endpoint("bob")), "bob")  # type: ignore[arg-type]
    publish(ann, 1)
    bob.listen(NOW)
    assert reached == [("/memory/ann",)]

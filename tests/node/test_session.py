"""One peer's business with the swarm, on a hand-moved clock and without a thread."""

from __future__ import annotations

import numpy as np
import pytest
from node.actors import NOW, SCHEMA, Member, N, Unreliable, charter, full, identity

from learnae import kernels
from learnae.errors import SchemaError, TransportError, Unavailable
from learnae.node.contribution import Contribution
from learnae.node.session import Session
from learnae.payload import Schema
from learnae.swarm import Kind, Peer, PeerState, announcement_cid, decode_announcement
from learnae.swarm.events import Adopted
from learnae.transports import cid_of
from learnae.transports.memory import MemoryNetwork
from learnae.transports.seam import Buffer

SWARM = charter(keep=2, fan_in=2)


@pytest.fixture
def network() -> MemoryNetwork:
    return MemoryNetwork(clock=lambda: NOW)


def unreliable(network: MemoryNetwork, number: int) -> tuple[Member, Unreliable]:
    made: list[Unreliable] = []

    def wrap(inner: object) -> Unreliable:
        made.append(Unreliable(inner))  # type: ignore[arg-type]
        return made[0]

    return Member(network, number, SWARM, wrap=wrap), made[0]


def test_two_peers_merge(network: MemoryNetwork) -> None:
    ann, bob = Member(network, 1, SWARM), Member(network, 5, SWARM)
    ann.publish(samples=30)
    assert bob.hear() == [True]
    merged = bob.session.merge(bob.params, None, 10)
    assert merged.n_models == 2
    assert bob.params == pytest.approx((10 * 5 + 30 * 1) / 40)
    traffic = bob.session.traffic
    assert (traffic.heard, traffic.accepted, traffic.rejected, traffic.models_merged) == (
        1,
        1,
        0,
        1,
    )
    assert traffic.bytes_received == ann.session.traffic.bytes_sent > 4 * N


def test_own_weight_and_decay(network: MemoryNetwork) -> None:
    swarm = charter(decay=0.5)
    ann, bob = Member(network, 1, swarm), Member(network, 5, swarm)
    ann.publish(samples=40)
    bob.hear()
    bob.session.advance(3)  # ann's model is two rounds old now
    bob.session.merge(bob.params, None, 10)
    assert bob.params == pytest.approx((10 * 5 + 10 * 1) / 20)
    assert bob.session.staleness() == 2.0
    assert ann.session.staleness() is None


def test_order_of_a_publication(network: MemoryNetwork) -> None:
    ann, transport = unreliable(network, 1)
    heads: list[tuple[bytes, list[str]]] = []
    ann.session._save_head = lambda head: heads.append((head, list(transport.calls)))
    ann.publish()
    ((head, before),) = heads
    assert before == ["put"], "the payload is stored, nothing is announced yet"
    assert transport.calls == ["put", "publish"]
    assert decode_announcement(head).payload == ann.transport.owned()[0]


def test_keep(network: MemoryNetwork) -> None:
    ann = Member(network, 1, SWARM)
    cids = []
    for value in range(5):
        ann.params = full(value)
        cids.append(cid_of(ann.publish().payload))
        assert ann.transport.owned() == cids[-2:]
    ann.publish()  # the same bytes again, for which there was no need to make room
    assert ann.transport.owned() == cids[-1:]


@pytest.mark.parametrize(("keep", "before", "after"), [(1, 1, 2), (2, 1, 2), (3, 2, 3)])
def test_room_is_made_before_a_payload_is_stored(
    network: MemoryNetwork, keep: int, before: int, after: int
) -> None:
    """A store holds no more than is kept, but never nothing."""
    ann = Member(network, 1, charter(keep=keep))
    held = []
    put = ann.transport.put

    def watched(data: Buffer) -> bytes:
        held.append(len(ann.transport.owned()))
        cid = put(data)
        held.append(len(ann.transport.owned()))
        return cid

    ann.transport.put = watched  # type: ignore[method-assign]
    for value in range(6):
        ann.params = full(value)
        ann.publish()
    assert held[-6:] == [before, after] * 3
    assert len(ann.transport.owned()) == keep


def test_a_put_that_fails_again_and_again_takes_no_more_room(network: MemoryNetwork) -> None:
    ann, transport = unreliable(network, 1)
    for value in range(3):
        ann.params = full(value)
        ann.publish()
    newest = ann.transport.owned()[-1]
    transport.failing = {"put": 4}
    for _ in range(4):
        with pytest.raises(TransportError):
            ann.publish()
        assert ann.transport.owned() == [newest]
    ann.params = full(9.0)
    ann.publish()
    assert ann.transport.owned()[0] == newest
    assert len(ann.transport.owned()) == 2


def test_a_failed_publication_leaves_nothing_behind(network: MemoryNetwork) -> None:
    ann, transport = unreliable(network, 1)
    for value in range(6):
        ann.params = full(value)
        transport.failing = {"publish": 1}
        with pytest.raises(TransportError):
            ann.publish()
        assert len(ann.transport.owned()) <= 2
    transport.failing = {"drop": 1}
    ann.params = full(9.0)
    ann.publish()  # an old payload that stays is no reason to say the new one twice
    assert len(ann.transport.owned()) == 3
    ann.session.sweep()
    assert len(ann.transport.owned()) == 2


def test_numbers_are_never_used_twice(network: MemoryNetwork) -> None:
    ann, transport = unreliable(network, 1)
    bob = Member(network, 2, SWARM)
    transport.failing = {"publish": 1}
    with pytest.raises(TransportError):
        ann.publish()
    ann.publish()
    assert [decode_announcement(head).sequence for head in ann.heads] == [1, 2]
    assert bob.hear() == [True], "a gap in the numbers is no fault"


def test_sweep_of_orphans(network: MemoryNetwork) -> None:
    ann = Member(network, 1, SWARM)
    ann.publish()
    orphan = ann.transport.put(b"put before a crash, and never announced")
    ann.session.sweep()
    assert orphan not in ann.transport.owned()
    assert len(ann.transport.owned()) == 1


def test_restart(network: MemoryNetwork) -> None:
    others = [Member(network, number, SWARM) for number in (1, 2)]
    me = Member(network, 3, SWARM)
    me.publish()
    for other in others:
        other.publish()
    assert me.hear() == [True, True]
    state = me.session.snapshot()
    me.publish()  # not in the snapshot: only the head on disk knows of it
    me.leave()
    others[0].transport.drop(others[0].transport.owned()[0])  # gone while we were away
    again = Member(network, 3, SWARM, PeerState.from_bytes(state))
    again.session.republish(me.heads[-1])
    again.session.recall()
    again.session.sweep()
    assert again.session.n_remembered == 1
    assert again.session.merge(again.params, None, 10).n_models == 2
    assert again.params == pytest.approx((3 + 2) / 2)
    assert again.peer.sequence == 2
    assert again.peer.head == me.heads[-1]
    assert again.peer.round == 1
    others[0].publish()
    assert again.hear() == [True], "who was forgotten is fetched again"


def test_recall_of_bytes_that_are_no_payload(network: MemoryNetwork) -> None:
    ann, bob = Member(network, 1, SWARM), Member(network, 2, SWARM)
    ann.publish()
    bob.hear()
    assert bob.session.n_remembered == 1
    other = Schema.of({"other": np.zeros(N, np.float32)})
    session = Session(SWARM, other, bob.peer, bob.transport)
    session.recall()
    assert session.n_remembered == 0
    session.close()


def test_a_strange_head_is_not_used(network: MemoryNetwork) -> None:
    ann, bob = Member(network, 1, SWARM), Member(network, 2, SWARM)
    ann.publish()
    for head in (b"", b"garbage", ann.heads[0]):
        bob.session.republish(head)
        assert bob.peer.sequence == 0
        assert bob.heads == []


LIES = {
    "garbage": b"no payload at all",
    "empty": b"",
    "endless": bytes(1 << 20),
    "another model": bytes(kernels.payload_write("f32", bytes(32), [full(1.0)])),
    "another size": bytes(
        kernels.payload_write("f32", SCHEMA.digest, [np.ones(N + 1, np.float32)])
    ),
    "NaN": bytes(kernels.payload_write("f32", SCHEMA.digest, [full(np.nan)])),
    "infinite gradient": bytes(
        kernels.payload_write("f32", SCHEMA.digest, [full(1.0), full(np.inf)])
    ),
    "far away": bytes(kernels.payload_write("f32", SCHEMA.digest, [full(1e9)])),
    "three vectors": bytes(kernels.payload_write("f32", SCHEMA.digest, [full(1.0)] * 3)),
}


@pytest.mark.parametrize("lie", LIES)
def test_a_liar_costs_only_its_turn(network: MemoryNetwork, lie: str) -> None:
    liar, honest, me = (Member(network, number, SWARM) for number in (1, 2, 3))
    liar.announce(liar.transport.put(LIES[lie]))
    honest.publish()
    assert sorted(me.hear()) == [False, True]
    assert (me.session.traffic.rejected, me.session.traffic.accepted) == (1, 1)
    assert me.session.merge(me.params, None, 10).n_models == 2
    assert me.params == pytest.approx(2.5)
    # What it says next is looked at anew.
    liar.params = full(4.0)
    liar.publish()
    assert me.hear() == [True]


def test_a_payload_that_nobody_has(network: MemoryNetwork) -> None:
    liar, me = Member(network, 1, SWARM), Member(network, 2, SWARM)
    liar.announce(cid_of(b"nowhere"))
    assert me.hear() == [False]
    assert me.hear() == [], "not at once again"
    assert me.hear(NOW + 2) == [False], "but later"
    later = NOW + 2
    for _ in range(10):
        later += 100
        me.hear(later)
    assert me.session.traffic.missed == 4, "and not for ever"
    assert me.session.traffic.rejected == 0, "it may have been replaced by a newer one"


def test_what_can_be_no_payload_is_asked_for_once(network: MemoryNetwork) -> None:
    liar, me = Member(network, 1, SWARM), Member(network, 2, SWARM)
    liar.announce(liar.transport.put(bytes(10_000)))
    assert me.hear() == [False]
    assert me.hear(NOW + 100) == []
    assert (me.session.traffic.missed, me.session.traffic.rejected) == (0, 1)


def test_nobody_is_blamed_for_our_own_daemon(
    network: MemoryNetwork, monkeypatch: pytest.MonkeyPatch
) -> None:
    other, me = Member(network, 1, SWARM), Member(network, 2, SWARM)
    other.publish()

    def away(cid: bytes, max_nbytes: int, deadline_s: float) -> memoryview:
        raise Unavailable("no daemon")

    with monkeypatch.context() as patch:
        patch.setattr(me.transport, "get", away)
        assert me.hear() == [False]
    assert (me.session.traffic.missed, me.session.traffic.rejected) == (1, 0)
    assert me.hear(NOW + 2) == [True]


def test_own_key_heard_from_elsewhere(network: MemoryNetwork) -> None:
    before, twin = Member(network, 1, SWARM), Member(network, 2, SWARM)
    for value in range(4):
        before.params = full(value)
        before.publish()
    # The folder was restored from an old copy: the same key, and a state that knows nothing.
    me = Member(network, 9, SWARM)
    peer = Peer(SWARM, identity(1), SCHEMA.digest)
    session = Session(SWARM, SCHEMA, peer, me.transport, me.heads.append)
    events = session.listen(NOW)
    assert [e.sequence for e in events if isinstance(e, Adopted)] == [1, 2, 3, 4]
    assert me.heads[-1] == before.heads[-1]
    session.publish(Contribution(session.encode(full(1.0), None), 1, 10, None), NOW)
    said = decode_announcement(me.heads[-1])
    assert (said.sequence, said.previous) == (5, announcement_cid(before.heads[-1]))
    assert twin.hear(), "the others accept it as the same peer's next word"


def test_say_and_remind(network: MemoryNetwork) -> None:
    ann, bob = Member(network, 1, SWARM), Member(network, 2, SWARM)
    ann.session.remind(NOW)
    assert ann.heads == [], "nothing to repeat yet"
    ann.session.say(Kind.HELLO, NOW)
    ann.session.remind(NOW)
    assert ann.heads[0] == ann.heads[1]
    assert not bob.session.heard_weights
    bob.session.listen(NOW)
    assert (bob.session.traffic.heard, bob.session.traffic.ignored) == (1, 1)
    assert not bob.session.heard_weights
    ann.publish()
    bob.session.listen(NOW)
    assert bob.session.heard_weights


def test_round_of_the_swarm(network: MemoryNetwork) -> None:
    others = [Member(network, number, SWARM) for number in (1, 2, 3)]
    for other, round_ in zip(others, (4, 10, 90), strict=True):
        other.session.advance(round_ - 1)
        other.publish()
    me = Member(network, 4, SWARM)
    me.hear()
    assert me.session.adopt_round() == 10


def test_a_model_too_large_for_the_charter(network: MemoryNetwork) -> None:
    swarm = charter(max_elements=N - 1)
    with pytest.raises(SchemaError, match=r"40 params.*max_elements of 39"):
        Member(network, 1, swarm)

"""Payloads that build on something: whatever a liar names as a base costs only its own turn.

Story: a difference makes its receiver fetch what its sender chose, and that again names what to
fetch. Without bounds one signed announcement could keep a receiver busy for ever, or make it add
what does not belong together.
"""

from __future__ import annotations

import numpy as np
import pytest
from node.actors import NOW, SCHEMA, Member, N, Unreliable, charter, full

from learnae import kernels
from learnae.transports import cid_of
from learnae.transports.memory import MemoryNetwork, MemoryTransport

KEY_EVERY = 4
SWARM = charter(codec="topk", density=0.1, key_every=KEY_EVERY)
MAX_GETS = KEY_EVERY + 3  # the last one may be tried four times


def key(value: float = 1.0, n_vectors: int = 1, codec: str = "i8") -> bytes:
    return bytes(kernels.payload_write(codec, SCHEMA.digest, [full(value)] * n_vectors))


def difference(
    base: bytes,
    cid: bytes,
    *,
    value: float = 2.0,
    codec: str = "topk",
    density: float = 0.1,
    schema: bytes = SCHEMA.digest,
) -> bytes:
    view = kernels.payload_open(base, 1 << 20)
    density = density if codec == "topk" else 0.0
    vectors = [np.full(view.n_elements, value, np.float32)] * view.n_vectors
    return bytes(
        kernels.payload_write(codec, schema, vectors, base=view, base_cid=cid, density=density)
    )


def on(transport: MemoryTransport, base: bytes, **more: object) -> bytes:
    """Store a base, and return a difference to it."""
    return difference(base, transport.put(base), **more)  # type: ignore[arg-type]


def missing(transport: MemoryTransport) -> bytes:
    return difference(key(), cid_of(key()))


def endless(transport: MemoryTransport) -> bytes:
    payload = on(transport, key())
    for value in range(50):
        # What it is made from does not matter: it only has to name the one before.
        payload = difference(key(), transport.put(payload), value=3.0 + value)
    return payload


def one_too_long(transport: MemoryTransport) -> bytes:
    payload = on(transport, key())
    for value in range(KEY_EVERY - 1):
        payload = difference(key(), transport.put(payload), value=3.0 + value)
    return payload


def of_another_model(transport: MemoryTransport) -> bytes:
    other = bytes(kernels.payload_write("i8", bytes(32), [full(1.0)]))
    return difference(key(), transport.put(other))


def of_another_size(transport: MemoryTransport) -> bytes:
    longer = np.ones(N + 1, np.float32)
    other = bytes(kernels.payload_write("i8", SCHEMA.digest, [longer]))
    return difference(key(), transport.put(other))


def of_two_vectors(transport: MemoryTransport) -> bytes:
    return difference(key(), transport.put(key(n_vectors=2)))


def of_garbage(transport: MemoryTransport) -> bytes:
    return difference(key(), transport.put(b"no payload at all"))


def of_something_huge(transport: MemoryTransport) -> bytes:
    return difference(key(), transport.put(bytes(1 << 20)))


def of_a_key_in_another_codec(transport: MemoryTransport) -> bytes:
    return on(transport, key(codec="f16"))


def of_a_node(transport: MemoryTransport) -> bytes:
    return difference(key(), bytes([1, 0x71]) + cid_of(b"")[2:])


def of_no_cid(transport: MemoryTransport) -> bytes:
    return difference(key(), b"\x01" + bytes(35))


def in_another_codec(transport: MemoryTransport) -> bytes:
    return on(transport, key(), codec="i8")


def too_dense(transport: MemoryTransport) -> bytes:
    return on(transport, key(), density=1.0)


def alone_and_too_coarse(transport: MemoryTransport) -> bytes:
    return bytes(kernels.payload_write("topk", SCHEMA.digest, [full(1.0)], density=0.1))


def overflowing(transport: MemoryTransport) -> bytes:
    near = key(3e38)
    step = difference(key(0.0), transport.put(near), value=3e38)
    return difference(key(0.0), transport.put(step), value=3e38)


def far_away(transport: MemoryTransport) -> bytes:
    return on(transport, key(), value=1e9)


LIES = (
    endless, one_too_long, of_another_model, of_another_size, of_two_vectors, of_garbage,
    of_something_huge, of_a_key_in_another_codec, of_a_node, of_no_cid, in_another_codec,
    too_dense, alone_and_too_coarse, overflowing, far_away, missing,
)  # fmt: skip


@pytest.fixture
def network() -> MemoryNetwork:
    return MemoryNetwork(clock=lambda: NOW)


@pytest.mark.parametrize("lie", LIES, ids=lambda lie: lie.__name__)
def test_a_liar_costs_only_its_turn(network: MemoryNetwork, lie) -> None:  # type: ignore[no-untyped-def]
    watched: list[Unreliable] = []

    def wrap(inner: object) -> Unreliable:
        watched.append(Unreliable(inner))  # type: ignore[arg-type]
        return watched[0]

    liar, honest = Member(network, 1, SWARM), Member(network, 2, SWARM)
    me = Member(network, 3, SWARM, wrap=wrap)
    liar.announce(liar.transport.put(lie(liar.transport)))
    honest.publish()
    assert sorted(me.hear()) == [False, True]
    assert watched[0].calls.count("get") <= MAX_GETS + 1
    traffic = me.session.traffic
    assert (traffic.rejected + traffic.missed, traffic.accepted) == (1, 1)
    assert traffic.missed == (lie is missing)
    assert me.session.merge(me.params, None, 10).n_models == 2
    assert me.params == pytest.approx(2.5, rel=0.01)
    # What it says next is looked at anew.
    liar.params = full(4.0)
    liar.publish()
    assert me.hear() == [True]


def test_differences_where_there_are_none(network: MemoryNetwork) -> None:
    swarm = charter(codec="i8")
    liar, me = Member(network, 1, swarm), Member(network, 2, swarm)
    liar.announce(liar.transport.put(on(liar.transport, key(), codec="i8")))
    assert me.hear() == [False]
    assert me.session.traffic.rejected == 1
    assert me.session.merge(me.params, None, 10).n_models == 1


def test_a_foreign_base_is_worth_what_it_says(network: MemoryNetwork) -> None:
    honest, other, me = (Member(network, n, SWARM) for n in (1, 2, 3))
    honest.params = full(1.0)
    cid = cid_of(honest.publish().payload)  # of what was encoded, not of what was stored
    (stored,) = honest.transport.owned()
    assert stored != cid
    base = bytes(honest.transport.get(stored, 1 << 20, 1.0))
    other.announce(other.transport.put(difference(base, stored)))
    assert me.hear() == [True, True]
    values = []
    for contribution in me.peer.contributions():
        view = me.session._remembered.view(contribution.cid)
        assert view is not None
        values.append(kernels.payload_decode(view, 0))
    values.sort(key=np.sum)
    assert values[0] == pytest.approx(1.0, rel=0.01)
    assert np.isclose(values[1], 2.0, rtol=0.01).sum() >= N // 10

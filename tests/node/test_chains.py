"""Chains of differences: what others decode is what the sender takes them to know."""

from __future__ import annotations

import random
from pathlib import Path

import numpy as np
import pytest
from node.actors import NOW, SCHEMA, Member, N, Unreliable, charter, full, identity
from numpy.typing import NDArray

from learnae import kernels
from learnae.errors import TransportError
from learnae.node.chains import Sender
from learnae.node.contribution import Contribution
from learnae.node.session import Session
from learnae.payload import Schema
from learnae.swarm import Charter, GossipSection, Peer, PeerState, TrainingSection
from learnae.transports import cid_of
from learnae.transports.memory import Faults, MemoryNetwork

Float32 = NDArray[np.float32]
RNG = np.random.default_rng(5)
SWARM = charter(codec="topk", density=0.1, key_every=4, keep=2)


def noise(scale: float = 1.0) -> Float32:
    return (scale * RNG.standard_normal(N)).astype(np.float32)


@pytest.fixture
def network() -> MemoryNetwork:
    return MemoryNetwork(clock=lambda: NOW)


def published(member: Member) -> list[kernels.PayloadView]:
    """Return the member's stored payloads, oldest first."""
    transport = member.transport
    return [kernels.payload_open(transport.get(cid, 1 << 20, 1.0), N) for cid in transport.owned()]


def known_of(member: Member) -> Float32:
    """Return the params that a member takes the others to know."""
    arrays = member.session.sender.dump()
    return kernels.payload_decode(kernels.payload_open(arrays["learnae.chain.known"].data, N), 0)


def remembered(receiver: Member, sender: Member) -> Float32:
    """Return the params that one member remembers of another."""
    (cid,) = [c.cid for c in receiver.peer.contributions() if c.peer_id == sender.peer.peer_id]
    view = receiver.session._remembered.view(cid)
    assert view is not None
    return kernels.payload_decode(view, 0)


@pytest.mark.parametrize("codec", ["i4", "i4z", "sign", "ternary", "topk", "delta"])
def test_each_builds_on_the_one_before(network: MemoryNetwork, codec: str) -> None:
    swarm = charter(codec=codec, key_every=4)
    ann, bob = Member(network, 1, swarm), Member(network, 2, swarm)
    bases = []
    for _ in range(9):
        ann.params = ann.params + noise()
        ann.publish(gradient=noise())
        assert bob.hear() == [True]
        assert remembered(bob, ann).tobytes() == known_of(ann).tobytes()
        bases.append(published(ann)[-1].base)
    assert [bool(base) for base in bases] == [False, True, True, True] * 2 + [False]
    before = [*ann.transport.owned()[:-1]]
    assert bases[2:] == [b if b == b"" else c for b, c in zip(bases[2:], before, strict=True)]
    key_codec = "f32" if codec == "delta" else "i8"
    assert {view.codec for view in published(ann)} == {key_codec, codec}
    if codec == "delta":
        assert remembered(bob, ann).tobytes() == ann.params.tobytes(), "not a bit is lost"
    assert bob.session.traffic.bytes_received == ann.session.traffic.bytes_sent


def test_what_was_not_sent_is_sent_later(network: MemoryNetwork) -> None:
    swarm = charter(codec="topk", density=0.1, key_every=50)
    ann, bob = Member(network, 1, swarm), Member(network, 2, swarm)
    ann.publish()
    ann.params = noise()
    distances = []
    for _ in range(2 * N // 4):
        ann.publish()
        bob.hear()
        distances.append(float(np.abs(remembered(bob, ann) - ann.params).max()))
    assert distances[0] > 0.5, "a tenth does not make a model"
    # All have been sent, most of them twice: bfloat16's error of bfloat16's error is left.
    assert distances[-1] < 2**-14


def test_a_receiver_walks_back(network: MemoryNetwork) -> None:
    ann, now_and_then, late = (Member(network, n, SWARM) for n in (1, 2, 3))
    for number in range(1, 12):
        ann.params = ann.params + noise()
        ann.publish()
        if number % 3 == 1:
            assert now_and_then.hear() == [True]
            assert remembered(now_and_then, ann).tobytes() == known_of(ann).tobytes()
    assert late.hear() == [True]
    assert remembered(late, ann).tobytes() == known_of(ann).tobytes()
    assert published(ann)[-1].base, "and that was no key"
    assert late.session.traffic.accepted == 1


def test_what_is_needed_is_kept(network: MemoryNetwork) -> None:
    ann = Member(network, 1, SWARM)
    for number in range(1, 20):
        ann.params = ann.params + noise()
        ann.publish()
        assert len(ann.transport.owned()) == min(number, 2 * 4), "two keys and what follows them"
        newcomer = Member(network, 100 + number, SWARM)
        assert newcomer.hear() == [True]
        newcomer.leave()


def test_overtaken_contributions_are_no_part_of_the_chain(network: MemoryNetwork) -> None:
    ann, bob = Member(network, 1, SWARM), Member(network, 2, SWARM)
    for number in range(1, 7):
        ann.params = ann.params + noise()
        payload = ann.session.encode(ann.params, None)
        ann.session.advance(number)
        if number % 2:
            ann.session.publish(Contribution(payload, number, 10, None), NOW)
            assert bob.hear() == [True]
            assert remembered(bob, ann).tobytes() == known_of(ann).tobytes()
    assert bob.session.traffic.missed == 0


@pytest.mark.parametrize("failing", ["put", "publish"])
def test_a_failed_publication_does_not_break_the_chain(
    network: MemoryNetwork, failing: str
) -> None:
    made: list[Unreliable] = []

    def wrap(inner: object) -> Unreliable:
        made.append(Unreliable(inner))  # type: ignore[arg-type]
        return made[0]

    ann, bob = Member(network, 1, SWARM, wrap=wrap), Member(network, 2, SWARM)
    ann.publish()
    assert bob.hear() == [True]
    for _ in range(4):
        before = known_of(ann)
        made[0].failing = {failing: 1}
        ann.params = ann.params + noise()
        with pytest.raises(TransportError):
            ann.publish()
        assert known_of(ann).tobytes() == before.tobytes()
        ann.params = ann.params + noise()
        ann.publish()
        assert bob.hear() == [True]
        assert remembered(bob, ann).tobytes() == known_of(ann).tobytes()


def test_when_a_key_is_due() -> None:
    swarm = Charter(
        name="keys",
        training=TrainingSection(rounds=9),
        gossip=GossipSection(codec="i4", key_codec="bf16"),
    )
    sender = Sender(swarm, SCHEMA)

    def is_key(params: Float32, gradient: Float32 | None, number: int, samples: int = 10) -> bool:
        payload = sender.encode(params, gradient)
        draft = sender.draft(Contribution(payload, number, samples, None))
        view = kernels.payload_open(draft.payload, N)
        assert view.codec == ("i4" if view.base else "bf16")
        sender.sent(draft, cid_of(draft.payload))
        return not view.base

    assert is_key(full(1.0), None, 1), "nothing to build on"
    assert not is_key(full(2.0), None, 2)
    assert is_key(full(2.0), full(0.1), 3), "a gradient that was not there before"
    assert not is_key(full(2.0), full(0.2), 4)
    assert is_key(full(2.0), full(0.2), 5, samples=0), "a relay's mean"
    assert not is_key(full(-3e38), full(0.2), 6)
    assert is_key(full(3e38), full(0.2), 7), "a difference beyond the range of float32"
    assert is_key(full(2.0), full(0.2), 9), "the last round"
    assert not is_key(full(2.0), full(0.2), 10), "and whoever goes on after it"


def restarted(
    network: MemoryNetwork, before: Member, number: int, saved: tuple[bytes, dict[str, object]]
) -> tuple[Member, bool]:
    """Bring a member back with a checkpoint's state and arrays, as a node starts."""
    before.leave()
    member = Member(network, number, SWARM, PeerState.from_bytes(saved[0]))
    member.params = before.params
    member.session.republish(before.heads[-1])
    member.session.recall()
    stored = member.session.sweep()
    resumed = member.session.sender.resume(saved[1], stored)  # type: ignore[arg-type]
    return member, resumed


def save(member: Member) -> tuple[bytes, dict[str, object]]:
    arrays = {k: np.array(v) for k, v in member.session.sender.dump().items()}
    return member.session.snapshot(), dict(arrays)


@pytest.mark.parametrize("n_more", [0, 1, 2])
def test_restart(network: MemoryNetwork, n_more: int) -> None:
    ann, bob, eve = (Member(network, n, SWARM) for n in (1, 2, 3))
    for _ in range(2):
        ann.publish()
    saved = save(ann)
    assert bob.hear() == [True]
    for _ in range(n_more):  # published after the checkpoint was written
        ann.params = ann.params + noise()
        ann.publish()
    assert eve.hear() == [True]
    ann, resumed = restarted(network, ann, 1, saved)
    assert resumed
    for receivers in ([bob], [bob, eve], [Member(network, 4, SWARM)]):
        ann.params = ann.params + noise()
        ann.publish()
        for receiver in receivers:
            assert receiver.hear() == [True]
            assert remembered(receiver, ann).tobytes() == known_of(ann).tobytes()
    assert sum(not view.base for view in published(ann)) == 2, "the first, and every fourth"


def test_restart_long_after_the_checkpoint(network: MemoryNetwork) -> None:
    ann, bob = Member(network, 1, SWARM), Member(network, 2, SWARM)
    ann.publish()
    saved = save(ann)
    for _ in range(8):
        ann.params = ann.params + noise()
        ann.publish()
    ann, resumed = restarted(network, ann, 1, saved)
    assert not resumed, "what the checkpoint builds on was dropped"
    ann.publish()
    assert not published(ann)[-1].base
    assert bob.hear() == [True]


def test_resuming_from_nonsense(network: MemoryNetwork) -> None:
    ann = Member(network, 1, SWARM)
    sender = ann.session.sender
    assert not sender.resume({}, [])
    ann.publish()
    _, arrays = save(ann)
    stored = ann.transport.owned()
    fresh = Sender(SWARM, SCHEMA)
    flipped = np.array(arrays["learnae.chain.known"])
    flipped[-1] ^= 1
    for name, value in (
        ("learnae.chain.known", np.zeros(3, np.float64)),
        ("learnae.chain.known", flipped),
        ("learnae.chain.cid", np.zeros(36, np.uint8)),
        ("learnae.chain.place", np.zeros(2, np.uint16)),
    ):
        assert not fresh.resume({**arrays, name: value}, stored)  # type: ignore[dict-item]
    assert fresh.dump() == {}
    assert fresh.resume(arrays, stored)  # type: ignore[arg-type]


def test_recall_walks_back(network: MemoryNetwork) -> None:
    ann, bob = Member(network, 1, SWARM), Member(network, 2, SWARM)
    for _ in range(3):
        ann.params = ann.params + noise()
        ann.publish()
        bob.hear()
    state = bob.session.snapshot()
    bob.leave()
    again = Member(network, 2, SWARM, PeerState.from_bytes(state))
    again.session.recall()
    assert published(ann)[-1].base, "it is not the key"
    assert remembered(again, ann).tobytes() == known_of(ann).tobytes()


def test_a_lost_base_costs_turns_until_the_next_key(network: MemoryNetwork) -> None:
    ann, bob = Member(network, 1, SWARM), Member(network, 2, SWARM)
    ann.publish()
    ann.transport.drop(ann.transport.owned()[0])
    outcomes = []
    for _ in range(4):
        ann.publish()
        outcomes += bob.hear()
    assert outcomes == [False, False, False, True]
    assert (bob.session.traffic.missed, bob.session.traffic.rejected) == (3, 0)


def test_under_loss_only_true_models_are_remembered() -> None:
    network = MemoryNetwork(seed=3, clock=lambda: NOW, faults=Faults(loss=0.3, damage=0.1))
    draw = random.Random(3)
    swarm: Charter = charter(codec="topk", density=0.05, key_every=6, fan_in=2)
    members = [Member(network, number, swarm) for number in range(1, 5)]
    said: dict[bytes, bytes] = {}
    now, n_accepted = NOW, 0
    for _ in range(60):
        now += 1.0
        for member in members:
            member.params = member.params + noise()
            if draw.random() < 0.7:
                member.publish(now)
                arrays = member.session.sender.dump()
                said[arrays["learnae.chain.cid"].tobytes()] = known_of(member).tobytes()
            n_accepted += sum(member.hear(now))
            for contribution in member.peer.contributions():
                view = member.session._remembered.view(contribution.cid)
                assert view is not None
                assert kernels.payload_decode(view, 0).tobytes() == said[contribution.cid]
    assert n_accepted > 100
    assert all(member.session.n_remembered == 3 for member in members)


@pytest.mark.parametrize("may_write", [True, False])
def test_large_models_are_mapped(
    network: MemoryNetwork, tmp_path: Path, caplog: pytest.LogCaptureFixture, may_write: bool
) -> None:
    schema = Schema.of({"w": np.zeros(300_000, np.float32)})
    folder = tmp_path if may_write else tmp_path / "not there"
    swarm = charter(codec="sign")
    ann, bob = (
        Session(swarm, schema, Peer(swarm, identity(n), schema.digest), network.endpoint(str(n)),
                folder=folder)
        for n in (1, 2)
    )  # fmt: skip
    params = np.linspace(-1, 1, schema.n_elements, dtype=np.float32)
    for number in (1, 2):
        payload = ann.encode(params * number, None)
        ann.publish(Contribution(payload, number, 10, None), NOW)
    bob.listen(NOW)
    (fetch,) = bob.wanted(NOW)
    assert bob.fetch(fetch, params, NOW)
    view = bob._remembered.view(fetch.cid)
    assert view is not None
    assert isinstance(view.buffer, memoryview) == may_write
    assert list(tmp_path.iterdir()) == [], "it has no name"
    assert ("stays in memory" in caplog.text) == (not may_write)
    known = kernels.payload_open(ann.sender.dump()["learnae.chain.known"].data, schema.n_elements)
    got, expected = kernels.payload_decode(view, 0), kernels.payload_decode(known, 0)
    assert got.tobytes() == expected.tobytes()
    for session in (ann, bob):
        session.close()

"""The state that survives a restart: bounded, canonical, checked to the last byte."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from libipld import decode_dag_cbor
from swarm.actors import (
    ADDRESS,
    NOW,
    SCHEMA,
    charter,
    identity,
    message,
    payload_cid,
    peer,
    weights,
)

from learnae.errors import CheckpointError
from learnae.swarm import dagcbor
from learnae.swarm.announcement import announcement_cid
from learnae.swarm.fields import MAX_ROUND, MAX_SAMPLES, MAX_SEQUENCE
from learnae.swarm.peer import Peer
from learnae.swarm.state import (
    MAX_KNOWN,
    MAX_PUBLISHED,
    MAX_REMEMBERED,
    MAX_STATE_NBYTES,
    Known,
    Offer,
    PeerState,
    Remembered,
)
from learnae.swarm.trust import peer_id_of


def lived() -> Peer:
    """Return a peer that has heard, fetched and said things."""
    me = peer(0)
    for number in range(1, 4):
        other = peer(number)
        for round_ in range(number):
            me.receive(message(weights(other, round_)), NOW + round_)
        for fetch in me.wanted(NOW):
            me.fetched(fetch, True, None, NOW)
        weights(me, number)
    me.advance(7)
    return me


sequences = st.integers(1, MAX_SEQUENCE)
rounds = st.integers(0, MAX_ROUND)
samples = st.integers(0, MAX_SAMPLES)
digests = st.binary(min_size=32, max_size=32)
payloads = digests.map(lambda digest: b"\x01\x55\x12\x20" + digest)
offers = st.builds(
    Offer, payloads, sequences, rounds, samples, st.sampled_from([(), (ADDRESS,), ("a", "b")])
)
known = st.builds(
    Known,
    digests.map(peer_id_of),
    sequences,
    digests.map(lambda digest: b"\x01\x71\x12\x20" + digest),
    st.floats(allow_nan=False, allow_infinity=False),
    st.booleans(),
    st.none() | offers,
)
remembered = st.builds(
    Remembered, digests.map(peer_id_of), payloads, sequences, rounds, samples, rounds
)


@given(
    rounds,
    st.lists(payloads, max_size=3),
    st.lists(known, max_size=4, unique_by=lambda k: k.peer_id),
    st.lists(remembered, max_size=4, unique_by=lambda r: r.peer_id),
)
@settings(max_examples=150)
def test_what_is_written_is_read(
    round_: int, published: list[bytes], others: list[Known], kept: list[Remembered]
) -> None:
    before = lived().snapshot()
    state = PeerState(
        before.swarm_id,
        before.peer_id,
        before.sequence,
        before.head,
        round_,
        tuple(published),
        tuple(others),
        tuple(kept),
    )
    assert PeerState.from_bytes(state.to_bytes()) == state


def test_a_new_peer_has_a_state_too() -> None:
    state = peer(0).snapshot()
    assert (state.sequence, state.head) == (0, None)
    assert PeerState.from_bytes(state.to_bytes()) == state
    Peer(charter(), identity(0), SCHEMA, state)


def test_the_largest_state_fits() -> None:
    """All tables full, every record with as many addresses as there can be."""

    def key(number: int) -> str:
        return peer_id_of(number.to_bytes(32, "big"))

    offer = Offer(payload_cid("x"), MAX_SEQUENCE, MAX_ROUND, MAX_SAMPLES, ("x" * 184,) * 3)
    cid = announcement_cid(b"")
    state = PeerState(
        bytes(32),
        key(2**200),
        0,
        None,
        MAX_ROUND,
        (payload_cid("x"),) * MAX_PUBLISHED,
        tuple(Known(key(i), MAX_SEQUENCE, cid, NOW, False, offer) for i in range(MAX_KNOWN)),
        tuple(
            Remembered(key(i), payload_cid("x"), MAX_SEQUENCE, MAX_ROUND, MAX_SAMPLES, MAX_ROUND)
            for i in range(MAX_REMEMBERED)
        ),
    )
    data = state.to_bytes()
    assert 2**20 < len(data) < MAX_STATE_NBYTES // 2
    assert PeerState.from_bytes(data) == state


def changed(**values: Any) -> bytes:
    """Return a written state with some values put in place of its own."""
    content = decode_dag_cbor(lived().snapshot().to_bytes())
    return dagcbor.encode({**content, **values})


def row(name: str, column: int, value: Any) -> bytes:
    content = decode_dag_cbor(lived().snapshot().to_bytes())
    content[name][0][column] = value
    return dagcbor.encode(content)


def offer_row(column: int, value: Any) -> bytes:
    content = decode_dag_cbor(lived().snapshot().to_bytes())
    content["known"][0][5][column] = value
    return dagcbor.encode(content)


def doubled(name: str) -> bytes:
    content = decode_dag_cbor(lived().snapshot().to_bytes())
    content[name].append(content[name][0])
    return dagcbor.encode(content)


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"\xa0",
        b"\x80",
        b"\x81" * 100_000 + b"\x80",
        bytes(MAX_STATE_NBYTES + 1),
        lived().snapshot().to_bytes() + b"\x00",
        lived().snapshot().to_bytes()[:-1],
        changed(version=2),
        changed(extra=1),
        changed(swarm=bytes(31)),
        changed(swarm=bytes(32)),  # not the one in the head
        changed(peer=bytes(32)),  # not the one in the head
        changed(sequence=2),
        changed(sequence=0),
        changed(sequence=True),
        changed(head=None),
        changed(head=b"nothing"),
        changed(head="text"),
        changed(round=-1),
        changed(round=1.0),
        changed(published=None),
        changed(published=[b"not a cid"]),
        changed(published=[payload_cid("x")] * (MAX_PUBLISHED + 1)),
        changed(known=[[]]),
        changed(known=[None]),
        changed(known={}),
        row("known", 0, bytes(31)),
        row("known", 1, 0),
        row("known", 2, payload_cid("x")),
        row("known", 3, 1),
        row("known", 4, 0),
        row("known", 5, []),
        row("known", 0, dagcbor.decode(lived().snapshot().to_bytes())["peer"]),
        offer_row(0, b""),
        offer_row(1, "1"),
        offer_row(2, MAX_ROUND + 1),
        offer_row(3, MAX_SAMPLES + 1),
        offer_row(4, ["x" * 256]),
        offer_row(4, [1]),
        offer_row(4, "text"),
        row("remembered", 0, None),
        row("remembered", 1, announcement_cid(b"")),
        row("remembered", 2, 0),
        row("remembered", 3, -1),
        row("remembered", 4, 1.5),
        row("remembered", 5, -1),
        lived().snapshot().to_bytes().replace(b"version\x01", b"version\x18\x01"),
        doubled("known"),
        doubled("remembered"),
    ],
)
def test_any_other_bytes_are_no_state(data: bytes) -> None:
    with pytest.raises(CheckpointError, match="not a peer's state") as caught:
        PeerState.from_bytes(data)
    assert "\n" not in str(caught.value)


def test_a_smaller_memory_than_the_state_has() -> None:
    """A charter cannot change under a state, so a state too full for it is not trusted blindly."""
    me = lived()
    assert me.n_remembered == 3
    state = me.snapshot()
    small = charter(remember=1)
    moved = PeerState(small.swarm_id, state.peer_id, 0, None, 7, (), state.known, state.remembered)
    again = Peer(small, identity(0), SCHEMA, moved)
    assert again.n_remembered == 1

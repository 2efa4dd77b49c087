"""Attack: send anything.

Whoever can reach the topic, or hand over a file, can make a peer read arbitrary bytes. The rule
is one sentence: any bytes give a result or one named error. These tests push more than 30,000
cases through every reader of the protocol: random bytes, valid ones with flipped bits, cuts,
insertions and splices, and DAG-CBOR of arbitrary shape. The draws are seeded.
"""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Callable

from hypothesis import example, given, settings
from hypothesis import strategies as st
from swarm.actors import NOW, chain, message, peer, signed, weights

from learnae.errors import AnnouncementError, CharterError, CheckpointError
from learnae.swarm import dagcbor
from learnae.swarm.announcement import decode_announcement
from learnae.swarm.charter import Charter, dump_charter, parse_charter
from learnae.swarm.events import Heard, Ignored
from learnae.swarm.state import PeerState


def mutated(data: bytes, draw: random.Random) -> bytes:
    """Return the bytes with one to three accidents."""
    result = bytearray(data)
    for _ in range(draw.choice((1, 1, 1, 2, 3))):
        at = draw.randrange(len(result) + 1)
        what = draw.randrange(6)
        if what <= 1 and result:
            result[at % len(result)] ^= 1 << draw.randrange(8)
        elif what == 2 and result:
            result[at % len(result)] = draw.choice((0, 0x1B, 0x3B, 0x5F, 0x9F, 0xBF, 0xF6, 0xFF))
        elif what == 3:
            del result[at : at + draw.randrange(1, 40)]
        elif what == 4:
            result[at:at] = draw.randbytes(draw.randrange(1, 40))
        else:
            start = draw.randrange(len(data))
            result[at:at] = data[start : start + draw.randrange(1, 80)]
    return bytes(result)


def outcomes(
    read: Callable[[bytes], object], error: type[Exception], cases: list[bytes]
) -> Counter[str]:
    """Count results and named errors; any other exception ends the test."""
    counts: Counter[str] = Counter()
    for data in cases:
        try:
            read(data)
            counts["result"] += 1
        except error as caught:
            assert "\n" not in str(caught)
            counts["error"] += 1
    return counts


def test_mutated_announcements() -> None:
    draw = random.Random(1)
    originals = [*chain(1, 3), signed(2, loss=None, addresses=())]
    cases = [mutated(draw.choice(originals), draw) for _ in range(10_000)]
    valid = set(originals)
    changed = [data for data in cases if data not in valid]
    assert outcomes(decode_announcement, AnnouncementError, changed)["result"] == 0


def test_every_single_bit_of_an_announcement_counts() -> None:
    original = signed(1)
    cases = []
    for bit in range(8 * len(original)):
        data = bytearray(original)
        data[bit // 8] ^= 1 << bit % 8
        cases.append(bytes(data))
    assert len(cases) > 3000
    assert outcomes(decode_announcement, AnnouncementError, cases)["result"] == 0


def test_random_bytes() -> None:
    draw = random.Random(2)
    cases = [draw.randbytes(draw.randrange(1100)) for _ in range(4000)]
    assert outcomes(decode_announcement, AnnouncementError, cases)["result"] == 0
    assert outcomes(PeerState.from_bytes, CheckpointError, cases)["result"] == 0
    assert outcomes(parse_charter, CharterError, cases)["result"] == 0


def test_mutated_states() -> None:
    me = peer(0)
    for number in range(1, 4):
        me.receive(signed(number), NOW)
        for fetch in me.wanted(NOW):
            me.fetched(fetch, True, None, NOW)
        weights(me, number)
    original = me.snapshot().to_bytes()
    draw = random.Random(3)
    cases = [mutated(original, draw) for _ in range(6000)]
    for data in cases:
        try:
            state = PeerState.from_bytes(data)
        except CheckpointError:
            continue
        assert state.to_bytes() == data  # another state, rightly written


def test_mutated_charters() -> None:
    original = dump_charter(Charter(name="test")).encode()
    draw = random.Random(4)
    counts = outcomes(parse_charter, CharterError, [mutated(original, draw) for _ in range(3000)])
    assert counts["result"] > 100 and counts["error"] > 100  # comments may be damaged


json = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**63)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(max_size=8)
    | st.binary(max_size=40),
    lambda inner: (
        st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4)
    ),
    max_leaves=12,
)


@given(json)
@settings(max_examples=200)
def test_any_dag_cbor(value: object) -> None:
    data = dagcbor.encode(value)
    assert outcomes(decode_announcement, AnnouncementError, [data])["error"] == 1
    assert outcomes(PeerState.from_bytes, CheckpointError, [data])["error"] == 1


@given(st.sampled_from(sorted(dagcbor.decode(signed(1)))), json)
@settings(max_examples=200)
@example("kind", [])
@example("version", True)
@example("version", 1.0)
@example("addresses", {})
@example("peer", "x" * 32)
def test_any_value_in_any_field(key: str, value: object) -> None:
    content = dagcbor.decode(signed(1))
    content["payload"] = dagcbor.Link(content["payload"])
    data = dagcbor.encode({**content, key: value})
    if data != signed(1):
        assert outcomes(decode_announcement, AnnouncementError, [data])["error"] == 1


@given(st.binary(max_size=1100))
@settings(max_examples=500)
def test_receive_never_raises(data: bytes) -> None:
    me = peer(0)
    before = me.snapshot()
    (event,) = me.receive(data, NOW)
    assert isinstance(event, Ignored)
    assert isinstance(me.restore_head(data)[0], Ignored)
    assert me.snapshot() == before


def test_receive_never_raises_on_mutated_messages() -> None:
    draw = random.Random(5)
    me, you = peer(0), peer(1)
    for round_ in range(500):
        data = message(weights(you, round_))
        for _ in range(3):
            bad = mutated(data, draw)
            if bad != data:
                assert all(isinstance(event, Ignored) for event in me.receive(bad, NOW))
        assert isinstance(me.receive(data, NOW)[0], Heard)


@given(st.text(max_size=200))
@settings(max_examples=500)
def test_any_text_as_a_charter(text: str) -> None:
    outcomes(lambda data: parse_charter(text), CharterError, [b""])
    outcomes(lambda data: parse_charter(f'[swarm]\nname = "x"\n{text}'), CharterError, [b""])


@settings(max_examples=300, deadline=None)
@given(st.binary(max_size=1200), st.integers(0, 2**32))
def test_any_bytes_for_an_earlier_announcement(data: bytes, seed: int) -> None:
    receiver, sender = peer(1), peer(2)
    earlier = message(weights(sender, 1))
    receiver.receive(message(weights(sender, 2)), NOW)
    before = receiver.snapshot()
    for case in (data, mutated(earlier, random.Random(seed))):
        if case != earlier:
            (event,) = receiver.receive_earlier(case)
            assert isinstance(event, Ignored)
    assert receiver.snapshot() == before

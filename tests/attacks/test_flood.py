"""Attack: make a peer remember until it bursts.

In an open swarm keys cost nothing. Whatever is sent, and however much, a peer's memory stays
within the bounds of docs/protocol.md, and peers whose models are in use are not pushed out.
"""

from __future__ import annotations

import hashlib
import sys

import pytest
from swarm.actors import NOW, charter, identity, message, payload_cid, peer, signed, weights

from learnae.swarm.events import Fetch, Heard, Ignored
from learnae.swarm.memory import Memory
from learnae.swarm.state import MAX_KNOWN


def test_two_thousand_messages_of_one_peer() -> None:
    me, you = peer(0), peer(1)
    sizes = []
    for round_ in range(2000):
        (event,) = me.receive(message(weights(you, round_)), NOW)
        assert isinstance(event, Heard)
        sizes.append(len(me.snapshot().to_bytes()))
    assert len(me.known) == 1
    assert max(sizes) - sizes[0] < 20  # the numbers grow by some digits, and nothing else


def test_more_strangers_than_there_is_room_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("learnae.swarm.memory.MAX_KNOWN", 500)
    swarm = charter(remember=8)
    me = peer(0, swarm)
    friends = [peer(number, swarm) for number in range(1, 4)]
    for friend in friends:
        me.receive(message(weights(friend, 1)), NOW)
    while fetches := me.wanted(NOW):
        for fetch in fetches:
            me.fetched(fetch, True, None, NOW)
    for number in range(10, 2010):
        data = signed(number, swarm_id=swarm.swarm_id)
        assert isinstance(me.receive(data, NOW)[0], Heard)
    assert len(me.known) == 500
    known = {record.peer_id for record in me.known}
    assert {friend.peer_id for friend in friends} <= known
    assert identity(10).peer_id not in known and identity(2009).peer_id in known


def test_a_fetch_under_way_keeps_its_record() -> None:
    me = peer(0)
    me.receive(signed(1), NOW)
    (fetch,) = me.wanted(NOW)
    memory = me._memory
    for number in range(MAX_KNOWN):
        peer_id = f"stranger {number}"
        record = memory.known[identity(1).peer_id]
        memory.known[peer_id] = record
    me.receive(signed(2), NOW)
    assert identity(1).peer_id in memory.known
    assert me.fetched(fetch, True, None, NOW)


def test_a_new_bad_payload_every_time() -> None:
    """Every announcement names another payload that cannot be had."""
    memory = Memory(remember=8)
    for number in range(10_000):
        memory.failed(Fetch(f"{number % 7}", payload_cid(f"{number}"), 1), NOW, final=True)
    assert len(memory._failures) == 4096
    assert sys.getsizeof(memory._failures) < 2**20


def test_two_bad_payloads_in_turn() -> None:
    """A refusal is not forgotten because the same peer named something else in between."""
    me = peer(0)
    tried = []
    previous: dict[str, object] = {}
    for sequence in range(1, 21):
        data = signed(1, sequence=sequence, payload=payload_cid("ab"[sequence % 2]), **previous)
        assert isinstance(me.receive(data, NOW)[0], Heard)
        previous = {"previous": b"\x01\x71\x12\x20" + hashlib.sha256(data).digest()}
        for fetch in me.wanted(NOW):
            tried.append(fetch.cid)
            me.fetched(fetch, False, "bad", NOW)
    assert len(tried) == 2


def test_garbage_leaves_nothing_behind() -> None:
    me = peer(0)
    before = me.snapshot()
    good = signed(1)
    for number in range(2000):
        data = good[:-64] + hashlib.sha512(b"%d" % number).digest()
        (event,) = me.receive(data, NOW)
        assert isinstance(event, Ignored) and event.reason == "forged"
    assert me.snapshot() == before


def test_memory_holds_what_it_may_and_no_more() -> None:
    memory = Memory(remember=3)
    assert memory.remembered == {} and memory.candidates(0, 0, NOW) == {}

"""Attack: repeat what was once true.

Announcements are public, so anybody can record and repeat them: to bring an old model back into
the mean, to undo a farewell, or merely to keep peers busy.
"""

from __future__ import annotations

import random

from swarm.actors import NOW, OPEN, SCHEMA, chain, identity, peer

from learnae.swarm.events import Heard, Ignored
from learnae.swarm.peer import Peer
from learnae.swarm.state import PeerState


def test_the_whole_past_in_any_order() -> None:
    past = chain(1, 50)
    me = peer(0)
    assert all(isinstance(me.receive(data, NOW)[0], Heard) for data in past)
    before = me.snapshot()
    draw = random.Random(1)
    for data in draw.choices(past, k=1000):
        (event,) = me.receive(data, NOW)
        assert isinstance(event, Ignored) and event.reason == "replay"
    assert me.snapshot() == before


def test_shuffled_messages_only_ever_go_forward() -> None:
    past = chain(1, 30)
    me = peer(0)
    draw = random.Random(2)
    newest = 0
    for data in draw.choices(past, k=300):
        for event in me.receive(data, NOW):
            if isinstance(event, Heard):
                assert event.announcement.sequence > newest
                newest = event.announcement.sequence
    assert newest == me.known[0].sequence


def test_the_past_after_a_restart() -> None:
    past = chain(1, 5)
    me = peer(0)
    for data in past:
        me.receive(data, NOW)
    state = PeerState.from_bytes(me.snapshot().to_bytes())
    again = Peer(OPEN, identity(0), SCHEMA, state)
    for data in past:
        (event,) = again.receive(data, NOW)
        assert isinstance(event, Ignored) and event.reason == "replay"


def test_last_years_model_is_too_old_even_for_a_newcomer() -> None:
    (old,) = chain(1, 1)
    (event,) = peer(0).receive(old, NOW + 365 * 86400.0)
    assert isinstance(event, Ignored) and event.reason == "clock"


def test_a_replay_costs_no_signature_check() -> None:
    """Repeating is free for the attacker, so it has to be cheap for us.

    A wrong signature on an old sequence is called a replay, not forged: nobody looked at it.
    """
    first, second = chain(1, 2)
    me = peer(0)
    me.receive(second, NOW)
    (event,) = me.receive(first[:-64] + bytes(64), NOW)
    assert isinstance(event, Ignored) and event.reason == "replay"

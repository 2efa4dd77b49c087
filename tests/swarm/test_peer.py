"""The law of the peer, row by row of docs/protocol.md."""

from __future__ import annotations

import ast
import re
from dataclasses import replace
from pathlib import Path

import pytest
from swarm.actors import (
    NOW,
    OPEN,
    SCHEMA,
    announcement,
    chain,
    charter,
    identity,
    message,
    payload_cid,
    peer,
    signed,
    weights,
)

from learnae.errors import StateError
from learnae.swarm import peer as module
from learnae.swarm.announcement import Kind, announcement_cid, decode_announcement
from learnae.swarm.events import (
    Accepted,
    Adopted,
    Drop,
    Event,
    Fetch,
    Forgot,
    Heard,
    Ignored,
    Publish,
    Reason,
    Rejected,
)
from learnae.swarm.peer import Contribution, Peer
from learnae.swarm.topology import choose

DOC = Path(__file__).parents[2] / "docs" / "protocol.md"


def hear(a_peer: Peer, *messages: bytes, now: float = NOW) -> list[Event]:
    return [event for data in messages for event in a_peer.receive(data, now)]


def reasons(events: list[Event]) -> list[str]:
    return [event.reason if isinstance(event, Ignored) else "heard" for event in events]


def take(a_peer: Peer, now: float = NOW) -> list[Fetch]:
    """Fetch and accept all that is wanted."""
    fetches = a_peer.wanted(now)
    for fetch in fetches:
        assert a_peer.fetched(fetch, True, None, now)[0] == Accepted(
            fetch.peer_id, fetch.cid, fetch.round
        )
    return fetches


# -- what is heard -------------------------------------------------------------------------


def test_a_chain_is_heard() -> None:
    events = hear(peer(0), *chain(1, 4))
    assert [e.announcement.round for e in events if isinstance(e, Heard)] == [0, 1, 2, 3]


def test_gaps_are_normal() -> None:
    first, _, third, _, fifth = chain(1, 5)
    assert reasons(hear(peer(0), first, third, fifth)) == ["heard"] * 3


@pytest.mark.parametrize(
    ("data", "reason", "claims"),
    [
        (bytes(1001), "too large", False),
        (b"", "malformed", False),
        (b"\xa0", "malformed", False),
        (signed(1)[:-1], "malformed", False),
        (signed(1, swarm_id=charter("another").swarm_id), "other swarm", True),
        (signed(1, schema_digest=bytes(32)), "other schema", True),
        (signed(1, time=NOW + 86401.0), "clock", True),
        (signed(1, time=NOW - 86401.0), "clock", True),
        (signed(1)[:-64] + identity(2).sign(b""), "forged", True),
    ],
)
def test_what_is_ignored_leaves_no_trace(data: bytes, reason: str, claims: bool) -> None:
    me = peer(0)
    before = me.snapshot()
    ignored = me.receive(data, NOW)[0]
    assert isinstance(ignored, Ignored) and ignored.reason == reason
    assert ignored.peer_id == (identity(1).peer_id if claims else None)
    assert me.snapshot() == before
    assert reasons(hear(me, signed(1))) == ["heard"]


def test_the_reason_says_what_is_malformed() -> None:
    (ignored,) = peer(0).receive(b"\xa0", NOW)
    assert isinstance(ignored, Ignored) and "announcement's keys" in ignored.detail


def test_only_members_are_heard() -> None:
    swarm = charter(members=tuple(identity(i).peer_id for i in (0, 1)))
    me = peer(0, swarm)
    assert reasons(hear(me, signed(1, swarm_id=swarm.swarm_id))) == ["heard"]
    assert reasons(hear(me, signed(2, swarm_id=swarm.swarm_id))) == ["not a member"]


def test_replays_are_ignored() -> None:
    first, second, third = chain(1, 3)
    me = peer(0)
    assert reasons(hear(me, first, first)) == ["heard", "replay"]
    assert reasons(hear(me, third, second, third, first)) == ["heard", *["replay"] * 3]


def test_the_first_of_two_with_one_sequence_stands() -> None:
    first, second, third = chain(1, 3)
    other = signed(1, sequence=2, previous=announcement_cid(first), round=77)
    me = peer(0)
    assert reasons(hear(me, first, second, other, third)) == [
        "heard",
        "heard",
        "equivocation",
        "heard",
    ]
    you = peer(2)
    fork = ["heard", "heard", "equivocation", "broken chain"]
    assert reasons(hear(you, first, other, second, third)) == fork
    assert reasons(hear(you, chain(1, 4)[3])) == ["heard"]  # a fork heals after one message


def test_a_broken_link_is_ignored() -> None:
    first = signed(1)
    unlinked = signed(1, sequence=2, previous=announcement_cid(b"something else"))
    assert reasons(hear(peer(0), first, unlinked)) == ["heard", "broken chain"]


def test_own_messages_are_ignored() -> None:
    me = peer(0)
    data = message(weights(me, 1))
    assert reasons(hear(me, data)) == ["own message"]


def test_lost_state_is_adopted() -> None:
    lost = peer(0)
    other = peer(1)
    for round_ in range(3):
        head = message(weights(lost, round_))
        hear(other, head)
    again = peer(0)
    first = message(weights(again, 0))
    assert reasons(hear(other, first)) == ["replay"]
    assert again.receive(head, NOW + 1e8) == [Adopted(3, head)]
    assert (again.sequence, again.head) == (3, head)
    assert again.published[-1] == decode_announcement(head).payload
    assert reasons(hear(other, message(weights(again, 1)))) == ["heard"]


def test_nobody_else_can_make_us_adopt() -> None:
    forged = signed(0, sequence=9, previous=announcement_cid(b""))[:-64] + bytes(64)
    me = peer(0)
    assert reasons(hear(me, forged)) == ["forged"]
    assert me.sequence == 0


def test_every_reason_is_in_the_document() -> None:
    text = DOC.read_text()
    named = re.findall(r"(?:Ignored|Rejected)\(\"([a-z ]+)\"", text)
    assert set(named) == {str(reason) for reason in Reason}


# -- what is said --------------------------------------------------------------------------


def test_announcements_are_chained_and_old_payloads_dropped() -> None:
    me = peer(0, charter(keep=2))
    events = [weights(me, round_) for round_ in range(4)]
    said = [decode_announcement(message(e)) for e in events]
    assert [a.sequence for a in said] == [1, 2, 3, 4]
    assert [a.previous for a in said] == [
        None,
        *(announcement_cid(message(e)) for e in events[:3]),
    ]
    assert [[e.cid for e in es if isinstance(e, Drop)] for es in events] == [
        [],
        [],
        [said[0].payload],
        [said[1].payload],
    ]
    assert me.published == (said[2].payload, said[3].payload)
    topics = {e.topic for es in events for e in es if isinstance(e, Publish)}
    assert topics == {me.charter.topic}


def test_a_payload_announced_again_is_kept() -> None:
    me = peer(0, charter(keep=2))
    said = [
        me.announce(
            payload_cid(name),
            kind=Kind.WEIGHTS,
            round=0,
            samples=1,
            loss=None,
            addresses=(),
            now=NOW,
        )
        for name in "abab"
    ]
    assert [len(events) for events in said] == [1, 1, 1, 1]
    assert me.published == (payload_cid("a"), payload_cid("b"))


def test_hello_and_bye_carry_no_payload() -> None:
    me, you = peer(0), peer(1)
    common = dict(round=0, samples=0, loss=None, addresses=(), now=NOW)
    hello = me.announce(None, kind=Kind.HELLO, **common)  # type: ignore[arg-type]
    assert reasons(hear(you, message(hello))) == ["heard"]
    assert you.wanted(NOW) == []
    with pytest.raises(ValueError, match="payload must be"):
        me.announce(payload_cid("x"), kind=Kind.BYE, **common)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="payload must be"):
        me.announce(None, kind=Kind.WEIGHTS, **common)  # type: ignore[arg-type]
    assert me.sequence == 1  # nothing has changed


def test_too_many_addresses_are_left_out() -> None:
    me = peer(0)
    addresses = [f"/ip4/10.0.0.{i}/tcp/4001" for i in range(50)]
    events = me.announce(
        None, kind=Kind.HELLO, round=0, samples=0, loss=1, addresses=addresses, now=NOW
    )
    said = decode_announcement(message(events))
    assert said.addresses == tuple(addresses[:8]) and said.loss == 1.0


def test_republish_repeats_and_renews() -> None:
    me, you = peer(0), peer(1)
    assert me.republish(NOW) == []
    head = message(weights(me, 5))
    assert me.republish(NOW + 40_000) == [Publish(OPEN.topic, head)]
    (renewed,) = me.republish(NOW + 50_000)
    assert isinstance(renewed, Publish)
    said = decode_announcement(renewed.data)
    assert (said.sequence, said.time, said.previous) == (2, NOW + 50_000, announcement_cid(head))
    assert replace(said, sequence=1, previous=None, time=NOW) == decode_announcement(head)
    assert reasons(hear(you, renewed.data, now=NOW + 60_000)) == ["heard"]


# -- restart -------------------------------------------------------------------------------


def test_the_head_on_disk_is_published_again() -> None:
    me = peer(0, charter(keep=1))
    weights(me, 1)
    checkpoint = me.snapshot()
    weights(me, 2)
    head = message(weights(me, 3))
    again = Peer(me.charter, identity(0), SCHEMA, checkpoint)
    events = again.restore_head(head)
    assert events == [Publish(me.charter.topic, head), Drop(checkpoint.published[0])]
    assert again.sequence == 3 and again.published == me.published
    assert decode_announcement(message(weights(again, 2))).sequence == 4


def test_a_head_older_than_the_state_is_nothing() -> None:
    me = peer(0)
    old = message(weights(me, 1))
    new = message(weights(me, 2))
    assert me.restore_head(old) == [] and me.head == new
    assert me.restore_head(new) == [Publish(OPEN.topic, new)] and me.sequence == 2


def test_a_head_that_is_not_ours_is_ignored() -> None:
    me = peer(0)
    assert reasons(me.restore_head(b"damaged")) == ["malformed"]
    assert reasons(me.restore_head(signed(1))) == ["forged"]
    assert reasons(me.restore_head(signed(0)[:-64] + bytes(64))) == ["forged"]
    assert reasons(me.restore_head(signed(0, swarm_id=bytes(32)))) == ["other swarm"]
    assert me.sequence == 0


def test_a_restored_peer_goes_on_as_if_nothing_had_happened() -> None:
    me, you = peer(0), peer(1)
    for round_ in range(3):
        me.advance(round_)
        hear(me, message(weights(you, round_)))
        take(me)
        weights(me, round_)
    hear(me, message(weights(you, 3)))
    again = Peer(OPEN, identity(0), SCHEMA, me.snapshot())
    assert again.snapshot() == me.snapshot()
    assert again.contributions() == me.contributions()
    later = message(weights(you, 4))
    for one in (me, again):
        hear(one, later)
    assert again.wanted(NOW) == me.wanted(NOW)
    assert weights(again, 9) == weights(me, 9)


def test_an_offer_survives_a_restart() -> None:
    me, you = peer(0), peer(1)
    data = message(weights(you, 1))
    hear(me, data)
    (fetch,) = me.wanted(NOW)  # under way when we are killed
    again = Peer(OPEN, identity(0), SCHEMA, me.snapshot())
    assert reasons(hear(again, data)) == ["replay"]
    assert again.wanted(NOW) == [fetch]


def test_a_state_of_another_swarm_or_key_is_refused() -> None:
    state = peer(0).snapshot()
    with pytest.raises(StateError, match="another swarm or key: give the charter"):
        Peer(charter("another"), identity(0), SCHEMA, state)
    with pytest.raises(StateError, match="another swarm or key"):
        Peer(OPEN, identity(1), SCHEMA, state)


# -- what is fetched -----------------------------------------------------------------------


def offers(me: Peer, n: int, round_: int = 1, samples: int = 10) -> None:
    for number in range(1, n + 1):
        data = signed(
            number, round=round_, samples=samples, payload=payload_cid(f"{number} {round_}")
        )
        assert reasons(hear(me, data)) == ["heard"]


def test_fan_in_bounds_what_is_under_way() -> None:
    me = peer(0, charter("test", fan_in=3))
    others = [peer(number, me.charter) for number in range(1, 7)]
    for other in others:
        hear(me, message(weights(other, 1)))
    assert len(me.wanted(NOW, limit=1)) == 1
    under_way = me.wanted(NOW)
    assert len(under_way) == 2 and me.wanted(NOW) == []
    me.fetched(under_way[0], True, None, NOW)
    assert len(me.wanted(NOW)) == 1
    assert me.n_remembered == 1


def test_the_choice_is_that_of_the_document() -> None:
    me = peer(0)
    offers(me, 6)
    me.advance(4)
    ids = [identity(number).peer_id for number in range(1, 7)]
    assert [f.peer_id for f in me.wanted(NOW)] == choose(me.peer_id, 4, ids, 2)


def test_everybody_is_fetched_once() -> None:
    me = peer(0)
    offers(me, 6)
    seen = [fetch.peer_id for _ in range(6) for fetch in take(me)]
    assert sorted(seen) == sorted(identity(number).peer_id for number in range(1, 7))
    assert me.wanted(NOW) == []


def test_the_newest_offer_counts() -> None:
    me, you = peer(0), peer(1)
    hear(me, message(weights(you, 1)))
    newest = message(weights(you, 2))
    hear(me, newest)
    (fetch,) = me.wanted(NOW)
    said = decode_announcement(newest)
    assert fetch == Fetch(
        you.peer_id,
        said.payload,
        2,
        said.samples,
        said.sequence,
        said.addresses,  # type: ignore[arg-type]
    )


def test_a_newer_model_replaces_the_older() -> None:
    me, you = peer(0), peer(1)
    hear(me, message(weights(you, 1)))
    (old,) = take(me)
    hear(me, message(weights(you, 2)))
    (new,) = me.wanted(NOW)
    assert me.fetched(new, True, None, NOW) == [
        Accepted(you.peer_id, new.cid, 2),
        Forgot(you.peer_id, old.cid),
    ]
    assert [c.cid for c in me.contributions()] == [new.cid]


def test_stale_offers_are_not_fetched() -> None:
    me = peer(0, charter(max_staleness=3))
    hear(me, message(weights(peer(1, me.charter), 6)))
    me.advance(10)
    assert me.wanted(NOW) == []
    hear(me, message(weights(peer(2, me.charter), 7)))
    assert [f.round for f in me.wanted(NOW)] == [7]


def test_an_unreachable_payload_is_tried_four_times() -> None:
    me = peer(0)
    offers(me, 1)
    waits = []
    now = NOW
    (fetch,) = me.wanted(now)
    for _ in range(4):
        assert me.fetched(fetch, False, "no route", now, reachable=False) == [
            Rejected(fetch.peer_id, fetch.cid, Reason.UNREACHABLE, "no route")
        ]
        tries = ((wait, me.wanted(now + wait)) for wait in (0.9, 1.0, 3.9, 4.0, 15.9, 16.0, 1e9))
        waits.append(next((wait for wait, again in tries if again), None))
        now += waits[-1] or 0.0
    assert waits == [1.0, 4.0, 16.0, None]


def test_a_refused_payload_is_never_fetched_again() -> None:
    me, you = peer(0), peer(1)
    hear(me, message(weights(you, 1)))
    (fetch,) = me.wanted(NOW)
    assert me.fetched(fetch, False, "NaN", NOW) == [
        Rejected(you.peer_id, fetch.cid, Reason.REFUSED, "NaN")
    ]
    assert me.wanted(NOW + 1e6) == []
    hear(me, message(weights(you, 2)))
    assert len(me.wanted(NOW)) == 1  # the next one has its own chance


def test_a_fetch_is_answered_once() -> None:
    me = peer(0)
    offers(me, 1)
    (fetch,) = me.wanted(NOW)
    assert me.fetched(fetch, False, "late", NOW, reachable=False)
    assert me.fetched(fetch, True, None, NOW) == []
    assert me.contributions() == []


def test_a_fetch_that_is_never_answered_frees_its_place() -> None:
    me = peer(0)
    offers(me, 3)
    lost = me.wanted(NOW)
    assert len(lost) == 2 and me.wanted(NOW + 5.0) == []
    (other,) = me.wanted(NOW + 6.0)  # slow ones count no more
    assert other not in lost
    assert me.fetched(other, True, None, NOW + 7.0) and me.wanted(NOW + 300.0) == []
    assert me.wanted(NOW + 301.0) == []  # given up, and tried again after 1 s
    assert me.fetched(lost[0], True, None, NOW + 301.0) == []
    assert len(me.wanted(NOW + 302.0)) == 2


def test_slow_fetches_are_not_heaped_up() -> None:
    me = peer(0, charter("test", fan_in=2))
    offers(me, 20)
    taken = [len(me.wanted(NOW + 6.0 * number)) for number in range(5)]
    assert taken == [2, 2, 2, 0, 0]


def test_peers_never_fetched_from_come_first() -> None:
    me = peer(0)
    others = {number: peer(number) for number in range(1, 7)}
    seen: list[str] = []
    for round_ in range(3):
        me.advance(round_)
        for other in others.values():
            hear(me, message(weights(other, round_)))
        seen += [fetch.peer_id for fetch in take(me)]
    assert sorted(seen) == sorted(other.peer_id for other in others.values())


def test_bye_keeps_what_was_fetched() -> None:
    me, you = peer(0), peer(1)
    hear(me, message(weights(you, 1)))
    take(me)
    common = dict(round=1, samples=0, loss=None, addresses=(), now=NOW)
    bye = you.announce(None, kind=Kind.BYE, **common)  # type: ignore[arg-type]
    assert reasons(hear(me, message(bye))) == ["heard"]
    assert [record.gone for record in me.known] == [True]
    assert me.n_remembered == 1 and me.wanted(NOW) == []
    hear(me, message(weights(you, 2)))
    assert [record.gone for record in me.known] == [False]


def test_records_of_data_are_heard_but_not_fetched() -> None:
    me = peer(0)
    assert reasons(hear(me, signed(1, kind=Kind.DATA))) == ["heard"]
    assert me.wanted(NOW) == []


def test_what_is_forgotten_is_wanted_again() -> None:
    me = peer(0)
    offers(me, 1)
    (fetch,) = take(me)
    assert me.forget(fetch.peer_id) == [Forgot(fetch.peer_id, fetch.cid)]
    assert me.forget(fetch.peer_id) == []
    assert me.wanted(NOW) == [fetch]


# -- what is merged ------------------------------------------------------------------------


def test_weights_are_samples_and_decay() -> None:
    me = peer(0, charter(decay=0.5))
    you = peer(1, me.charter)
    hear(me, message(weights(you, 3, samples=40)))
    (fetch,) = take(me)
    for own_round, weight in ((0, 40.0), (3, 40.0), (4, 20.0), (6, 5.0)):
        me.advance(own_round)
        assert me.contributions() == [Contribution(you.peer_id, fetch.cid, 3, 40, weight)]


def test_the_order_of_arrival_does_not_matter() -> None:
    found = []
    for order in ((1, 2, 3), (3, 1, 2), (2, 3, 1)):
        me = peer(0)
        for number in order:
            hear(me, signed(number))
            take(me)
        found.append(me.contributions())
    assert found[0] == found[1] == found[2]
    assert [c.peer_id for c in found[0]] == sorted(c.peer_id for c in found[0])


def test_memory_is_bounded_and_the_stalest_goes() -> None:
    me = peer(0, charter(remember=2, fan_in=64))
    me.advance(10)
    others = {round_: peer(round_, me.charter) for round_ in (3, 5, 7)}
    for round_ in (5, 3):
        hear(me, message(weights(others[round_], round_)))
        take(me)
    hear(me, message(weights(others[7], 7)))
    (fetch,) = me.wanted(NOW)
    assert me.fetched(fetch, True, None, NOW)[1:] == [
        Forgot(others[3].peer_id, me.known[1].offer.cid)  # type: ignore[union-attr]
    ]
    assert {c.round for c in me.contributions()} == {5, 7}
    assert me.wanted(NOW) == []  # the one that had to go is not fetched to go again


def test_a_huge_round_does_not_stay_for_ever() -> None:
    me = peer(0, charter(remember=1))
    liar, honest = peer(1, me.charter), peer(2, me.charter)
    me.advance(5)
    hear(me, message(weights(liar, 2**40 - 1)))
    take(me)
    hear(me, message(weights(honest, 5)))
    assert me.wanted(NOW) == []  # both count as round 5, and memory is full
    me.advance(7)
    hear(me, message(weights(honest, 6)))
    (fetch,) = me.wanted(NOW)
    me.fetched(fetch, True, None, NOW)
    assert [c.peer_id for c in me.contributions()] == [honest.peer_id]


def test_a_newcomer_adopts_the_median_round() -> None:
    me = peer(0, charter(fan_in=64))
    assert me.adopt_round() == 0
    for number, round_ in ((1, 90), (2, 100), (3, 2**40 - 1), (4, 110)):
        hear(me, message(weights(peer(number, me.charter), round_)))
    take(me)
    assert me.adopt_round() == 100 == me.round
    assert me.adopt_round(50) == 100  # never back
    assert me.adopt_round(120) == 120


def test_rounds_only_grow() -> None:
    me = peer(0)
    me.advance(5)
    me.advance(5)
    for wrong in (4, -1, 2**40):
        with pytest.raises(ValueError, match="cannot follow round 5"):
            me.advance(wrong)


# -- the shape of the thing ----------------------------------------------------------------


def test_no_input_or_output_inside() -> None:
    forbidden = {
        "socket",
        "asyncio",
        "threading",
        "time",
        "random",
        "logging",
        "jax",
        "numpy",
        "os",
    }
    folder = Path(module.__file__).parent
    for path in folder.glob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            names = []
            if isinstance(node, ast.Import):
                names = [alias.name for alias in node.names]
            elif isinstance(node, ast.ImportFrom):
                names = [node.module or ""]
            assert not {name.split(".")[0] for name in names} & forbidden, path


def test_the_same_inputs_give_the_same_outputs() -> None:
    def run() -> list[object]:
        me = peer(0)
        seen: list[object] = []
        for round_ in range(5):
            me.advance(round_)
            for number in range(1, 6):
                data = chain(number, 5)[round_]
                seen += me.receive(data, NOW + round_)
            for fetch in me.wanted(NOW):
                seen += [fetch, *me.fetched(fetch, round_ % 2 == 0, None, NOW)]
            seen += weights(me, round_)
        return [*seen, me.snapshot().to_bytes(), announcement()]

    assert run() == run()

"""What a peer fetches and merges, row by row of docs/protocol.md."""

from __future__ import annotations

from pathlib import Path

import pytest
from swarm.actors import (
    NOW,
    charter,
    hear,
    identity,
    message,
    payload_cid,
    peer,
    reasons,
    signed,
    take,
    weights,
)

from learnae.swarm.announcement import Kind, decode_announcement
from learnae.swarm.events import (
    Accepted,
    Fetch,
    Forgot,
    Reason,
    Rejected,
)
from learnae.swarm.peer import Contribution, Peer
from learnae.swarm.topology import choose

DOC = Path(__file__).parents[2] / "docs" / "protocol.md"


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


def test_who_is_refused_again_and_again_is_waited_for() -> None:
    """Making models that are refused costs others no more than a fetch now and then."""
    me, you = peer(0), peer(1)
    now, waits = NOW, []
    for round_ in range(1, 10):
        hear(me, message(weights(you, round_)))
        tries = ((wait, me.wanted(now + wait)) for wait in (0, 0.9, 1, 1.9, 2, 4, 8, 15.9, 16))
        wait, (fetch,) = next((wait, found) for wait, found in tries if found)
        now += wait
        waits.append(wait)
        me.fetched(fetch, round_ == 8, "NaN", now)
    assert waits == [0, 0, 1, 2, 4, 8, 16, 16, 0], "and one that is accepted makes up for all"


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
    assert me.fetched(other, True, None, NOW + 7.0) and me.wanted(NOW + 3600.0) == []
    assert me.wanted(NOW + 3601.0) == []  # given up, and tried again after 1 s
    assert me.fetched(lost[0], True, None, NOW + 3601.0) == []
    assert len(me.wanted(NOW + 3602.0)) == 2


def test_slow_fetches_are_not_heaped_up() -> None:
    me = peer(0, charter("test", fan_in=2))
    offers(me, 20)
    taken = [len(me.wanted(NOW + 6.0 * number)) for number in range(5)]
    assert taken == [2, 2, 0, 0, 0]


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


def test_a_newcomer_fetches_one_model_of_each() -> None:
    me, ann, bob = peer(0), peer(1), peer(2)
    hear(me, message(weights(ann, 1)))
    (first,) = me.wanted(NOW, only_new=True)
    assert me.fetched(first, True, None, NOW)
    hear(me, message(weights(ann, 2)))
    hear(me, message(weights(bob, 2)))
    (second,) = me.wanted(NOW, only_new=True)
    assert second.peer_id == bob.peer_id
    assert me.fetched(second, True, None, NOW)
    assert me.wanted(NOW, only_new=True) == []
    assert [fetch.peer_id for fetch in me.wanted(NOW)] == [first.peer_id]


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
    me.advance(120)
    assert me.adopt_round() == 120  # never back


def test_a_newcomer_who_hears_only_a_liar_can_still_count() -> None:
    me = peer(0)
    hear(me, message(weights(peer(1), 2**40 - 1)))
    take(me)
    assert me.adopt_round() == me.charter.training.rounds
    me.advance(me.round + 1)


def test_rounds_only_grow() -> None:
    me = peer(0)
    me.advance(5)
    me.advance(5)
    for wrong in (4, -1, 2**40):
        with pytest.raises(ValueError, match="cannot follow round 5"):
            me.advance(wrong)

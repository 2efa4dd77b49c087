"""A peer's first moments: nobody there, a swarm under way, and swarms that cannot be had."""

from __future__ import annotations

import time

import numpy as np
import pytest
from node.actors import Member, Unreliable, charter, full

from learnae.errors import ClockError
from learnae.node.fetching import Fetchers
from learnae.node.newcomer import adopt, listen_at_start
from learnae.swarm import Kind
from learnae.transports import cid_of
from learnae.transports.memory import MemoryNetwork

SWARM = charter(fan_in=2)
YEARS = 3 * 365.25 * 86400


@pytest.fixture
def network() -> MemoryNetwork:
    return MemoryNetwork()


def adopt_as(me: Member, patience_s: float, deadline_s: float) -> bool:
    fetchers = Fetchers(me.session, me.params)
    try:
        return adopt(me.session, fetchers, me.params, patience_s, deadline_s)
    finally:
        fetchers.close()
        fetchers.join()


def under_way(network: MemoryNetwork, n_peers: int) -> list[Member]:
    members = [Member(network, number, SWARM) for number in range(1, n_peers + 1)]
    for member in members:
        member.session.advance(20)
        member.publish(time.time(), samples=10 * int(member.params[0]))
    return members


def test_nobody_there(network: MemoryNetwork) -> None:
    me = Member(network, 9, SWARM)
    assert not adopt_as(me, 0.0, 60.0)
    assert np.array_equal(me.params, full(9.0))


def test_somebody_who_has_no_model_yet(network: MemoryNetwork) -> None:
    Member(network, 1, SWARM).session.say(Kind.HELLO, time.time())
    me = Member(network, 9, SWARM)
    assert not adopt_as(me, 0.0, 60.0), "nobody to wait for"


def test_under_way(network: MemoryNetwork) -> None:
    under_way(network, 5)
    me = Member(network, 9, SWARM)
    assert adopt_as(me, 0.0, 60.0)
    assert me.params == pytest.approx(sum(n * n for n in range(1, 6)) / 15)
    assert me.session.n_remembered == 5, "all of them, more than are fetched at a time"
    assert me.session.adopt_round() == 21


def test_goes_on_fetching_afterwards(network: MemoryNetwork) -> None:
    members = under_way(network, 5)
    me = Member(network, 9, SWARM)
    adopt_as(me, 0.0, 60.0)
    for _ in range(3):
        for member in members:
            member.params += 1
            member.publish(time.time())
        assert me.hear(time.time()) == [True] * 5, "no place is taken by a fetch that never ends"


def test_first_shift(network: MemoryNetwork) -> None:
    (other,) = under_way(network, 1)
    me = Member(network, 9, SWARM)
    adopt_as(me, 0.0, 60.0)
    assert me.session.merge(me.params, None, 0, own=False).shift is None
    other.publish(time.time(), samples=30, gradient=full(8.0))
    me.hear(time.time())
    assert me.session.merge(me.params, full(4.0), 10).shift == pytest.approx(7.0 - 4.0)


def test_only_a_relay_is_there(network: MemoryNetwork) -> None:
    relay = Member(network, 3, SWARM)
    relay.session.advance(7)
    relay.publish(time.time(), samples=0)
    me = Member(network, 9, SWARM)
    assert adopt_as(me, 0.0, 60.0)
    assert np.array_equal(me.params, full(3.0))
    assert me.session.adopt_round() == 8


def test_announced_and_not_to_be_had(network: MemoryNetwork) -> None:
    Member(network, 1, SWARM).announce(cid_of(b"nowhere"), time.time())
    made: list[Unreliable] = []
    me = Member(network, 9, SWARM, wrap=lambda inner: made.append(Unreliable(inner)) or made[0])  # type: ignore[func-returns-value]
    assert not adopt_as(me, 0.0, 0.2)
    assert made[0].calls.count("get") == 1, "not again and again"
    assert np.array_equal(me.params, full(9.0))
    assert me.session.adopt_round() == 0


def test_one_that_cannot_be_had_does_not_keep_the_others_away(network: MemoryNetwork) -> None:
    under_way(network, 2)
    Member(network, 7, SWARM).announce(cid_of(b"nowhere"), time.time())
    me = Member(network, 9, SWARM)
    assert adopt_as(me, 0.0, 60.0)
    assert me.params == pytest.approx((1 * 10 + 2 * 20) / 30)


def test_a_lie_is_not_adopted(network: MemoryNetwork) -> None:
    liar = Member(network, 1, SWARM)
    liar.params = full(1e9)
    liar.publish(time.time())
    me = Member(network, 9, SWARM)
    assert not adopt_as(me, 0.0, 0.2)
    assert np.array_equal(me.params, full(9.0))


@pytest.mark.parametrize("skew_s", [YEARS, 2 * 86400])
def test_clock_suspect(network: MemoryNetwork, skew_s: float) -> None:
    for number in range(3):
        Member(network, number, SWARM).publish(time.time() + skew_s)
    me = Member(network, 9, SWARM)
    with pytest.raises(ClockError, match=r"3 other peer.*later.*timedatectl"):
        listen_at_start(me.session)
    with pytest.raises(ClockError):
        adopt_as(me, 0.0, 60.0)


def test_one_clock_that_is_wrong_keeps_nobody_out(network: MemoryNetwork) -> None:
    Member(network, 1, SWARM).publish(time.time() + YEARS)  # heard first
    for number in (2, 3):
        Member(network, number, SWARM).publish(time.time())
    me = Member(network, 9, SWARM)
    assert adopt_as(me, 0.0, 60.0)
    assert me.params == pytest.approx(2.5)

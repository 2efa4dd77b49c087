"""Several peers and a bad network in one process: everybody ends up remembering everybody."""

from __future__ import annotations

import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from swarm.actors import NOW, SCHEMA, charter, identity, message, peer, weights

from learnae.swarm.events import Accepted
from learnae.swarm.peer import Peer
from learnae.swarm.state import PeerState


class Network:
    """Delivers in random order, loses some, doubles some; restarts a peer now and then."""

    def __init__(self, n_peers: int, seed: int, loss: float, double: float) -> None:
        self.swarm = charter(fan_in=2)
        self.peers = [peer(number, self.swarm) for number in range(n_peers)]
        self.waiting: list[tuple[int, bytes]] = []
        self.stored: set[bytes] = set()
        self.draw = random.Random(seed)
        self.loss, self.double = loss, double

    def send(self, sender: int, data: bytes) -> None:
        for receiver in range(len(self.peers)):
            copies = 1 + (self.draw.random() < self.double)
            for _ in range(copies):
                if receiver != sender and self.draw.random() >= self.loss:
                    self.waiting.append((receiver, data))

    def turn(self, number: int, round_: int, now: float) -> None:
        """Let one peer do a round: train (pretended), announce, fetch."""
        me = self.peers[number]
        me.advance(max(me.round, round_))
        data = message(weights(me, me.round, now))
        self.stored |= set(me.published)
        self.send(number, data)
        for fetch in me.wanted(now):
            assert fetch.cid in self.stored
            me.fetched(fetch, True, None, now)

    def deliver(self, share: float, now: float) -> None:
        self.draw.shuffle(self.waiting)
        cut = int(len(self.waiting) * share)
        due, self.waiting = self.waiting[:cut], self.waiting[cut:]
        for receiver, data in due:
            self.peers[receiver].receive(data, now)

    def restart(self, number: int) -> None:
        state = PeerState.from_bytes(self.peers[number].snapshot().to_bytes())
        self.peers[number] = Peer(self.swarm, identity(number), SCHEMA, state)


def run(n_peers: int, seed: int, loss: float, double: float, rounds: int) -> Network:
    network = Network(n_peers, seed, loss, double)
    for round_ in range(rounds):
        now = NOW + round_
        order = list(range(n_peers))
        network.draw.shuffle(order)
        for number in order:
            network.turn(number, round_, now)
            network.deliver(0.6, now)
        if network.draw.random() < 0.2:
            network.restart(network.draw.randrange(n_peers))
    # Afterwards nobody trains any more: peers repeat themselves and fetch what is left.
    for later in range(200):
        now = NOW + rounds + later
        for number, me in enumerate(network.peers):
            network.send(number, message(me.republish(now)))
            for fetch in me.wanted(now):
                me.fetched(fetch, True, None, now)
        network.deliver(1.0, now)
    return network


@given(
    st.integers(2, 6),
    st.integers(0, 2**32),
    st.floats(0, 0.5),
    st.floats(0, 0.5),
    st.integers(1, 8),
)
@settings(max_examples=15)
def test_everybody_remembers_everybodys_last_model(
    n_peers: int, seed: int, loss: float, double: float, rounds: int
) -> None:
    network = run(n_peers, seed, loss, double, rounds)
    last = {me.peer_id: me.published[-1] for me in network.peers}
    for me in network.peers:
        others = {peer_id: cid for peer_id, cid in last.items() if peer_id != me.peer_id}
        assert {c.peer_id: c.cid for c in me.contributions()} == others
        assert me.wanted(NOW) == []


@pytest.mark.parametrize("seed", range(3))
def test_the_same_seed_gives_the_same_swarm(seed: int) -> None:
    first, second = (run(4, seed, 0.3, 0.3, 5) for _ in range(2))
    states = [[me.snapshot().to_bytes() for me in network.peers] for network in (first, second)]
    assert states[0] == states[1]


def test_small_fan_in_reaches_a_large_swarm() -> None:
    """With two fetches a round everybody is found by chance before long (coupon collector)."""
    network = Network(10, 1, 0.0, 0.0)
    for round_ in range(40):
        for number in range(10):
            network.turn(number, round_, NOW + round_)
        network.deliver(1.0, NOW + round_)
    assert [me.n_remembered for me in network.peers] == [9] * 10
    ages = [me.round - c.round for me in network.peers for c in me.contributions()]
    assert 3.0 < sum(ages) / len(ages) < 7.0  # drawing 2 of 9 gives 4.5 on average


def test_a_partition_heals() -> None:
    network = Network(4, 5, 0.0, 0.0)
    for round_ in range(30):
        now = NOW + round_
        for number in range(4):
            network.turn(number, round_, now)
        if round_ < 15:  # 0 and 1 do not hear 2 and 3
            network.waiting = [
                (receiver, data)
                for receiver, data in network.waiting
                if sender_of(network, data) // 2 == receiver // 2
            ]
        network.deliver(1.0, now)
        if round_ == 14:
            assert [me.n_remembered for me in network.peers] == [1] * 4
    assert [me.n_remembered for me in network.peers] == [3] * 4


def sender_of(network: Network, data: bytes) -> int:
    heads = [me.head for me in network.peers]
    return heads.index(data)


def test_a_failed_fetch_costs_its_sender_a_place_and_nobody_else() -> None:
    network = Network(5, 2, 0.0, 0.0)
    bad = network.peers[4].peer_id
    for round_ in range(30):
        for number, me in enumerate(network.peers):
            me.advance(round_)
            network.send(number, message(weights(me, round_, NOW + round_)))
        network.deliver(1.0, NOW + round_)
        for me in network.peers:
            for fetch in me.wanted(NOW + round_):
                events = me.fetched(fetch, fetch.peer_id != bad, "bad", NOW + round_)
                assert isinstance(events[0], Accepted) == (fetch.peer_id != bad)
    assert [me.n_remembered for me in network.peers] == [3, 3, 3, 3, 4]

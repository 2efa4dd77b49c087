"""The memory transport: the contract, and faults that repeat themselves."""

from __future__ import annotations

import dataclasses
from collections import Counter

import pytest
from transports.contract import Harness, TransportContract
from transports.nodes_contract import NodesContract

from learnae.errors import NotFound, TransportError
from learnae.transports import Faults, MemoryNetwork, Partition, Subscription, Transport, cid_of

BAD = Faults(loss=0.3, duplicate=0.2, reorder=0.2, damage=0.1, delay_s=(0.01, 2.0))


class MemoryHarness:
    def __init__(self) -> None:
        self.network = MemoryNetwork(seed=7)

    def open(self, name: str) -> Transport:
        return self.network.endpoint(name)

    def damage(self, owner: str, cid: bytes) -> None:
        self.network.faults = dataclasses.replace(self.network.faults, damage=1.0)


class TestMemory(TransportContract, NodesContract):
    @pytest.fixture
    def harness(self) -> Harness:
        return MemoryHarness()


class Clock:
    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


def drain(network: MemoryNetwork, clock: Clock, heard: Subscription) -> list[tuple[float, bytes]]:
    """Jump from event to event, and note what arrives when."""
    arrivals = []
    while (when := network.next_event_time()) is not None:
        clock.now = max(clock.now, when)
        messages = heard.take()
        assert messages, "next_event_time promised something"
        arrivals += [(clock.now, message) for message in messages]
    return arrivals


def conversation(seed: int, faults: Faults, n: int = 400) -> list[tuple[float, bytes]]:
    clock = Clock()
    network = MemoryNetwork(seed, faults, clock)
    ann, heard = network.endpoint("ann"), network.endpoint("bob").subscribe("t")
    for i in range(n):
        clock.now = 100.0 + i
        ann.publish("t", b"%d" % i)
    clock.now = 100.0
    return drain(network, clock, heard)


def test_same_seed_same_faults() -> None:
    assert conversation(1, BAD) == conversation(1, BAD)
    assert conversation(1, BAD) != conversation(2, BAD)


def test_rates() -> None:
    counts = Counter(message for _, message in conversation(3, BAD, n=4000))
    assert 0.27 < 1 - len(counts) / 4000 < 0.33
    assert 0.17 < sum(n == 2 for n in counts.values()) / len(counts) < 0.23
    assert max(counts.values()) == 2


def test_delays_keep_order_unless_reordered() -> None:
    arrivals = conversation(4, Faults(delay_s=(0.5, 5.0)))
    numbers = [int(message) for _, message in arrivals]
    assert numbers == list(range(400))
    delays = [when - 100.0 - number for (when, _), number in zip(arrivals, numbers, strict=True)]
    assert 0.5 <= min(delays) < 1.0
    assert 4.0 < max(delays) <= 5.0
    shuffled = [int(m) for _, m in conversation(4, Faults(reorder=0.3, delay_s=(0.5, 5.0)))]
    assert shuffled != sorted(shuffled)
    assert sorted(shuffled) == numbers


def test_reordering_within_a_moment() -> None:
    network = MemoryNetwork(5, Faults(reorder=0.3), Clock())
    ann, heard = network.endpoint("ann"), network.endpoint("bob").subscribe("t")
    for i in range(100):
        ann.publish("t", b"%d" % i)
    numbers = [int(message) for message in heard.take()]
    assert numbers != sorted(numbers)
    assert sorted(numbers) == list(range(100))


def test_a_link_does_not_depend_on_other_links() -> None:
    def heard_by_bob(with_others: bool) -> list[bytes]:
        network = MemoryNetwork(6, Faults(loss=0.5))
        names = ["ann", "bob", "eve", "joe"] if with_others else ["ann", "bob"]
        peers = {name: network.endpoint(name) for name in names}
        subscriptions = {name: peers[name].subscribe("t") for name in reversed(names)}
        for i in range(50):
            for name in names[2:]:
                peers[name].publish("t", b"noise")
            peers["ann"].publish("t", b"%d" % i)
        return [message for message in subscriptions["bob"].take() if message != b"noise"]

    assert heard_by_bob(False) == heard_by_bob(True)


def test_partition_and_healing() -> None:
    clock = Clock()
    split = Partition(110.0, 120.0, [["ann", "bob"], ["eve"]])
    network = MemoryNetwork(8, Faults(partitions=(split,)), clock)
    ann, bob, eve, joe = (network.endpoint(name) for name in ("ann", "bob", "eve", "joe"))
    heard = {peer.name: peer.subscribe("t") for peer in (bob, eve, joe)}
    cid = ann.put(b"model")
    for clock.now in (109.0, 110.0, 119.9, 120.0):  # joe, named nowhere, is a group of his own
        ann.publish("t", b"%g" % clock.now)
        bob.get(cid, 10, 1.0)
        for peer in (eve, joe):
            if 110.0 <= clock.now < 120.0:
                assert not network.reachable("ann", peer.name)
                with pytest.raises(NotFound):
                    peer.get(cid, 10, 1.0)
            else:
                assert peer.get(cid, 10, 1.0) == b"model"
    assert heard["bob"].take() == [b"109", b"110", b"119.9", b"120"]
    assert heard["eve"].take() == heard["joe"].take() == [b"109", b"120"]


def test_partition_as_plain_tuple_and_message_under_way() -> None:
    clock = Clock()
    faults = Faults(delay_s=(3.0, 3.0), partitions=((102.0, 200.0, (("ann",), ("bob",))),))
    network = MemoryNetwork(8, faults, clock)
    ann, heard = network.endpoint("ann"), network.endpoint("bob").subscribe("t")
    ann.publish("t", b"before")
    assert network.next_event_time() == 103.0
    clock.now = 102.9
    ann.publish("t", b"inside")
    assert heard.take() == []
    clock.now = 103.0
    assert heard.take() == [b"before"]
    assert network.next_event_time() is None


def test_fetches_fail_at_the_given_rates() -> None:
    network = MemoryNetwork(9, Faults(loss=0.3, damage=0.2))
    ann, bob = network.endpoint("ann"), network.endpoint("bob")
    cid = ann.put(b"model")
    outcomes = Counter[str]()
    for _ in range(2000):
        try:
            assert bob.get(cid, 10, 1.0) == b"model"
            outcomes["ok"] += 1
        except TransportError as error:
            assert not isinstance(error, NotFound)
            outcomes["damaged" if "damaged" in str(error) else "lost"] += 1
    assert 0.27 < outcomes["lost"] / 2000 < 0.33
    assert 0.11 < outcomes["damaged"] / 2000 < 0.17
    assert all(ann.get(cid, 10, 1.0) == b"model" for _ in range(20)), "own objects have no faults"


def test_another_holder_helps_out() -> None:
    network = MemoryNetwork(10)
    ann, bob, eve = (network.endpoint(name) for name in ("ann", "bob", "eve"))
    cid = ann.put(b"model")
    bob.put(b"model")
    ann.close()
    assert eve.get(cid, 10, 1.0) == b"model"
    bob.close()
    with pytest.raises(NotFound):
        eve.get(cid, 10, 1.0)
    assert network.endpoint("bob").owned() == [cid]
    assert eve.get(cid, 10, 1.0) == b"model"


def test_transfer_delays() -> None:
    def draws(seed: int) -> list[float]:
        network = MemoryNetwork(seed, Faults(delay_s=(0.5, 1.5)))
        return [network.transfer_delay_s("ann", "bob") for _ in range(200)]

    assert draws(1) == draws(1) != draws(2)
    assert all(1.0 <= delay <= 3.0 for delay in draws(1))
    assert max(draws(1)) - min(draws(1)) > 1.0
    assert MemoryNetwork(1).transfer_delay_s("ann", "bob") == 0.0


def test_memory_is_bounded_when_nobody_takes() -> None:
    network = MemoryNetwork(1)
    ann, heard = network.endpoint("ann"), network.endpoint("bob").subscribe("t")
    for i in range(9000):
        ann.publish("t", b"%d" % i)
    messages = heard.take()
    assert len(messages) == 8192
    assert messages[-1] == b"8999"


def test_empty_object_can_be_damaged() -> None:
    network = MemoryNetwork(1, Faults(damage=1.0))
    network.endpoint("ann").put(b"")
    with pytest.raises(TransportError, match="damaged"):
        network.endpoint("bob").get(cid_of(b""), 10, 1.0)


def test_one_endpoint_of_a_name() -> None:
    network = MemoryNetwork(1)
    network.endpoint("ann")
    with pytest.raises(TransportError, match="already connected"):
        network.endpoint("ann")


@pytest.mark.parametrize(
    "wrong",
    [{"loss": 1.1}, {"duplicate": -0.1}, {"damage": float("nan")}, {"delay_s": (2.0, 1.0)},
     {"delay_s": (-1.0, 1.0)}, {"delay_s": (0.0, float("inf"))}],
)  # fmt: skip
def test_impossible_faults(wrong: dict[str, float]) -> None:
    with pytest.raises(ValueError, match="Faults"):
        Faults(**wrong)  # type: ignore[arg-type]

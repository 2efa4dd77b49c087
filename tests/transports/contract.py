"""What every transport must do, as executable tests.

A transport's own test module derives from `TransportContract` and gives a `harness`.
"""

from __future__ import annotations

import hashlib
import mmap
import threading
import time
from typing import Protocol

import pytest

from learnae.errors import NotFound, TransportError
from learnae.transports import Transport, cid_of
from learnae.transports.seam import MAX_MESSAGE_NBYTES

__all__ = ["ABSENT_S", "PATIENCE_S", "TOPIC", "Harness", "TransportContract"]

MIB = 1 << 20
TOPIC = "learnae/1/" + "0f" * 32
# For what is there, however busy the machine, and for what is not.
PATIENCE_S, ABSENT_S = 30.0, 0.5
SIZES = [0, 1, 10_000, (1 << 18) - 1, 1 << 18, MIB, MIB + 1, 3 * MIB + 7]


class Harness(Protocol):
    def open(self, name: str) -> Transport:
        """Connect a peer; all of one harness reach each other without faults."""
        ...

    def damage(self, owner: str, cid: bytes) -> None:
        """Change a bit of an object that `owner` stores, or of it on its way."""
        ...


def sample(n: int, salt: int = 0) -> bytes:
    return hashlib.shake_256(b"%d" % salt).digest(n)


class TransportContract:
    # What a transport that seals its objects may say differently.
    MAX_MESSAGE_NBYTES = MAX_MESSAGE_NBYTES

    def name_of(self, data: bytes) -> bytes:
        """Return the CID that an object must get."""
        return cid_of(data)

    def stored_nbytes(self, n: int) -> int:
        """Return how large an object of `n` bytes is in the store."""
        return n

    @pytest.fixture
    def ann(self, harness: Harness) -> Transport:
        return harness.open("ann")

    @pytest.fixture
    def bob(self, harness: Harness) -> Transport:
        return harness.open("bob")

    # -- store ---------------------------------------------------------------------------

    @pytest.mark.parametrize("n", SIZES)
    def test_put_and_get(self, ann: Transport, bob: Transport, n: int) -> None:
        data = sample(n)
        cid = ann.put(data)
        assert cid == self.name_of(data)
        for peer in (ann, bob):
            view = peer.get(cid, n, PATIENCE_S)
            assert view == data
            assert view.readonly
            assert view.format == "B"

    def test_any_buffer_is_copied(self, ann: Transport, bob: Transport) -> None:
        data = sample(300_000)
        mapped = mmap.mmap(-1, len(data))
        mapped[:] = data
        array = bytearray(data)
        for buffer in (data, array, memoryview(data), mapped):
            assert ann.put(buffer) == self.name_of(data)
        array[:] = bytes(len(data))
        array.append(1)
        mapped.close()
        assert bob.get(self.name_of(data), len(data), PATIENCE_S) == data

    def test_put_again(self, ann: Transport) -> None:
        first, second = ann.put(b"first"), ann.put(b"second")
        assert ann.owned() == [first, second]
        assert ann.put(b"first") == first
        assert ann.owned() == [second, first]

    def test_owned_is_in_order_and_drop_is_only_for_oneself(
        self, ann: Transport, bob: Transport
    ) -> None:
        cids = [ann.put(b"%d" % i) for i in range(20)]
        assert ann.owned() == cids
        assert bob.owned() == []
        bob.put(b"3")
        ann.drop(cids[3])
        ann.drop(cids[3])
        ann.drop(cid_of(b"never seen"))
        assert ann.owned() == cids[:3] + cids[4:]
        assert ann.get(cids[3], 10, PATIENCE_S) == b"3"
        bob.drop(cids[3])
        ann.drop(cids[3])  # what was fetched may stay for others, until it is dropped as well
        with pytest.raises(NotFound):
            ann.get(cids[3], 10, ABSENT_S)

    def test_larger_than_accepted(self, ann: Transport, bob: Transport) -> None:
        for n in (1000, 2 * MIB):
            cid = ann.put(sample(n))
            stored = self.stored_nbytes(n)
            for peer in (ann, bob):
                line = f"{stored} bytes.* {stored - 1} "
                with pytest.raises(TransportError, match=line) as caught:
                    peer.get(cid, n - 1, PATIENCE_S)
                assert not isinstance(caught.value, NotFound)

    def test_unknown(self, ann: Transport) -> None:
        with pytest.raises(NotFound):
            ann.get(cid_of(b"nobody has this"), 100, ABSENT_S)

    @pytest.mark.parametrize("cid", [b"", b"../../x", cid_of(b"")[:-1], b"\2" + cid_of(b"")[1:]])
    def test_not_a_cid(self, ann: Transport, cid: bytes) -> None:
        with pytest.raises(ValueError, match="is not a CID"):
            ann.get(cid, 100, PATIENCE_S)
        with pytest.raises(ValueError, match="is not a CID"):
            ann.drop(cid)

    @pytest.mark.parametrize("n", [1, 10_000, 2 * MIB])
    def test_damage_is_noticed(
        self, harness: Harness, ann: Transport, bob: Transport, n: int
    ) -> None:
        cid = ann.put(sample(n))
        assert bob.get(cid, n, PATIENCE_S) == sample(n)
        harness.damage("ann", cid)
        for _ in range(2):
            with pytest.raises(TransportError):
                bob.get(cid, n, 5.0)

    @pytest.mark.parametrize("n", [10, 3 * MIB])
    def test_a_view_outlives_its_object(self, ann: Transport, bob: Transport, n: int) -> None:
        cid = ann.put(sample(n))
        view = bob.get(cid, n, PATIENCE_S)
        ann.drop(cid)
        ann.close()
        bob.close()
        assert view == sample(n)

    # -- pubsub --------------------------------------------------------------------------

    def test_messages_arrive_once_and_in_order(self, ann: Transport, bob: Transport) -> None:
        heard = bob.subscribe(TOPIC)
        assert heard.take() == []
        messages = [b"", b"\xff" * 1000, b"\n", bytes(self.MAX_MESSAGE_NBYTES)]
        for message in messages:
            ann.publish(TOPIC, message)
        assert heard.take() == messages
        assert heard.take() == []
        ann.publish(TOPIC, b"more")
        assert heard.take() == [b"more"]

    def test_own_messages_are_left_out(self, ann: Transport, bob: Transport) -> None:
        hers, his = ann.subscribe(TOPIC), bob.subscribe(TOPIC)
        ann.publish(TOPIC, b"from ann")
        bob.publish(TOPIC, b"from bob")
        assert hers.take() == [b"from bob"]
        assert his.take() == [b"from ann"]
        assert ann.subscribe(TOPIC).take() == [b"from bob"]

    def test_topics_are_apart(self, ann: Transport, bob: Transport) -> None:
        topics = [TOPIC, "a", "a/b", "..", ".", "a%2Fb", " ", "../../up", "A", "~" * 80]
        subscriptions = [bob.subscribe(topic) for topic in topics]
        for i, topic in enumerate(topics):
            ann.publish(topic, b"%d" % i)
        assert [s.take() for s in subscriptions] == [[b"%d" % i] for i in range(len(topics))]

    @pytest.mark.parametrize("topic", ["", "x" * 121, "tab\t", "é", "nul\0"])
    def test_not_a_topic(self, ann: Transport, topic: str) -> None:
        with pytest.raises(ValueError, match="is not a topic"):
            ann.publish(topic, b"")
        with pytest.raises(ValueError, match="is not a topic"):
            ann.subscribe(topic)

    def test_message_too_large(self, ann: Transport) -> None:
        with pytest.raises(ValueError, match="at most"):
            ann.publish(TOPIC, bytes(self.MAX_MESSAGE_NBYTES + 1))

    def test_late_subscriber_hears_the_newest_of_everybody(self, harness: Harness) -> None:
        for name in ("ann", "bob", "eve"):
            peer = harness.open(name)
            for i in range(100):
                peer.publish(TOPIC, b"%s %d" % (name.encode(), i))
        messages = harness.open("late").subscribe(TOPIC).take()
        assert {b"ann 99", b"bob 99", b"eve 99"} <= set(messages)
        assert len(messages) == len(set(messages))
        numbers = [int(m.split()[1]) for m in messages if m.startswith(b"bob")]
        assert numbers == sorted(numbers)

    def test_newest_is_never_lost_however_rarely_taken(
        self, ann: Transport, bob: Transport
    ) -> None:
        heard = bob.subscribe(TOPIC)
        for i in range(300):
            ann.publish(TOPIC, b"%d" % i)
            if i % 7 == 0 or i % 31 == 0:
                assert heard.take()[-1] == b"%d" % i

    def test_several_subscriptions_and_their_end(self, ann: Transport, bob: Transport) -> None:
        one, two = bob.subscribe(TOPIC), bob.subscribe(TOPIC)
        ann.publish(TOPIC, b"1")
        assert one.take() == two.take() == [b"1"]
        one.close()
        one.close()
        ann.publish(TOPIC, b"2")
        assert one.take() == []
        assert two.take() == [b"2"]

    # -- life ----------------------------------------------------------------------------

    def test_closed(self, ann: Transport) -> None:
        heard = ann.subscribe(TOPIC)
        cid = ann.put(b"x")
        ann.close()
        ann.close()
        calls = [
            lambda: ann.put(b"y"),
            lambda: ann.get(cid, 10, PATIENCE_S),
            lambda: ann.drop(cid),
            lambda: ann.owned(),
            lambda: ann.publish(TOPIC, b""),
            lambda: ann.subscribe(TOPIC),
            lambda: heard.take(),
        ]
        for call in calls:
            with pytest.raises(TransportError, match="closed"):
                call()

    def test_coming_back(self, harness: Harness, ann: Transport, bob: Transport) -> None:
        heard = bob.subscribe(TOPIC)
        cids = [ann.put(b"1"), ann.put(b"2")]
        ann.publish(TOPIC, b"before")
        ann.close()
        again = harness.open("ann")
        assert again.owned() == cids
        assert again.subscribe(TOPIC).take() == []
        again.publish(TOPIC, b"after")
        assert heard.take() == [b"before", b"after"]
        assert bob.get(cids[0], 10, PATIENCE_S) == b"1"

    def test_is_a_transport(self, ann: Transport) -> None:
        assert isinstance(ann, Transport)
        assert all(isinstance(address, str) for address in ann.addresses())

    def test_many_threads(self, harness: Harness) -> None:
        n_peers, n_each = 4, 60
        peers = [harness.open(f"peer{i}") for i in range(n_peers)]
        failures: list[BaseException] = []
        deadline = time.monotonic() + 120

        def run(number: int) -> None:
            try:
                talk(peers[number], number, deadline)
            except BaseException as error:
                failures.append(error)

        def talk(peer: Transport, number: int, deadline: float) -> None:
            heard, latest = peer.subscribe(TOPIC), dict.fromkeys(range(n_peers), -1)
            latest[number] = n_each - 1
            sent = 0
            while sent < n_each or min(latest.values()) < n_each - 1:
                assert time.monotonic() < deadline, latest
                if sent < n_each:
                    cid = peer.put(sample(5000, salt=number * 1000 + sent))
                    peer.publish(TOPIC, b"%d %d " % (number, sent) + cid)
                    sent += 1
                for message in heard.take():
                    source, i, cid = message.split(b" ", 2)
                    assert int(i) > latest[int(source)]
                    latest[int(source)] = int(i)
                    view = peer.get(cid, 5000, PATIENCE_S)
                    assert view == sample(5000, salt=int(source) * 1000 + int(i))

        threads = [threading.Thread(target=run, args=(i,)) for i in range(n_peers)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert not failures, failures
        assert [len(peer.owned()) for peer in peers] == [n_each] * n_peers

    def test_one_transport_in_many_threads(self, ann: Transport, bob: Transport) -> None:
        heard = bob.subscribe(TOPIC)
        failures: list[BaseException] = []

        def run(number: int) -> None:
            try:
                for i in range(40):
                    data = b"%d %d" % (number, i)
                    ann.publish(TOPIC, data)
                    assert ann.get(ann.put(data), 100, PATIENCE_S) == data
                    ann.drop(self.name_of(data))
            except BaseException as error:
                failures.append(error)

        threads = [threading.Thread(target=run, args=(i,)) for i in range(4)]
        for thread in threads:
            thread.start()
        messages: list[bytes] = []
        while any(thread.is_alive() for thread in threads):
            messages += heard.take()
        messages += heard.take()
        assert not failures, failures
        assert ann.owned() == []
        assert len(messages) == len(set(messages))
        assert any(message.endswith(b" 39") for message in messages)

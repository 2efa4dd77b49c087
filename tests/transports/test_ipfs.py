"""The ipfs transport on real daemons: the contract, and daemons that go away and come back."""

from __future__ import annotations

import base64
import subprocess
import threading
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from require import need
from transports.contract import MIB, TOPIC, Harness, TransportContract, sample
from transports.daemons import DEADLINE_S, forget_all, until
from transports.nodes_contract import NodesContract
from waiting import wait_until

from kubo import Kubo, Kubos
from learnae.errors import NotFound, TransportError, UsageError
from learnae.transports import cid_of, cid_text, open_transport
from learnae.transports.ipfs import IpfsTransport
from learnae.transports.ipfs.dialling import is_dialable
from learnae.transports.ipfs.frames import Frame, Sign, decode_frame, encode_frame
from learnae.transports.ipfs.pubsub import IpfsSubscription
from learnae.transports.ipfs.quota import BURST, PER_S, Quota
from learnae.transports.ipfs.rpc import api_of_repo


class SettledSubscription:
    """Waits, when taken from, until what all others have sent so far has come."""

    def __init__(self, inner: IpfsSubscription, owner: SettledTransport, topic: str) -> None:
        self._inner, self._owner, self._topic = inner, owner, topic
        self._heard: set[bytes] = set()
        self._open = True

    def take(self) -> list[bytes]:
        taken = self._inner.take()
        harness, name = self._owner.harness, self._owner.name

        def all_came() -> bool:
            # Asked anew each time: only the newest message is never lost, and others go on.
            if harness.newest_of_others(self._topic, name) <= self._heard.union(taken):
                return True
            taken.extend(self._inner.take())
            return False

        if self._open:
            wait_until("no message is lost for good", all_came, DEADLINE_S, poll_s=0.001)
            self._heard.update(taken)
        return taken

    def close(self) -> None:
        self._open = False
        self._inner.close()


class SettledTransport(IpfsTransport):
    """Delivers what was sent before, as the contract asks of transports without a network."""

    def __init__(self, harness: IpfsHarness, name: str) -> None:
        self.harness = harness
        self._publishing = threading.Lock()  # so that the newest is known when threads compete
        super().__init__(str(harness.kubos[name].repo), name)

    def publish(self, topic: str, data: bytes) -> None:
        with self._publishing:
            super().publish(topic, data)
            self.harness.sent[topic][self.name] = bytes(data)

    def subscribe(self, topic: str) -> SettledSubscription:  # type: ignore[override]
        return SettledSubscription(super().subscribe(topic), self, topic)


class IpfsHarness:
    def __init__(self, kubos: Kubos) -> None:
        self.kubos = kubos
        self.transports: list[SettledTransport] = []
        self.sent: dict[str, dict[str, bytes]] = defaultdict(dict)

    def open(self, name: str) -> SettledTransport:
        transport = SettledTransport(self, name)
        self.transports.append(transport)
        return transport

    def newest_of_others(self, topic: str, name: str) -> set[bytes]:
        return {data for sender, data in list(self.sent[topic].items()) if sender != name}

    def damage(self, owner: str, cid: bytes) -> None:
        """Flip a bit in all copies of a block: on a real daemon, bits flip on a disk."""
        for kubo in self.kubos.all():
            for path in kubo.blocks(cid_text(cid))[-1:]:
                data = bytearray(path.read_bytes())
                data[len(data) // 2] ^= 1
                path.write_bytes(data)

    def close(self) -> None:
        for transport in self.transports:
            transport.close()


@pytest.fixture
def harness(kubos: Kubos) -> Iterator[Harness]:
    harness = IpfsHarness(kubos)
    yield harness
    harness.close()
    forget_all(kubos)


@pytest.mark.deadline(300)
class TestIpfs(TransportContract, NodesContract):
    pass


# ---- daemons and networks that fail --------------------------------------------------------


def test_a_daemon_killed_and_started_again(
    pair: tuple[Kubo, Kubo, IpfsTransport, IpfsTransport],
) -> None:
    """Objects, subscription and connection come back; what was said meanwhile is caught up."""
    _, two, ann, bob = pair
    bob.reach(ann.addresses())
    heard = bob.subscribe(TOPIC)
    cid = bob.put(sample(3 * MIB))
    ann.publish(TOPIC, b"before")
    until(lambda: b"before" in heard.take())
    two.kill()
    for call in (lambda: bob.put(b"x"), lambda: bob.publish(TOPIC, b"x")):
        with pytest.raises(TransportError, match="no IPFS daemon"):
            call()
    with pytest.raises(TransportError, match="no IPFS daemon") as caught:
        bob.get(cid_of(b"anything"), 100, 2.0)
    assert not isinstance(caught.value, NotFound)
    assert heard.take() == []
    ann.publish(TOPIC, b"while it was away")
    two.start()
    taken: list[bytes] = []
    until(lambda: taken.extend(heard.take()) or b"while it was away" in taken)
    ann.publish(TOPIC, b"after")
    until(lambda: taken.extend(heard.take()) or b"after" in taken)
    assert len(taken) == 2
    assert bob.owned() == [cid]
    assert ann.get(cid, 3 * MIB, 10.0) == sample(3 * MIB)
    assert bob.get(ann.put(b"new"), 100, 10.0) == b"new"


def test_what_could_not_be_dropped_is_dropped_later(
    pair: tuple[Kubo, Kubo, IpfsTransport, IpfsTransport],
) -> None:
    _, two, _, bob = pair
    cid = bob.put(sample(2 * MIB))
    node = bob.put_node(b"\xa0")
    paths = two.blocks(cid_text(cid)) + two.blocks(cid_text(node))
    assert len(paths) == 4
    two.kill()
    bob.drop(cid)
    bob.drop_node(node)
    assert bob.owned() == []
    two.start()
    until(lambda: not any(path.exists() for path in paths))


def test_a_lost_subscription_is_renewed(
    pair: tuple[Kubo, Kubo, IpfsTransport, IpfsTransport],
) -> None:
    """The stream breaks while the daemon lives: as a proxy or a full buffer would do it."""
    _, _, ann, bob = pair
    bob.reach(ann.addresses())
    heard = bob.subscribe(TOPIC)
    taken: list[bytes] = []
    for i in range(5):
        for answer in list(bob._rpc._open):
            answer.interrupt()
        ann.publish(TOPIC, b"%d" % i)
        until(lambda i=i: taken.extend(heard.take()) or b"%d" % i in taken)  # type: ignore[misc]
    assert taken == [b"%d" % i for i in range(5)]


def test_a_full_repo(kubos: Kubos, tmp_path: Path) -> None:
    """A put on a full disk fails with the cure; when there is space again, it works."""
    disk = tmp_path / "disk"
    disk.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=48m", "tmpfs", disk], capture_output=True, check=False
    )
    need(mounted.returncode == 0, "this user may not mount a small disk")
    try:
        kubo = Kubo("full", disk / "repo")
        try:
            fill_and_free(kubo)
        finally:
            kubo.kill()
    finally:
        subprocess.run(["umount", "-l", disk], check=True)


def fill_and_free(kubo: Kubo) -> None:
    transport = IpfsTransport(str(kubo.repo), "ann")
    cids = []
    with pytest.raises(TransportError, match=r"is full: free space") as caught:
        for i in range(48):
            cids.append(transport.put(sample(2 * MIB, i)))
    assert "\n" not in str(caught.value)
    assert transport.owned() == cids
    assert transport.get(cids[-1], 2 * MIB, 5.0) == sample(2 * MIB, len(cids) - 1)
    for cid in cids[:5]:
        transport.drop(cid)
    cid = transport.put(sample(2 * MIB, 99))
    assert transport.owned() == [*cids[5:], cid]
    transport.close()


def test_no_daemon(tmp_path: Path) -> None:
    for address in (f"ipfs:{tmp_path}", "ipfs:/ip4/127.0.0.1/tcp/1"):
        with pytest.raises(TransportError, match=r"no IPFS daemon .*learnae ipfs up"):
            open_transport(address, "ann")


def test_a_damaged_api_file(
    pair: tuple[Kubo, Kubo, IpfsTransport, IpfsTransport], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Empty, as a crash leaves it: no thread ends of it, and all is well with the next daemon."""
    _, two, ann, bob = pair
    heard = bob.subscribe(TOPIC)
    bob.reach(ann.addresses())
    asking: set[str] = set()

    def watched(repo: str) -> str:
        asking.add(threading.current_thread().name)
        return api_of_repo(repo)

    monkeypatch.setattr("learnae.transports.ipfs.rpc.api_of_repo", watched)
    two.kill()
    for content in ("", "/ip4/127.0.0.1/tcp/99999"):
        (two.repo / "api").write_text(content)
        with pytest.raises(TransportError, match="no IPFS daemon"):
            bob.put(b"x")
        asking.clear()
        until(lambda: asking >= {"learnae-pubsub", "learnae-dial"})
    two.start()
    ann.publish(TOPIC, b"after")
    taken: list[bytes] = []
    until(lambda: taken.extend(heard.take()) or b"after" in taken)


@pytest.mark.parametrize("address", ["ipfs:", "ipfs:/ip4/127.0.0.1/udp/1", "ipfs:/ip4/::"])
def test_not_an_address(address: str) -> None:
    with pytest.raises(UsageError, match=r"ip4/127\.0\.0\.1/tcp/5001"):
        open_transport(address, "ann")


def test_two_peers_on_one_daemon(kubos: Kubos) -> None:
    ann, bob = (IpfsTransport(kubos["ann"].api, name) for name in ("ann", "bob"))
    heard = bob.subscribe(TOPIC)
    ann.publish(TOPIC, b"hello")
    until(lambda: b"hello" in heard.take())
    cid = ann.put(b"x")
    assert (ann.owned(), bob.owned()) == ([cid], [])
    ann.close()
    bob.close()
    assert IpfsTransport(kubos["ann"].api, "bob").owned() == []
    forget_all(kubos)


# ---- anything may arrive --------------------------------------------------------------------


@given(st.binary(max_size=60))
def test_any_frame(data: bytes) -> None:
    frame = decode_frame(data)
    assert frame is None or encode_frame(frame) == data


def test_frames() -> None:
    for sign in Sign:
        frame = Frame(sign, b"12345678", 2**64 - 1, b"data" if sign is Sign.MESSAGE else b"")
        assert decode_frame(encode_frame(frame)) == frame


def test_a_flood_is_thrown_away_unread() -> None:
    """The quota of one sender is used up, and that of another is not."""
    quota, now = Quota(), 100.0
    loud, calm = (b'{"from":"%s","data":"u"}' % name for name in (b"12D3loud", b"12D3calm"))
    admitted = sum(quota.admits(loud, now + i / 2000) for i in range(4000))
    assert admitted == BURST + 2 * PER_S - 1
    assert all(quota.admits(calm, now + i / 10) for i in range(1000))
    assert quota.admits(loud, now + 60.0), "and it is heard again when it calms down"
    assert not quota.admits(b"\xff", now)


def test_only_plain_addresses_are_dialled() -> None:
    peer = "12D3KooWEHhCFjcg2NxjtZwb2u8MUEjHP1kVsmGC4iFG8vbPuBCH"
    assert is_dialable(f"/ip4/10.0.0.1/tcp/4001/p2p/{peer}")
    assert is_dialable(f"/ip6/::1/tcp/4001/p2p/{peer}")
    for bad in (
        "",
        "/ip4/10.0.0.1/tcp/4001",
        f"/ip4/10.0.0.1/udp/4001/quic-v1/p2p/{peer}",
        f"/ip4/10.0.0.1/tcp/4001/p2p/{peer}/p2p-circuit",
        f"/ip4/10.0.0.1/tcp/4001/p2p/{peer}?arg=x",
        f"/ip4/10.0.0.1/tcp/4001/p2p/{peer}\n",
    ):
        assert not is_dialable(bad)


def test_a_flood_of_foreign_messages_costs_memory_for_a_few(
    pair: tuple[Kubo, Kubo, IpfsTransport, IpfsTransport],
) -> None:
    """Nobody takes, one sender shouts: the newest few are kept, and others still get through."""
    one, _, ann, bob = pair
    bob.reach(ann.addresses())
    heard = bob.subscribe(TOPIC)
    rpc = one.rpc()
    topic = "u" + base64.urlsafe_b64encode(TOPIC.encode()).decode().rstrip("=")
    for i in range(160):  # much, and not so much that the daemon is kept out
        if i % 8 == 0:
            rpc.call("pubsub/pub", topic, body=b"not a frame")
        frame = Frame(Sign.MESSAGE, b"flooding", i, b"%d" % i)
        rpc.call("pubsub/pub", topic, body=encode_frame(frame))
    ann.publish(TOPIC, b"honest")
    taken: list[bytes] = []
    until(lambda: taken.extend(heard.take()) or b"honest" in taken)
    assert len(taken) <= 70

"""The ipfs transport on real daemons: the contract, and daemons that go away and come back."""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Callable, Iterator

import pytest
from transports.contract import Harness, TransportContract
from transports.nodes_contract import NodesContract

from kubo import Kubos
from learnae.transports import cid_text
from learnae.transports.ipfs import IpfsTransport
from learnae.transports.ipfs.pubsub import IpfsSubscription

DEADLINE_S = 20.0


def until(done: Callable[[], object], deadline_s: float = DEADLINE_S) -> None:
    """Wait until `done()` is true: another process has no event that could be waited for."""
    end = time.monotonic() + deadline_s
    while not done():
        assert time.monotonic() < end, f"not within {deadline_s:g} s"
        time.sleep(0.01)


class SettledSubscription:
    """Waits, when taken from, until what all others have sent so far has come."""

    def __init__(self, inner: IpfsSubscription, owner: SettledTransport, topic: str) -> None:
        self._inner, self._owner, self._topic = inner, owner, topic
        self._heard: set[bytes] = set()
        self._open = True

    def take(self) -> list[bytes]:
        taken = self._inner.take()
        if self._open:
            awaited = self._owner.harness.newest_of_others(self._topic, self._owner.name)
            end = time.monotonic() + DEADLINE_S
            while not awaited <= self._heard.union(taken):
                assert time.monotonic() < end, "a message was lost for good"
                time.sleep(0.001)
                taken += self._inner.take()
            self._heard.update(taken)
        return taken

    def close(self) -> None:
        self._open = False
        self._inner.close()


class SettledTransport(IpfsTransport):
    """Delivers what was sent before, as the contract asks of transports without a network."""

    def __init__(self, harness: IpfsHarness, name: str) -> None:
        self.harness = harness
        super().__init__(str(harness.kubos[name].repo), name)

    def publish(self, topic: str, data: bytes) -> None:
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


@pytest.fixture(scope="module")
def kubos(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Kubos]:
    kubos = Kubos(tmp_path_factory.mktemp("kubos"))
    yield kubos
    kubos.close()


@pytest.fixture
def harness(kubos: Kubos) -> Iterator[Harness]:
    harness = IpfsHarness(kubos)
    yield harness
    harness.close()
    forget_all(kubos)


def forget_all(kubos: Kubos) -> None:
    """Unpin and collect everything, so that no test sees another's objects."""
    for kubo in kubos.all():
        rpc = kubo.rpc()
        for kind in ("recursive", "direct"):
            pins = rpc.call("pin/ls", options={"type": kind})[0].get("Keys") or {}
            for text in pins:
                rpc.call("pin/rm", text, options={"recursive": str(kind == "recursive").lower()})
        rpc.call("repo/gc")


@pytest.mark.deadline(300)
class TestIpfs(TransportContract, NodesContract):
    pass

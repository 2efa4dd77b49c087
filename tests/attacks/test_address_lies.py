"""Addresses that a member invents, or tells of others: they cost a little time, and no connection.

Announcements say where a daemon listens, and nothing proves it. A member who floods a book of 128
daemons with invented ones, who leads to silent places, or who says of another's daemon that it is
elsewhere, could otherwise cut peers off from each other without being between them.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from learnae.transports.ipfs.dialling import _PEERS, Dialler
from learnae.transports.ipfs.rpc import Refused, Rpc

ALPHABET = "123456789ABCDEFGHJKLMNPQRSTUVWXYZabcdefghijkmnopqrstuvwxyz"
DEADLINE_S = 20.0


def daemon(number: int) -> str:
    """Return an invented libp2p peer id."""
    letters = ""
    for _ in range(8):
        number, digit = divmod(number, len(ALPHABET))
        letters += ALPHABET[digit]
    return "12D3KooW" + "x" * 36 + letters


def address(number: int, port: int) -> str:
    return f"/ip4/192.0.2.7/tcp/{port}/p2p/{daemon(number)}"


class Network:
    """What a daemon sees: who can be reached at which address, and who is connected."""

    repo = None

    def __init__(self) -> None:
        self.reachable: set[str] = set()
        self.connected: dict[str, str] = {}
        self.dialled: list[tuple[str, ...]] = []
        self.changed = threading.Condition()

    def call(self, command: str, *args: str, **_: object) -> list[Any]:
        with self.changed:
            self.changed.notify_all()
            if command == "id":
                return [{"ID": "own", "Addresses": ["/ip4/192.0.2.1/tcp/4001/p2p/own"]}]
            if command == "swarm/peers":
                return [{"Peers": [{"Peer": p, "Addr": a} for p, a in self.connected.items()]}]
            assert command == "swarm/connect"
            self.dialled.append(args)
            for place, _, peer in (arg.rpartition("/p2p/") for arg in args):
                if f"{place}/p2p/{peer}" in self.reachable:
                    self.connected[peer] = place
                    return []
            raise Refused("connect failed: dial backoff")

    def until(self, done: Callable[[], bool]) -> None:
        with self.changed:
            assert self.changed.wait_for(done, DEADLINE_S)


@pytest.fixture
def network() -> Network:
    return Network()


@pytest.fixture
def dialler(network: Network) -> Iterator[Dialler]:
    rpc: Rpc = network  # type: ignore[assignment]
    dialler = Dialler(rpc)
    yield dialler
    dialler.close()
    dialler.join()


def meet(network: Network, dialler: Dialler, number: int, port: int) -> None:
    network.reachable.add(address(number, port))
    dialler.reach([address(number, port)])
    network.until(lambda: daemon(number) in network.connected)
    n = len(network.dialled)
    dialler.reach([address(10**6 + number, 1)])  # so that it looks who is connected
    network.until(lambda: len(network.dialled) > n)


def lose(network: Network, number: int) -> None:
    with network.changed:
        del network.connected[daemon(number)]


def test_invented_daemons_do_not_push_out_those_that_were_met(
    network: Network, dialler: Dialler
) -> None:
    meet(network, dialler, 1, 4001)
    lose(network, 1)
    for number in range(2, 3 * _PEERS):
        dialler.reach([address(number, 9)])
    network.until(lambda: daemon(1) in network.connected)
    again = network.dialled.index((address(1, 4001),), 1)
    assert again < 20, "the invented ones do not take all turns"


def test_a_lie_about_a_daemon_does_not_lose_it(network: Network, dialler: Dialler) -> None:
    meet(network, dialler, 1, 4001)
    dialler.reach([address(1, 666)])
    lose(network, 1)
    dialler.reach([address(1, 667)])
    network.until(lambda: daemon(1) in network.connected)


def test_a_book_full_of_met_daemons_takes_a_new_one(
    network: Network, dialler: Dialler, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("learnae.transports.ipfs.dialling._PEERS", 3)
    for number in range(1, 5):
        meet(network, dialler, number, 4001)
    network.reachable.add(address(9, 4001))
    dialler.reach([address(9, 4001)])
    network.until(lambda: daemon(9) in network.connected)


def test_a_daemon_that_moved_is_found(network: Network, dialler: Dialler) -> None:
    meet(network, dialler, 1, 4001)
    network.reachable = {address(1, 4002)}
    lose(network, 1)
    dialler.reach([address(1, 4002)])
    network.until(lambda: daemon(1) in network.connected)


def test_ever_new_addresses_are_not_dialled_ever_faster(network: Network, dialler: Dialler) -> None:
    began = time.monotonic()
    for port in range(1, 2000):
        dialler.reach([address(1, port)])
    network.until(lambda: len(network.dialled) >= 2)
    assert len(network.dialled) <= 2 + (time.monotonic() - began)

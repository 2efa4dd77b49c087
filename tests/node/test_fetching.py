"""A peer that does not answer holds up nobody: neither the others' models nor one's own."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np

import learnae
from learnae.node.fetching import deadline_s
from learnae.node.join import JoinedPeer
from learnae.node.node import NodeSettings
from learnae.swarm.memory import GIVE_UP_S
from learnae.transports import MemoryNetwork, Transport

CHARTER = learnae.parse_charter(
    """
    [swarm]
    name = "slow"
    [training]
    steps = 1
    min_seconds = 0.05
    [gossip]
    fan_in = 1
    """
)
SETTINGS = NodeSettings(poll_s=0.01, patience_s=0.0, adopt_s=0.2)
DEADLINE_S = 60.0


class Silent:
    """A transport on which the objects of one peer never come, until it is closed."""

    def __init__(self, inner: Transport, lost: set[bytes]) -> None:
        self._inner, self._lost = inner, lost
        self._closed = threading.Event()
        self.asked = threading.Event()

    def __getattr__(self, name: str) -> object:
        return getattr(self._inner, name)

    def get(self, cid: bytes, max_nbytes: int, deadline_s: float) -> memoryview:
        if cid in self._lost:
            self.asked.set()
            self._closed.wait(deadline_s)
            raise learnae.TransportError("too slow")
        return self._inner.get(cid, max_nbytes, deadline_s)

    def close(self) -> None:
        self._closed.set()
        self._inner.close()


def join(tmp_path: Path, name: str, transport: Transport) -> JoinedPeer:
    # Equal params would have equal names.
    params = {"w": np.full(8, len(name), np.float32)}
    return learnae.join(
        CHARTER, params, home=tmp_path / name, transport=transport, settings=SETTINGS
    )


def step(peer: JoinedPeer) -> None:
    peer.exchange(peer.params, samples=1)


def until(done: Callable[[], bool], *peers: JoinedPeer) -> None:
    """Let peers do rounds until it is done."""
    end = time.monotonic() + DEADLINE_S
    while not done():
        assert time.monotonic() < end
        for peer in peers:
            step(peer)


def test_the_others_models_come_and_ones_own_go(tmp_path: Path) -> None:
    network = MemoryNetwork()
    lost: set[bytes] = set()
    gone = network.endpoint("gone")
    with join(tmp_path, "gone", gone) as peer:
        until(lambda: bool(gone.owned()), peer)
        lost.update(gone.owned())
    silent = Silent(network.endpoint("me"), lost)
    with join(tmp_path, "me", silent) as me:  # type: ignore[arg-type]
        assert silent.asked.is_set(), "a newcomer asks, and does not wait for ever"
        with join(tmp_path, "you", network.endpoint("you")) as you:
            until(lambda: you.status().models_merged > 0, me, you)
            until(lambda: me.status().models_merged > 0, me, you)
    assert not [t for t in threading.enumerate() if t.name.startswith("learnae-fetch")]


def test_the_protocol_gives_no_fetch_up_that_is_still_under_way() -> None:
    """It would begin it again beside itself, and never take what comes late."""
    assert deadline_s(1000) == 30.0
    assert deadline_s(182_000_000) == 728.0
    for nbytes in (1000, 182_000_000, 1 << 40):
        assert deadline_s(nbytes) < GIVE_UP_S

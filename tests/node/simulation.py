"""A whole swarm in one thread, on a hand-moved clock.

Every peer is a real `Session` with a real `Peer`, real payloads and the compiled round; only the
time is made up. What a fetch takes is drawn by the network, so a payload arrives rounds later.
"""

from __future__ import annotations

import hashlib
import heapq
import itertools
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache, partial

import numpy as np
from numpy.typing import NDArray

from learnae.learn.batches import BatchSource
from learnae.learn.evaluation import evaluate
from learnae.learn.models import mlp
from learnae.learn.optimizers import make_optimizer
from learnae.learn.rounds import RoundFns, make_round
from learnae.learn.tabular import Table
from learnae.node.contribution import Contribution
from learnae.node.session import Session
from learnae.payload import Schema, flatten
from learnae.swarm import Charter, Peer
from learnae.swarm.events import Fetch
from learnae.swarm.trust import Identity
from learnae.transports.memory import Faults, MemoryNetwork

__all__ = ["Outcome", "Simulation"]

ROUND_S = 1.0


class Clock:
    """A clock that only moves when told."""

    def __init__(self) -> None:
        self.now = 1_800_000_000.0

    def __call__(self) -> float:
        return self.now


@dataclass(frozen=True)
class Outcome:
    """What a run left: each peer's accuracy, and a digest of every payload ever published."""

    accuracy: list[float]
    digest: str
    n_remembered: list[int]


class SimulatedPeer:
    """One peer's state between events."""

    def __init__(
        self, charter: Charter, fns: RoundFns, table: Table, number: int, network: MemoryNetwork
    ) -> None:
        identity = Identity.from_private_bytes(hashlib.sha256(b"peer %d" % number).digest())
        params = mlp(table.x.shape[1]).init(charter.seed)
        schema = Schema.of(params)
        self.name = f"peer-{number:02d}"
        self.transport = network.endpoint(self.name)
        peer = Peer(charter, identity, schema.digest)
        self.session = Session(charter, schema, peer, self.transport)
        self.params = flatten(schema, params)
        self.shift: NDArray[np.float32] | None = None
        self.fns, self.state = fns, fns.start()
        training = charter.training
        self.samples = len(table)
        self.source = BatchSource(table, training.batch, training.steps, [charter.seed, number])

    def finish_round(self, now: float) -> bytes:
        """Train, publish, merge, as `Node.finish_round` does."""
        session = self.session
        session.listen(now)
        result = self.fns.run(self.params, self.state, self.shift, self.source.next())
        self.state = result.state
        self.params = result.params.copy()
        payload = session.encode(self.params, result.gradient)
        merged = session.merge(self.params, result.gradient, self.samples)
        self.shift = merged.shift
        number = session.peer.round + 1
        session.advance(number)
        session.publish(Contribution(payload, number, self.samples, result.loss), now)
        return bytes(payload)


@cache
def _compiled(charter: Charter, n_columns: int) -> RoundFns:
    """Return the functions that all simulations of one charter share, compiled once."""
    optimizer = make_optimizer(charter.training.optimizer, charter.training.learning_rate)
    model = mlp(n_columns)
    return make_round(model, optimizer, model.init(charter.seed))


class Simulation:
    """A swarm of `len(tables)` peers over one faulty network."""

    def __init__(self, charter: Charter, tables: list[Table], seed: int, faults: Faults) -> None:
        self.clock = Clock()
        self.network = MemoryNetwork(seed, clock=self.clock, faults=faults)
        self.fns = _compiled(charter, tables[0].x.shape[1])
        self.charter = charter
        self.peers = [
            SimulatedPeer(charter, self.fns, table, i, self.network)
            for i, table in enumerate(tables)
        ]
        self._names = {peer.session.peer.peer_id: peer.name for peer in self.peers}
        self._events: list[tuple[float, int, Callable[[], None]]] = []
        self._order = itertools.count()
        self._digest = hashlib.sha256()

    def run(self, n_rounds: int, test: Table) -> Outcome:
        """Run every peer for `n_rounds` rounds of about a second of made-up time."""
        for i, peer in enumerate(self.peers):
            # Peers neither start together nor run equally fast.
            speed = ROUND_S * (1.0 + 0.1 * i / len(self.peers))
            self._at(self.clock.now + 0.05 * i, partial(self._round, peer, speed, n_rounds))
        while self._events:
            self.clock.now, _, action = heapq.heappop(self._events)
            action()
        accuracy = [evaluate(self.fns, peer.params, test)["accuracy"] for peer in self.peers]
        remembered = [peer.session.n_remembered for peer in self.peers]
        return Outcome(accuracy, self._digest.hexdigest(), remembered)

    def _at(self, when: float, action: Callable[[], None]) -> None:
        heapq.heappush(self._events, (when, next(self._order), action))

    def _round(self, peer: SimulatedPeer, speed: float, n_rounds: int) -> None:
        now = self.clock.now
        self._digest.update(peer.finish_round(now))
        for fetch in peer.session.wanted(now)[: self.charter.gossip.fan_in]:
            delay = self.network.transfer_delay_s(self._names[fetch.peer_id], peer.name)
            self._at(now + delay, partial(self._fetch, peer, fetch))
        if peer.session.peer.round < n_rounds:
            self._at(now + speed, partial(self._round, peer, speed, n_rounds))

    def _fetch(self, peer: SimulatedPeer, fetch: Fetch) -> None:
        peer.session.fetch(fetch, peer.params, self.clock.now)

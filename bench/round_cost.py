"""What the swarm adds to a peer's training time, for a model of real size.

    python bench/round_cost.py
    python bench/round_cost.py --hidden 2000 2000 400 --batch 144 --others 4 --json out.json

A round has as many steps as take this machine a second (`--steps` or `--round-seconds` change it).
One peer trains for real and is joined to a swarm over the directory transport; other peers (a
process beside it) announce another model about once a round. They made theirs beforehand, since
encoding and writing them would be the work of other machines. Short blocks of rounds alone and in
the swarm alternate in one process. A block in the swarm begins with a round that does not count,
so that each of the others trains beside the work that the one before it left, as in any long run;
what the last one leaves is done before the next block, and `left_seconds` says how long it takes.
`alone` is the same compiled round, drift correction included, without any exchange (the joined peer
goes on listening, a few times a second); `plain` is that of a charter without drift correction.

Three figures, since memory that other programs (or machines on the same host) use makes the same
round take from 0.7 to 1.4 seconds: `added` compares each block with its neighbour, and has a
standard error; `quiet` compares the lower quartiles of both kinds, the blocks that were disturbed
least; `own` is the CPU time of learnae's threads, which the system counts exactly, as a part of
what the round takes alone.

What it does not show: a network. Objects go through the page cache.
"""

from __future__ import annotations

import argparse
import contextlib
import glob
import json
import math
import multiprocessing
import os
import platform
import statistics
import tempfile
import threading
import time
from functools import partial
from multiprocessing.synchronize import Event
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

import learnae
from learnae import kernels
from learnae.learn.batches import BatchSource
from learnae.learn.models import mlp
from learnae.learn.optimizers import make_optimizer
from learnae.learn.rounds import RoundFns, dump_state, make_round
from learnae.learn.tabular import Table
from learnae.node.background import keep_freed_memory
from learnae.node.contribution import Contribution
from learnae.node.home import Home
from learnae.node.node import Node, NodeSettings
from learnae.node.session import Session
from learnae.payload import Schema, flatten
from learnae.swarm import Charter, Identity, Peer
from learnae.transports import open_transport
from learnae.transports.cid import cid_text
from learnae.transports.directory import DirectoryTransport
from learnae.transports.seam import Buffer

FEATURES, CLASSES = 100, 10
VERSIONS = 4  # models of each other peer; its second last is gone when it is announced again
HEAD_NBYTES = 4096  # holds the header, with the checksum of the table of all blocks' checksums
KEPT = ".kept"
TRIED_STEPS = 20


def charter_for(codec: str, steps: int, batch: int) -> Charter:
    """Return the charter of the measured swarm."""
    return learnae.parse_charter(
        f'[swarm]\nname = "cost"\n[training]\nsteps = {steps}\nbatch = {batch}\n'
        f'[gossip]\ncodec = "{codec}"\nfan_in = 2\nkeep = 2'
    )


class Prepared(DirectoryTransport):
    """Puts objects that were written before the measurement: a link instead of 10 MB."""

    def __init__(self, path: str, name: str) -> None:
        super().__init__(path, name)
        self._prepared: dict[bytes, bytes] = {}

    def prepare(self, payload: bytearray) -> None:
        """Write an object once, and keep it when it is dropped."""
        cid = super().put(payload)
        self._prepared[bytes(payload[:HEAD_NBYTES])] = cid
        os.link(self._place(cid), self._place(cid) + KEPT)

    def put(self, data: Buffer) -> bytes:
        """Put a prepared object."""
        cid = self._prepared[bytes(memoryview(data)[:HEAD_NBYTES])]
        with contextlib.suppress(FileExistsError):
            os.link(self._place(cid) + KEPT, self._place(cid))
        return cid

    def _place(self, cid: bytes) -> str:
        return os.path.join(self.path, "objects", self.name, cid_text(cid))


def others(
    folder: str, charter: Charter, hidden: list[int], n: int, pace_s: float, end: Event
) -> None:
    """Be `n` peers of which each announces another of its models every `pace_s` seconds."""
    params = mlp(FEATURES, hidden, CLASSES).init(0)
    schema = Schema.of(params)
    vector = flatten(schema, params)
    random = np.random.default_rng(0)
    ready: list[tuple[Session, list[bytearray]]] = []
    for _ in range(n):
        identity = Identity.generate()
        transport = Prepared(folder, identity.peer_id)
        session = Session(charter, schema, Peer(charter, identity, schema.digest), transport)
        payloads = []
        for _ in range(VERSIONS):
            noise = random.normal(0, 1e-3, len(vector)).astype(np.float32)
            payloads.append(session.encode(vector + noise, noise))
            transport.prepare(payloads[-1])
        ready.append((session, payloads))
    number = 0
    while number < n or not end.wait(pace_s / n):
        session, payloads = ready[number % n]
        round_ = 1 + number // n
        payload = payloads[round_ % VERSIONS]
        session.publish(Contribution(payload, round_, 1000, None), time.time())
        number += 1


class Block(NamedTuple):
    """Seconds per round: of the clock, of the process's CPU, and of CPU in learnae's threads.

    `left` is how long it took afterwards to finish what the last round had left to other threads.
    """

    wall: float
    cpu: float
    own: float
    left: float


def beside_cpu_seconds() -> float:
    """Return the CPU seconds of the I/O and fetch threads so far."""
    beside = [thread for thread in threading.enumerate() if thread.name.startswith("learnae-")]
    clocks = [time.pthread_getcpuclockid(thread.ident) for thread in beside if thread.ident]
    return sum(time.clock_gettime(clock) for clock in clocks)


class Measured:
    """The peer under measurement."""

    def __init__(self, folder: str, charter: Charter, hidden: list[int]) -> None:
        model = mlp(FEATURES, hidden, CLASSES)
        params = model.init(charter.seed)
        schema = Schema.of(params)
        optimizer = make_optimizer("adam", 1e-3)
        self.fns = make_round(model, optimizer, params)
        self.plain = make_round(model, optimizer, params, drift_correction=False)
        home = Home.open(f"{folder}/home", swarm_id=charter.swarm_id)
        transport = open_transport(f"directory:{folder}/shared", home.identity.peer_id)
        settings = NodeSettings()
        self.node = Node(charter, schema, home, transport, flatten(schema, params), settings)
        self.charter = charter
        random = np.random.default_rng(1)
        n = 4096
        self.table = Table(
            random.normal(size=(n, FEATURES)).astype(np.float32),
            random.integers(0, CLASSES, n).astype(np.int32),
            tuple(f"c{i}" for i in range(FEATURES)),
            tuple(map(str, range(CLASSES))),
        )
        training = charter.training
        self.source = BatchSource(self.table, training.batch, training.steps, 0)
        self._own = 0.0

    def block(self, fns: RoundFns, n: int, joined: bool) -> Block:
        """Run a round that does not count, and then `n` rounds."""
        self._own = -beside_cpu_seconds()
        state = self._rounds(fns, fns.start(), 1, joined)
        wall, cpu = time.perf_counter(), time.process_time()
        self._rounds(fns, state, n, joined)
        ended = time.perf_counter()
        wall, cpu = ended - wall, time.process_time() - cpu
        if joined:
            self.node.drain(60.0)
        left = time.perf_counter() - ended
        own = (self._own + beside_cpu_seconds()) / (n + 1)
        return Block(wall / n, cpu / n, own, left)

    def _rounds(self, fns: RoundFns, state: Any, n: int, joined: bool) -> Any:
        node = self.node
        for _ in range(n):
            began = time.monotonic()
            result = fns.run(node.params, state, node.shift, self.source.next())
            state = result.state
            node.params[:] = result.params
            if joined:
                seconds = time.monotonic() - began
                node.dump_extra = partial(dump_state, state)
                self._own -= time.thread_time()
                node.finish_round(result.gradient, len(self.table), result.loss, seconds)
                self._own += time.thread_time()
        return state


def steps_for(args: argparse.Namespace) -> int:
    """Return how many steps an undisturbed round of `args.round_seconds` has here."""
    with tempfile.TemporaryDirectory() as folder:
        peer = Measured(folder, charter_for(args.codec, TRIED_STEPS, args.batch), args.hidden)
        with peer.node:
            peer.block(peer.fns, 1, joined=False)
            fastest = min(peer.block(peer.fns, 1, joined=False).wall for _ in range(8))
    return max(1, round(TRIED_STEPS * args.round_seconds / fastest))


def measure(args: argparse.Namespace, folder: str) -> dict[str, object]:
    """Alternate blocks and return the figures."""
    steps = steps_for(args) if args.steps is None else args.steps
    charter = charter_for(args.codec, steps, args.batch)
    peer = Measured(folder, charter, args.hidden)
    for fns in (peer.fns, peer.plain):
        peer.block(fns, 1, joined=False)
    pace_s = peer.block(peer.fns, 3, joined=False).wall
    context = multiprocessing.get_context("spawn")
    end = context.Event()
    process = context.Process(
        target=others, args=(f"{folder}/shared", charter, args.hidden, args.others, pace_s, end)
    )
    process.start()
    try:
        while True:
            if len(glob.glob(f"{folder}/shared/announcements/*/*")) >= args.others:
                break
            time.sleep(0.1)
        with peer.node as node:
            node.start()
            node.begin()
            peer.block(peer.fns, args.block, joined=True)
            found: dict[str, list[Block]] = {"plain": [], "alone": [], "swarm": []}
            for number in range(args.blocks):
                if number % 8 == 0:
                    found["plain"].append(peer.block(peer.plain, args.block, joined=False))
                # In turns: a machine that grows slower meanwhile is nobody's merit.
                for kind in ("alone", "swarm") if number % 2 else ("swarm", "alone"):
                    joined = kind == "swarm"
                    found[kind].append(peer.block(peer.fns, args.block, joined=joined))
            status = node.refresh_status()
    finally:
        end.set()
        process.join()
    result: dict[str, object] = {
        "cpu": platform.processor() or platform.machine(),
        "cores": os.cpu_count(),
        "isa": kernels.isa(),
        "n_elements": len(peer.node.params),
        "steps": steps,
        "codec": args.codec,
        "remembered": status.n_peers,
        "models_merged": status.models_merged,
    }
    for name, blocks in found.items():
        result[f"{name}_round_seconds"] = statistics.median(block.wall for block in blocks)
        result[f"{name}_round_cpu_seconds"] = statistics.median(block.cpu for block in blocks)
    own = statistics.mean(block.own for block in found["swarm"])
    result["left_seconds"] = statistics.median(block.left for block in found["swarm"])
    result["own_cpu_seconds"] = own
    result["own_cpu_share"] = own / statistics.mean(block.cpu for block in found["alone"])
    for kind in ("wall", "cpu"):
        pairs = zip(found["swarm"], found["alone"], strict=True)
        logs = [math.log(getattr(s, kind) / getattr(a, kind)) for s, a in pairs]
        result[f"added_{kind}_mean"] = math.expm1(statistics.mean(logs))
        result[f"added_{kind}_median"] = math.expm1(statistics.median(logs))
        quiet = [_lower_quartile([getattr(b, kind) for b in found[k]]) for k in ("swarm", "alone")]
        result[f"added_{kind}_quiet"] = quiet[0] / quiet[1] - 1
        spread = statistics.stdev(logs) if len(logs) > 1 else math.nan
        result[f"added_{kind}_standard_error"] = spread / math.sqrt(len(logs))
    return result


def _lower_quartile(values: list[float]) -> float:
    return statistics.quantiles(values, n=4)[0] if len(values) > 1 else values[0]


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--hidden", type=int, nargs="+", default=[2000, 2000, 400])
    parser.add_argument("--batch", type=int, default=144)
    parser.add_argument("--steps", type=int, help="steps a round")
    parser.add_argument("--round-seconds", type=float, default=1.0, help="without --steps")
    parser.add_argument("--codec", default="i8")
    parser.add_argument("--others", type=int, default=4)
    parser.add_argument("--block", type=int, default=4, help="rounds that count in a block")
    parser.add_argument("--blocks", type=int, default=30)
    parser.add_argument("--json", type=Path)
    args = parser.parse_args()
    keep_freed_memory()  # as ``learnae join`` does
    with tempfile.TemporaryDirectory() as folder:
        result = measure(args, folder)
    for name, value in result.items():
        print(f"{name:28} {value:.4f}" if isinstance(value, float) else f"{name:28} {value}")
    if args.json is not None:
        args.json.write_text(json.dumps(result, indent=1) + "\n")


if __name__ == "__main__":
    main()

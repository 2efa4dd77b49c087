"""What a hostile member of a swarm costs the others, over real Kubo daemons.

    python bench/ipfs_hostile.py [--attack NAME ...] [--blocks 8] [--rounds 4] [--json]

Two honest peers and a hostile one, each with a daemon in a private network on loopback. The peer
that is measured does rounds of fixed work on one thread and exchanges models of a megabyte with
the other. Blocks of rounds with and without the attack alternate. Reported for each attack: the
median round without and with it and by how much it is longer (median over pairs of blocks), and
what the attack adds to the CPU time of the peer's process, training left out, and of its daemon, as
a part of the round.

In the field the others are on machines of their own. Here the measured peer and its daemon have one
CPU for themselves; everybody else has another, which is kept busy all the time, so that what CPUs
share (clock, caches, the way to memory) is no different without the attack. The hostile process
and its daemon have the lowest priority there. With ``--shared`` all run on all CPUs.

Behaviour is reported as well: under every attack models of the honest peer must go on coming, and
none of them may be refused. Exit status 1 if not.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import logging
import os
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from ipfs_attacks import ATTACKS, Hostile

import learnae
from learnae import kernels
from learnae.node.home import read_identity
from learnae.node.join import JoinedPeer
from learnae.node.kubo import (
    LOOPBACK,
    RepoOptions,
    init_repo,
    start_daemon,
    stop_daemon,
)
from learnae.node.swarmkey import create_swarm_key
from learnae.payload import Schema
from learnae.swarm.trust import short
from learnae.transports.ipfs import Rpc
from learnae.transports.keys import kubo_swarm_key

CHARTER = """
[swarm]
name = "hostile"
seed = 1
[training]
steps = 1
[gossip]
codec = "f32"
"""
N_PARAMS = 250_000
NAMES = ("ann", "bob", "eve")
READY_S = 60.0


class Cpus:
    """One CPU for whom we measure and one for the rest of the world, if there are two."""

    def __init__(self, shared: bool) -> None:
        self._all = os.sched_getaffinity(0)
        self.are_apart = not shared and len(self._all) > 1
        first, second = sorted(self._all)[:2] if self.are_apart else (0, 0)
        self._measured, self._others = {first}, {second}

    @contextlib.contextmanager
    def of(self, measured: bool) -> Iterator[None]:
        """Whatever is started in the block, processes and threads, runs on that CPU."""
        before = os.sched_getaffinity(0)
        if self.are_apart:
            os.sched_setaffinity(0, self._measured if measured else self._others)
        try:
            yield
        finally:
            os.sched_setaffinity(0, before)

    @contextlib.contextmanager
    def busy(self) -> Iterator[None]:
        """Keep the others' CPU busy with what gives way to everything else."""
        if not self.are_apart:
            yield
            return
        with self.of(measured=False):
            idler = subprocess.Popen([sys.executable, "-c", "while True: pass"])
        os.sched_setscheduler(idler.pid, os.SCHED_IDLE, os.sched_param(0))
        try:
            yield
        finally:
            idler.kill()
            idler.wait()


def parameters() -> dict[str, np.ndarray[Any, Any]]:
    return {"w": np.random.default_rng(1).standard_normal(N_PARAMS, np.float32)}


class Work:
    """A round's training: a fixed number of passes over an array, on one thread."""

    def __init__(self, round_s: float) -> None:
        self._array = np.random.default_rng(2).standard_normal(1 << 18, np.float32)
        self._n = round(round_s / min(self._cpu_s(20) / 20 for _ in range(5)))

    def _cpu_s(self, n: int) -> float:
        began = time.thread_time()
        for _ in range(n):
            np.cos(self._array, out=self._array)
        return time.thread_time() - began

    def __call__(self) -> float:
        """Train; return the CPU seconds that it took."""
        return self._cpu_s(self._n)


def exchange(peer: JoinedPeer, params: Any) -> Any:
    """Change the params a little, as training would, and exchange."""
    params["w"] = params["w"] + np.float32(1e-4)
    return peer.exchange(params, samples=1)


def join(folder: Path, name: str) -> JoinedPeer:
    transport = f"ipfs:{folder / name}-repo"
    return learnae.join(
        folder / "swarm.toml", parameters(), home=folder / name, transport=transport
    )


def be_honest(folder: Path, round_s: float) -> None:
    """Be bob until standard input ends."""
    ended = threading.Event()
    threading.Thread(target=lambda: (sys.stdin.read(), ended.set()), daemon=True).start()
    work = Work(round_s)
    with join(folder, "bob") as peer:
        params = peer.params
        while not ended.is_set():
            work()
            params = exchange(peer, params)
            ended.wait(round_s)  # leaves the second core to the others half of the time


def be_hostile(folder: Path) -> None:
    """Be eve: ``NAME`` on standard input begins an attack, an empty line ends it."""
    charter = learnae.parse_charter(CHARTER)
    schema = Schema.of(parameters())
    nbytes = kernels.payload_nbytes("f32", 2, N_PARAMS)
    eve = Hostile(folder / "swarm.toml", charter, folder / "eve-repo", schema.digest, nbytes)
    lasting: threading.Event | None = None
    thread = threading.Thread()
    for line in sys.stdin:
        if lasting is not None:
            lasting.set()
            thread.join()
            lasting = None
        if line.strip():
            eve.n_done, lasting = 0, threading.Event()
            thread = threading.Thread(target=attack, args=(eve, line.strip(), lasting))
            thread.start()
        print(json.dumps(eve.n_done), flush=True)


def attack(eve: Hostile, name: str, ended: threading.Event) -> None:
    due = time.monotonic()
    while not ended.is_set():
        due = max(due + ATTACKS[name](eve), time.monotonic() - 1.0)
        ended.wait(max(0.0, due - time.monotonic()))


class Role:
    """This script as another member, in a process of its own."""

    def __init__(self, name: str, folder: Path, round_s: float, priority: int = 0) -> None:
        command = [
            *(sys.executable, __file__, "--role", name, "--folder", str(folder)),
            *("--round-seconds", str(round_s)),
        ]
        self.process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        os.setpriority(os.PRIO_PROCESS, self.process.pid, priority)

    def order(self, line: str) -> int:
        """Give an order, and return how many hostile things were done before it."""
        assert self.process.stdin is not None and self.process.stdout is not None
        self.process.stdin.write(line + "\n")
        self.process.stdin.flush()
        return int(self.process.stdout.readline())

    def end(self) -> None:
        assert self.process.stdin is not None and self.process.stdout is not None
        self.process.stdin.close()
        self.process.wait(READY_S)
        self.process.stdout.close()


def wait_for_identity(home: Path) -> str:
    """Return the id of a peer that is about to start."""
    deadline = time.monotonic() + READY_S
    while time.monotonic() < deadline:
        identity = read_identity(home)
        if identity is not None:
            return identity.peer_id
        time.sleep(0.05)
    raise SystemExit(f"no peer in {home}")


def cpu_of(pid: int) -> float:
    """Return the CPU seconds of a process so far."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


class Fates(logging.Handler):
    """Counts what became of the models of one peer, as the log says it."""

    def __init__(self, peer_id: str) -> None:
        super().__init__(logging.DEBUG)
        self.refused, self._name = 0, short(peer_id)

    def emit(self, record: logging.LogRecord) -> None:
        """Look for a refusal."""
        self.refused += record.getMessage().startswith(f"rejected {self._name}")


class Measured:
    """Ann, whose rounds are measured."""

    def __init__(self, peer: JoinedPeer, work: Work, daemon_pid: int, bob_id: str) -> None:
        self.peer, self.daemon_pid, self.bob_id = peer, daemon_pid, bob_id
        self.params, self.work = peer.params, work
        self.fates = Fates(bob_id)
        log = logging.getLogger("learnae.node")
        log.addHandler(self.fates)
        log.setLevel(logging.INFO)

    def newest_of_bob(self) -> int:
        """Return the round of bob's that is remembered."""
        contributions = self.peer._node.session.peer.contributions()
        return max((c.round for c in contributions if c.peer_id == self.bob_id), default=0)

    def hears_bob(self, since: int) -> bool:
        """Go on until a newer model of bob's has come; False if none does."""
        deadline = time.monotonic() + READY_S
        while self.newest_of_bob() <= since:
            if time.monotonic() > deadline:
                return False
            self.block(1)
        return True

    def block(self, n_rounds: int) -> dict[str, float]:
        """Do some rounds and return the medians and sums over them."""
        seconds, trained_s = [], 0.0
        cpu, daemon_cpu = time.process_time(), cpu_of(self.daemon_pid)
        for _ in range(n_rounds):
            began = time.perf_counter()
            trained_s += self.work()
            self.params = exchange(self.peer, self.params)
            seconds.append(time.perf_counter() - began)
        return {
            "round_s": statistics.median(seconds),
            "cpu_s": (time.process_time() - cpu - trained_s) / n_rounds,
            "daemon_cpu_s": (cpu_of(self.daemon_pid) - daemon_cpu) / n_rounds,
        }


def under_attack(name: str, ann: Measured, eve: Role, n_blocks: int, rounds: int) -> dict[str, Any]:
    """Alternate blocks without and with one attack."""
    calm, bad, done, took_s, heard = [], [], 0.0, 0.0, True
    for _ in range(n_blocks):
        ann.block(1)  # what the last attack has left
        calm.append(ann.block(rounds))
        newest = ann.newest_of_bob()
        eve.order(name)
        began = time.monotonic()
        bad.append(ann.block(rounds))
        heard &= ann.hears_bob(newest)
        took_s += time.monotonic() - began
        done += eve.order("")

    def median(rows: list[dict[str, float]], key: str) -> float:
        return statistics.median(row[key] for row in rows)

    def added(key: str, unit: str) -> float:
        return statistics.median(
            (b[key] - c[key]) / c[unit] for b, c in zip(bad, calm, strict=True)
        )

    return {
        "attack": name,
        "per_s": done / took_s,
        "calm_s": median(calm, "round_s"),
        "attacked_s": median(bad, "round_s"),
        "longer": added("round_s", "round_s"),
        "cpu": added("cpu_s", "round_s"),
        "daemon_cpu": added("daemon_cpu_s", "round_s"),
        "honest_heard": heard,
        "honest_refused": ann.fates.refused,
    }


def measure(folder: Path, asked: argparse.Namespace) -> list[dict[str, Any]]:
    """Run the swarm and every attack on it."""
    cpus = Cpus(asked.shared)
    (folder / "swarm.toml").write_text(CHARTER)
    key = create_swarm_key(folder / "swarm.key")
    text = kubo_swarm_key(key, learnae.parse_charter(CHARTER).swarm_id)
    repos = {name: folder / f"{name}-repo" for name in NAMES}
    roles: list[Role] = []
    found = []
    try:
        for repo in repos.values():
            init_repo(repo, RepoOptions(swarm_key_text=text, listen=(LOOPBACK,)))
        daemons = {}
        for name, repo in repos.items():
            with cpus.of(measured=name == "ann"):
                daemons[name] = start_daemon(repo)
        assert daemons["ann"].pid is not None and daemons["eve"].pid is not None
        os.setpriority(os.PRIO_PROCESS, daemons["eve"].pid, asked.nice)
        for name in ("bob", "eve"):
            Rpc(str(repos[name])).call("swarm/connect", daemons["ann"].addresses[0])
        with cpus.of(measured=False):
            roles.append(Role("bob", folder, asked.round_seconds))
            roles.append(Role("eve", folder, asked.round_seconds, asked.nice))
        with cpus.of(measured=True), cpus.busy(), join(folder, "ann") as peer:
            bob = wait_for_identity(folder / "bob")
            ann = Measured(peer, Work(asked.round_seconds), daemons["ann"].pid, bob)
            if not ann.hears_bob(0):
                raise SystemExit("the honest peers do not hear each other")
            for name in (name for name in ATTACKS if name in (asked.attack or ATTACKS)):
                found.append(under_attack(name, ann, roles[1], asked.blocks, asked.rounds))
    finally:
        for role in roles:
            role.end()
        for repo in repos.values():
            stop_daemon(repo)
    return found


def main() -> int:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--attack", action="append", choices=list(ATTACKS))
    parser.add_argument("--blocks", type=int, default=8)
    parser.add_argument("--rounds", type=int, default=4)
    parser.add_argument("--round-seconds", type=float, default=0.4)
    parser.add_argument("--shared", action="store_true", help="all on all CPUs")
    parser.add_argument("--nice", type=int, default=19, help="of the hostile processes")
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--role", choices=["bob", "eve"], help=argparse.SUPPRESS)
    parser.add_argument("--folder", type=Path, help=argparse.SUPPRESS)
    asked = parser.parse_args()
    if asked.role:
        if asked.role == "bob":
            be_honest(asked.folder, asked.round_seconds)
        else:
            be_hostile(asked.folder)
        return 0
    with tempfile.TemporaryDirectory(prefix="learnae-bench-") as scratch:
        found = measure(Path(scratch), asked)
    if asked.json:
        print(json.dumps(found, indent=2))
    else:
        print("attack          a second   round, calm  attacked   longer   CPU peer  CPU daemon")
        for row in found:
            print(
                "{attack:15} {per_s:8.0f} {calm_s:11.3f} s {attacked_s:7.3f} s {longer:+8.1%} "
                "{cpu:+9.1%} {daemon_cpu:+10.1%}".format(**row)
            )
        print(f"{os.cpu_count()} CPUs, load {os.getloadavg()[0]:.1f}")
    return 0 if all(row["honest_heard"] and not row["honest_refused"] for row in found) else 1


if __name__ == "__main__":
    sys.exit(main())

"""Whether repos stay small and peers stay the same size, over a long run on IPFS.

    python bench/ipfs_long_run.py [--peers 5] [--rounds 200] [--json]

Real peers (`learnae join`), each with a Kubo daemon of its own in a private network on loopback,
train on shares of the MAGIC data with models of a megabyte. Sampled all the while: the size of
each repo as its daemon says it, and the resident memory of each peer. Reported for each peer: the
repo's largest size in payloads (the goal is less than 3 k, k being how many a peer keeps), and by
how much a straight line through its memory rises over the second half of the rounds, beside the
scatter around that line. Exit status 1 if a repo is larger or a line rises by more than twice
the scatter and more than 1 %.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from learnae.errors import TransportError
from learnae.learn.magic import COLUMNS, LABEL, read_magic
from learnae.learn.partition import iid
from learnae.node.chains import payload_bound
from learnae.node.join import read_charter
from learnae.node.trainer import charter_model
from learnae.payload import Schema
from learnae.transports.ipfs import Rpc

HIDDEN = "350,350"  # 127,000 params: with the mean gradient 1.0 MB in f32
SAMPLE_S = 0.5
GOAL = 3
LEARNAE = [sys.executable, "-m", "learnae"]
# A peer has a fifth of a core or so; each would else start a thread for every core.
QUIET = {
    "JAX_PLATFORMS": "cpu",
    "XLA_FLAGS": "--xla_cpu_multi_thread_eigen=false intra_op_parallelism_threads=1",
    "OMP_NUM_THREADS": "1",
}


class LongRun:
    """The peers and daemons of one run, in one folder."""

    def __init__(self, folder: Path, n_peers: int, rounds: int, round_s: float) -> None:
        self.folder, self.n_peers, self.rounds, self.round_s = folder, n_peers, rounds, round_s
        self.charter = folder / "swarm.toml"
        self.env = {**os.environ, **QUIET}
        self.peers: list[subprocess.Popen[bytes]] = []

    def learnae(self, *arguments: str | Path) -> str:
        """Run a command to its end; return what it prints."""
        command = [*LEARNAE, *map(str, arguments)]
        done = subprocess.run(command, env=self.env, capture_output=True, text=True, check=False)
        if done.returncode != 0:
            raise SystemExit(f"{' '.join(command)}: {done.stderr}")
        return done.stdout

    def home(self, index: int) -> Path:
        return self.folder / f"peer-{index}"

    def repo(self, index: int) -> Path:
        return self.folder / f"repo-{index}"

    def write_shares(self) -> None:
        table = read_magic()
        assert table.y is not None
        for index, rows in enumerate(iid(len(table), self.n_peers, 0)):
            share = table.take(rows)
            assert share.y is not None
            lines = [",".join([*COLUMNS, LABEL])]
            for row, y in zip(share.x.tolist(), share.y.tolist(), strict=True):
                lines.append(",".join([*map(str, row), "gh"[y]]))
            (self.folder / f"{index}.csv").write_text("\n".join(lines) + "\n")

    @contextlib.contextmanager
    def running(self) -> Iterator[None]:
        """Run daemons and peers during the block."""
        self.write_shares()
        self.learnae(
            *("create", self.charter, "--data", self.folder / "0.csv", "--label", LABEL),
            *("--hidden", HIDDEN, "--codec", "f32", "--rounds", str(self.rounds)),
            *("--min-seconds", str(self.round_s)),
        )
        try:
            known: list[str] = []
            for index in range(self.n_peers):
                self.start_daemon(index, known)
            for index in range(self.n_peers):
                self.start_peer(index)
            yield
        finally:
            for peer in self.peers:
                peer.terminate()
            for peer in self.peers:
                peer.wait(60)
            for index in range(self.n_peers):
                if (self.repo(index) / "config").exists():
                    self.learnae("ipfs", "down", "--repo", self.repo(index))

    def start_daemon(self, index: int, known: list[str]) -> None:
        """Start a daemon that knows those before it."""
        told = [word for address in known for word in ("--peer", address)]
        said = self.learnae(
            *("ipfs", "up", self.charter, "--repo", self.repo(index)),
            *("--listen", "/ip4/127.0.0.1/tcp/0", *told),
        )
        known += re.findall(r"/ip4/127\.0\.0\.1/tcp/\d+/p2p/\w+", said)[:1]

    def start_peer(self, index: int) -> None:
        command = [
            *(*LEARNAE, "join", self.charter, "--data", self.folder / f"{index}.csv"),
            *("--home", self.home(index), "--transport", f"ipfs:{self.repo(index)}"),
        ]
        with open(self.folder / f"{index}.log", "wb") as log:
            self.peers.append(subprocess.Popen(command, env=self.env, stdout=log, stderr=log))

    def round(self, index: int) -> int:
        try:
            status = json.loads((self.home(index) / "status.json").read_bytes())
        except (OSError, ValueError):
            return 0
        return int(status["round"])

    def sample(self, index: int) -> tuple[int, int, int]:
        """Return a peer's round, its resident memory in bytes, and its repo's size in bytes."""
        if self.peers[index].poll() is not None:
            raise SystemExit((self.folder / f"{index}.log").read_text())
        pages = int(Path(f"/proc/{self.peers[index].pid}/statm").read_text().split()[1])
        repo_nbytes = 0
        with contextlib.suppress(TransportError):
            stat = Rpc(str(self.repo(index))).call("repo/stat", options={"size-only": "true"})
            repo_nbytes = int(stat[0]["RepoSize"])
        return self.round(index), pages * os.sysconf("SC_PAGESIZE"), repo_nbytes


def payload_nbytes(charter_path: Path) -> int:
    """Return how large the payloads of a swarm are, at most."""
    charter = read_charter(charter_path)
    schema = Schema.of(charter_model(charter, charter_path.parent).init(charter.seed))
    n_vectors = 2 if charter.training.drift_correction else 1
    return payload_bound(charter, schema, n_vectors)


def slope(times: np.ndarray[Any, Any], values: np.ndarray[Any, Any]) -> tuple[float, float]:
    """Return how far a straight line through the values rises, and the scatter around it."""
    line = np.polynomial.Polynomial.fit(times, values, 1)
    rise = float(line(times[-1]) - line(times[0]))
    return rise, float(np.std(values - line(times)))


def measure(n_peers: int, rounds: int, round_s: float, folder: Path) -> dict[str, Any]:
    """Run the swarm and return what was seen of each peer."""
    run = LongRun(folder, n_peers, rounds, round_s)
    samples: list[list[tuple[float, int, int, int]]] = [[] for _ in range(n_peers)]
    with run.running():
        while min(run.round(index) for index in range(n_peers)) < rounds:
            for index in range(n_peers):
                samples[index].append((time.monotonic(), *run.sample(index)))
            time.sleep(SAMPLE_S)
    keep = read_charter(run.charter).gossip.keep
    payload = payload_nbytes(run.charter)
    peers = [describe(np.array(rows, np.float64), rounds, payload) for rows in samples]
    return {
        "peers": peers,
        "rounds": rounds,
        "payload_nbytes": payload,
        "goal_payloads": GOAL * keep,
        "repos_are_small": all(peer["repo_payloads"] < GOAL * keep for peer in peers),
        "memory_is_level": all(
            peer["rise_mb"] < max(2 * peer["scatter_mb"], 0.01 * peer["rss_mb"]) for peer in peers
        ),
        "cpus": os.cpu_count(),
        "load": os.getloadavg()[0],
    }


def describe(rows: np.ndarray[Any, Any], rounds: int, payload: int) -> dict[str, float]:
    """Reduce one peer's samples (time, round, memory, repo) to figures."""
    half = rows[(rows[:, 1] >= rounds / 2) & (rows[:, 1] < rounds)]
    rise, scatter = slope(half[:, 0], half[:, 2])
    return {
        "repo_payloads": float(rows[:, 3].max() / payload),
        "rss_mb": float(np.median(half[:, 2]) / 1e6),
        "rise_mb": rise / 1e6,
        "scatter_mb": scatter / 1e6,
        "n_samples": len(half),
    }


def main() -> int:
    """Measure, print, and say by the exit status whether the goals are met."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--peers", type=int, default=5)
    parser.add_argument("--rounds", type=int, default=200)
    parser.add_argument("--min-seconds", type=float, default=0.5, help="of a round")
    parser.add_argument("--json", action="store_true")
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="learnae-bench-") as scratch:
        found = measure(asked.peers, asked.rounds, asked.min_seconds, Path(scratch))
    if asked.json:
        print(json.dumps(found, indent=2))
    else:
        for peer in found["peers"]:
            print(
                "repo at most {repo_payloads:.1f} payloads; memory {rss_mb:.1f} MB, rises by "
                "{rise_mb:+.2f} MB over the second half, scatter {scatter_mb:.2f} MB".format(**peer)
            )
        print(
            "{rounds} rounds, payloads of {payload_nbytes:,} bytes, goal below {goal_payloads} of "
            "them a repo; {cpus} CPUs, load {load:.1f}".format(**found)
        )
    return 0 if found["repos_are_small"] and found["memory_is_level"] else 1


if __name__ == "__main__":
    sys.exit(main())

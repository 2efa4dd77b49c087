"""How long a large model takes from `exchange` on one peer to merged on another, over IPFS.

    python bench/ipfs_payload.py [--megabytes 91] [--repeat 5] [--json]

Two Kubo daemons in a private network on loopback, two peers in this process. The ceiling is what
the same two daemons need for the same bytes on their own: ``ipfs add`` here and ``ipfs cat``
there, with the shape of objects that learnae uses, plus what the kernels need. Everything that
learnae does beside (naming, verifying, sealing, announcing, noticing) is in the difference.
Repetitions alternate between the two, so that both see the same machine.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import tempfile
import threading
import time
from pathlib import Path
from typing import Any

import numpy as np

import learnae
from learnae import kernels
from learnae.node.gate import gate
from learnae.node.kubo import (
    LOOPBACK,
    RepoOptions,
    find_binary,
    init_repo,
    start_daemon,
    stop_daemon,
)
from learnae.node.swarmkey import create_swarm_key
from learnae.payload import Schema
from learnae.transports.ipfs import Rpc
from learnae.transports.keys import kubo_swarm_key

CHARTER = """
[swarm]
name = "bench"
seed = 1
[training]
steps = 1
[gossip]
codec = "f32"
keep = 2
"""
ADD = ["--cid-version=1", "--raw-leaves", "--chunker=size-1048576", "--quieter", "--pin=false"]


def daemons_alone(repos: list[Path], n_bytes: int, scratch: Path) -> tuple[float, float]:
    """Return the seconds of ``ipfs add`` on one daemon and ``ipfs cat`` on the other."""
    path = scratch / "object"
    path.write_bytes(os.urandom(n_bytes))
    ipfs = str(find_binary())
    began = time.perf_counter()
    command = [ipfs, "--repo-dir", str(repos[0]), "add", *ADD, str(path)]
    cid = subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()
    added = time.perf_counter()
    with open(scratch / "copy", "wb") as copy:
        command = [ipfs, "--repo-dir", str(repos[1]), "cat", cid]
        subprocess.run(command, check=True, stdout=copy)
    ended = time.perf_counter()
    for repo in repos:
        Rpc(str(repo)).call("repo/gc", deadline_s=60.0)
    return added - began, ended - added


def kernels_alone(vector: np.ndarray[Any, Any], schema: Schema) -> float:
    """Return the seconds that encoding, gating and merging one model take."""
    began = time.perf_counter()
    payload = kernels.payload_write("f32", schema.digest, [vector])
    view = gate(payload, schema, vector, 100.0)
    kernels.payload_average(vector.copy(), 0.5, [view], [0.5], 0)
    return time.perf_counter() - began


def through_learnae(ann: Any, bob: Any, params: dict[str, Any]) -> float:
    """Return the seconds from ann's exchange until bob has merged what she published."""
    merged = bob.status().models_merged
    accepted = bob._node.session.traffic.accepted
    began = time.perf_counter()
    params["w"] += np.float32(0.001)
    exchange = threading.Thread(target=ann.exchange, args=(params,), kwargs={"samples": 1})
    exchange.start()
    while bob._node.session.traffic.accepted == accepted:
        time.sleep(0.002)
    bob._node.session.merge(bob._node.params, None, 1)
    took = time.perf_counter() - began
    exchange.join()
    assert bob.status().models_merged > merged
    return took


def measure(n_bytes: int, repeat: int, scratch: Path) -> dict[str, Any]:
    charter = scratch / "swarm.toml"
    charter.write_text(CHARTER)
    key = create_swarm_key(scratch / "swarm.key")
    swarm_id = learnae.parse_charter(CHARTER).swarm_id
    repos = [scratch / "ann-repo", scratch / "bob-repo"]
    rows = []
    try:
        for repo in repos:
            text = kubo_swarm_key(key, swarm_id)
            init_repo(repo, RepoOptions(swarm_key_text=text, listen=(LOOPBACK,)))
        addresses = [start_daemon(repo).addresses[0] for repo in repos]
        Rpc(str(repos[0])).call("swarm/connect", addresses[1])
        params = {"w": np.random.default_rng(1).standard_normal(n_bytes // 4, np.float32)}
        schema = Schema.of(params)

        def join(index: int) -> Any:
            home = scratch / f"home-{index}"
            return learnae.join(charter, params, home=home, transport=f"ipfs:{repos[index]}")

        with join(0) as ann, join(1) as bob:
            bob._node.serve_from_now()  # and so fetches without rounds of his own
            for _ in range(repeat + 1):
                learnae_s = through_learnae(ann, bob, params)
                add_s, cat_s = daemons_alone(repos, n_bytes, scratch)
                rows.append((learnae_s, add_s, cat_s, kernels_alone(params["w"], schema)))
    finally:
        for repo in repos:
            stop_daemon(repo)
    return summarise(n_bytes, rows[1:])


def summarise(n_bytes: int, rows: list[tuple[float, float, float, float]]) -> dict[str, Any]:
    learnae_s, add_s, cat_s, kernels_s = (statistics.median(c) for c in zip(*rows, strict=True))
    ratios = [row[0] / (1.3 * (row[1] + row[2]) + row[3]) for row in rows]
    return {
        "megabytes": n_bytes / 1e6,
        "learnae_s": learnae_s,
        "ipfs_add_s": add_s,
        "ipfs_cat_s": cat_s,
        "kernels_s": kernels_s,
        "allowed_s": 1.3 * (add_s + cat_s) + kernels_s,
        "times_the_daemons": (learnae_s - kernels_s) / (add_s + cat_s),
        "of_allowed": statistics.median(ratios),
        "rows": rows,
        "cpus": os.cpu_count(),
        "load": os.getloadavg()[0],
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--megabytes", type=float, default=91.0)
    parser.add_argument("--repeat", type=int, default=5)
    parser.add_argument("--json", action="store_true")
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="learnae-bench-") as scratch:
        found = measure(int(asked.megabytes * 1e6), asked.repeat, Path(scratch))
    if asked.json:
        print(json.dumps(found, indent=2))
        return
    for name, value in found.items():
        if name != "rows":
            print(f"{name:>18} {value:.3f}")
    for row in found["rows"]:
        print("learnae {:.2f}  add {:.2f}  cat {:.2f}  kernels {:.2f}".format(*row))


if __name__ == "__main__":
    main()

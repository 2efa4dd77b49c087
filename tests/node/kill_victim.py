"""A peer with a NumPy model that trains until it is killed; run as a process by the test."""

from __future__ import annotations

import sys

import numpy as np

import learnae
from learnae.node.node import NodeSettings


def main() -> None:
    """Join with the charter, home and shared folder of the command line; print each round."""
    charter, home, shared, target = sys.argv[1:]
    settings = NodeSettings(poll_s=0.005, checkpoint_s=0.02, status_s=0.05, patience_s=0.0)
    params = {"w": np.zeros(4000, np.float32), "b": np.zeros(7, np.float64)}
    goal = np.float32(target)
    with learnae.join(
        charter, params, home=home, transport=f"directory:{shared}", settings=settings
    ) as peer:
        params = peer.params
        print("start", peer.peer_id, peer.round, flush=True)
        while True:
            params = {name: leaf + (goal - leaf) * 0.01 for name, leaf in params.items()}
            before = peer.round
            params = peer.exchange(params, samples=10)
            if peer.round != before:
                print("round", peer.round, flush=True)


if __name__ == "__main__":
    main()

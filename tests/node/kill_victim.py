"""A peer with a NumPy model that trains until it is killed; run as a process by the test."""

from __future__ import annotations

from multiprocessing.connection import Connection
from pathlib import Path

import numpy as np

import learnae
from learnae.node.node import NodeSettings

__all__ = ["train_until_killed"]


def train_until_killed(out: Connection, folder: Path, number: int) -> None:
    """Join, send (peer id, round) of the start, then the number of each round."""
    settings = NodeSettings(poll_s=0.005, checkpoint_s=0.02, status_s=0.05, patience_s=0.0)
    params = {"w": np.zeros(4000, np.float32), "b": np.zeros(7, np.float64)}
    goal = np.float32(number)
    with learnae.join(
        folder / "swarm.toml",
        params,
        home=folder / f"home-{number}",
        transport=f"directory:{folder / 'shared'}",
        settings=settings,
    ) as peer:
        params = peer.params
        out.send((peer.peer_id, peer.round))
        while True:
            params = {name: leaf + (goal - leaf) * 0.01 for name, leaf in params.items()}
            before = peer.round
            params = peer.exchange(params, samples=10)
            if peer.round != before:
                out.send(peer.round)

"""A relay: it has no data, and keeps a swarm's model within reach for whoever comes late.

A relay fetches like every peer, and now and then publishes the mean of what it remembers with
0 samples: such a contribution has no weight in anybody's mean, but a late joiner who finds
nobody else adopts it. It needs neither data nor JAX.
"""

from __future__ import annotations

import threading
import time

from learnae.node.node import Node

__all__ = ["serve_as_relay"]


def serve_as_relay(node: Node, stop: threading.Event) -> None:
    """Serve until `stop` is set."""
    node.start()
    node.begin()
    node.serve_from_now()
    every_s = max(1.0, 10 * node.charter.training.min_seconds)
    accepted, due = 0, time.monotonic()
    while not stop.wait(0.1):
        node.check()
        now_accepted = node.session.traffic.accepted
        if now_accepted != accepted and time.monotonic() >= due:
            accepted, due = now_accepted, time.monotonic() + every_s
            node.republish_mean()

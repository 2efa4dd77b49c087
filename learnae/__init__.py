"""learnae: one neural network trained jointly by peers whose data stays where it is.

The three-line way in::

    import learnae

    with learnae.join("swarm.toml", params) as peer:
        params = peer.params
        for x, y in data:
            params, state = step(params, state, x, y)
            params = peer.exchange(params, samples=len(x))

Names are loaded on first use, so that ``import learnae`` costs next to nothing and needs no JAX.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from learnae.averaging import AveragePlan, average_
    from learnae.errors import HostileBytes, LearnaeError, TransportError, UsageError
    from learnae.node.join import JoinedPeer, join, read_charter
    from learnae.node.node import NodeSettings
    from learnae.node.status import Status
    from learnae.payload import Schema
    from learnae.swarm.charter import Charter, dump_charter, parse_charter
    from learnae.transports import open_transport

__all__ = [
    "AveragePlan",
    "Charter",
    "HostileBytes",
    "JoinedPeer",
    "LearnaeError",
    "NodeSettings",
    "Schema",
    "Status",
    "TransportError",
    "UsageError",
    "__version__",
    "average_",
    "dump_charter",
    "join",
    "open_transport",
    "parse_charter",
    "read_charter",
]

_HOMES = {
    "AveragePlan": "learnae.averaging",
    "Charter": "learnae.swarm.charter",
    "HostileBytes": "learnae.errors",
    "JoinedPeer": "learnae.node.join",
    "LearnaeError": "learnae.errors",
    "NodeSettings": "learnae.node.node",
    "Schema": "learnae.payload",
    "Status": "learnae.node.status",
    "TransportError": "learnae.errors",
    "UsageError": "learnae.errors",
    "average_": "learnae.averaging",
    "dump_charter": "learnae.swarm.charter",
    "join": "learnae.node.join",
    "open_transport": "learnae.transports",
    "parse_charter": "learnae.swarm.charter",
    "read_charter": "learnae.node.join",
}


_MODULES = frozenset(("errors", "kernels", "learn", "payload", "transports"))


def __getattr__(name: str) -> Any:
    if name == "__version__":
        from importlib.metadata import version

        return version("learnae")
    if name in _HOMES:
        value = getattr(import_module(_HOMES[name]), name)
        globals()[name] = value
        return value
    if name in _MODULES:
        return import_module(f"learnae.{name}")
    raise AttributeError(f"module 'learnae' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted(__all__)

"""Ways to carry objects and messages between peers: one seam, several implementations."""

from __future__ import annotations

import difflib

from learnae.errors import UsageError
from learnae.transports.cid import cid_from_text, cid_of, cid_text
from learnae.transports.directory import DirectoryTransport
from learnae.transports.memory import Faults, MemoryNetwork, Partition
from learnae.transports.seam import Buffer, PubSub, Store, Subscription, Transport

__all__ = [
    "Buffer",
    "DirectoryTransport",
    "Faults",
    "MemoryNetwork",
    "Partition",
    "PubSub",
    "Store",
    "Subscription",
    "Transport",
    "cid_from_text",
    "cid_of",
    "cid_text",
    "open_transport",
]

_SCHEMES = ("directory", "ipfs", "memory")


def open_transport(address: str, name: str) -> Transport:
    """Open the transport that `address` describes, for the peer called `name`.

    Parameters
    ----------
    address
        ``directory:PATH``: the folder is created if it does not exist. ``ipfs:REPO``, the
        folder of a Kubo daemon's repo, or ``ipfs:/ip4/127.0.0.1/tcp/5001``, the address of its
        RPC interface: the daemon must run.
    name
        Under which this peer stores and publishes: its peer id.

    Raises
    ------
    UsageError
        An address that is not understood.
    TransportError
        The transport cannot be opened; for a directory, because of the path named in it.
    """
    scheme, colon, rest = address.partition(":")
    if scheme == "directory" and rest:
        return DirectoryTransport(rest, name)
    if scheme == "directory":
        raise UsageError(f"transport {address!r} names no folder: write directory:PATH")
    if scheme == "ipfs" and rest:
        from learnae.transports.ipfs import IpfsTransport  # needs what only the extra brings

        return IpfsTransport(rest, name)
    if scheme == "ipfs":
        raise UsageError(
            f"transport {address!r} names no daemon: write ipfs:REPO-FOLDER or "
            "ipfs:/ip4/127.0.0.1/tcp/5001"
        )
    if scheme == "memory":
        raise UsageError(
            "transport 'memory' lives inside one process: pass "
            "MemoryNetwork().endpoint(name) instead of a text, or write directory:PATH"
        )
    near = difflib.get_close_matches(scheme, _SCHEMES, n=1)
    hint = f" (did you mean {near[0]}?)" if near and colon else ""
    raise UsageError(f"transport {address!r} is not known{hint}: write directory:PATH or ipfs:REPO")

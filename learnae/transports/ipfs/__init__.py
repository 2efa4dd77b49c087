"""Kubo as transport: peers on many machines, over IPFS, in a private network.

Every peer has a daemon of its own beside it, or shares one; learnae speaks to it over loopback
and writes no network protocol. Objects are IPFS files and messages are pubsub messages. See
docs/transports.md.
"""

from __future__ import annotations

from learnae.transports.ipfs.rpc import Refused, Rpc, TooSlow, Unreachable
from learnae.transports.ipfs.transport import DaemonFacts, IpfsTransport, describe

__all__ = ["DaemonFacts", "IpfsTransport", "Refused", "Rpc", "TooSlow", "Unreachable", "describe"]

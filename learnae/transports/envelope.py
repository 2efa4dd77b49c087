"""A sealed message: a DAG-CBOR node that says nothing, and inside it a message and a link.

::

    {"sealed": bytes}     the bytes sealed with the swarm key:
        0x00 + message
        0x01 + SHA-256 of the previous message + SHA-256 of the previous node + message

The very bytes that are published can be stored as a node, so whoever receives a message knows
under which CID it is stored. The links of a chain are inside, and the node before has two names
there: the one that the sender's announcement uses, which is that of the plain bytes, and the one
that the store uses. A member walks the chain by the former; nobody else can walk it at all.
"""

from __future__ import annotations

from dataclasses import dataclass

from learnae.transports.sealing import MESSAGE_OVERHEAD_NBYTES, MessageSeal

__all__ = ["ENVELOPE_OVERHEAD_NBYTES", "Envelopes", "Opened", "Previous"]

_NODE_CID = b"\x01\x71\x12\x20"  # CIDv1, dag-cbor, SHA-256 of 32 bytes
_KEY = b"\xa1\x66sealed"  # a map of one entry, with a text of 6 bytes as its key
_NO_LINK, _LINK = b"\x00", b"\x01"
_DIGEST_NBYTES = 32
#: By how much a message grows at most.
ENVELOPE_OVERHEAD_NBYTES = len(_KEY) + 3 + MESSAGE_OVERHEAD_NBYTES + 1 + 2 * _DIGEST_NBYTES


@dataclass(frozen=True, slots=True)
class Previous:
    """The node before: the CIDs of its plain message, and of the node as it is stored."""

    plain: bytes
    stored: bytes


@dataclass(frozen=True, slots=True)
class Opened:
    """What is inside an envelope."""

    data: bytes
    previous: Previous | None


class Envelopes:
    """Seals and opens messages as nodes."""

    def __init__(self, swarm_key: bytes, swarm_id: bytes) -> None:
        self._seal = MessageSeal(swarm_key, swarm_id)

    def seal(self, data: bytes, previous: Previous | None) -> bytes:
        """Return the node; the same bytes for the same message and link."""
        link = _NO_LINK
        if previous is not None:
            prefix = len(_NODE_CID)
            link = _LINK + previous.plain[prefix:] + previous.stored[prefix:]
        sealed = self._seal.seal(link + data)
        return _head(len(sealed)) + sealed

    def open(self, node: bytes) -> Opened | None:
        """Return what is inside; None for any other bytes."""
        start = len(_KEY) + (2 if node[len(_KEY) : len(_KEY) + 1] == b"\x58" else 3)
        # Any other head than ours would give one message several names.
        if len(node) > 0xFFFF or node[:start] != _head(max(0, len(node) - start)):
            return None
        content = self._seal.open(node[start:])
        if content is None:
            return None
        if content[:1] == _NO_LINK:
            return Opened(content[1:], None)
        plain, stored = content[1 : 1 + _DIGEST_NBYTES], content[1 + _DIGEST_NBYTES :]
        stored, data = stored[:_DIGEST_NBYTES], stored[_DIGEST_NBYTES:]
        if content[:1] != _LINK or len(stored) != _DIGEST_NBYTES:
            return None
        return Opened(data, Previous(_NODE_CID + plain, _NODE_CID + stored))


def _head(n: int) -> bytes:
    """Return the node's first bytes: map, key, and the header of a byte string of `n` bytes."""
    return _KEY + (bytes((0x58, n)) if n < 256 else b"\x59" + n.to_bytes(2, "big"))

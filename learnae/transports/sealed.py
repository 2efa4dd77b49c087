"""Any transport, sealed: what it carries can be read, and made, only with the swarm key.

Objects are named by what is stored, the sealed bytes: a CID says nothing about the model. What a
message looks like, and how a chain of them is walked, says `learnae.transports.envelope`;
docs/encryption.md is the specification.
"""

from __future__ import annotations

import os
import threading
from collections import OrderedDict
from collections.abc import Sequence
from pathlib import Path

from learnae.errors import NotFound, TransportError, WrongObject
from learnae.transports.atomic import explain, replace_file
from learnae.transports.cid import cid_text, node_cid
from learnae.transports.envelope import (
    ENVELOPE_OVERHEAD_NBYTES,
    Envelopes,
    Opened,
    Previous,
)
from learnae.transports.sealing import ObjectSeal, sealed_nbytes
from learnae.transports.seam import (
    MAX_MESSAGE_NBYTES,
    Buffer,
    Nodes,
    Reaching,
    Subscription,
    Transport,
)

__all__ = ["MAX_SEALED_MESSAGE_NBYTES", "SealedNodes", "SealedTransport", "seal_transport"]

#: Largest message that a sealed transport takes.
MAX_SEALED_MESSAGE_NBYTES = MAX_MESSAGE_NBYTES - ENVELOPE_OVERHEAD_NBYTES
#: How many nodes' names are known at a time: 64 of each of 128 peers.
_MAX_NAMES = 8192


def seal_transport(
    inner: Transport,
    swarm_key: bytes,
    swarm_id: bytes,
    *,
    last: str | os.PathLike[str] | None = None,
) -> SealedTransport:
    """Seal a transport; it keeps nodes where `inner` does.

    Parameters
    ----------
    inner
        What carries the sealed bytes; closed with the result.
    swarm_key, swarm_id
        32 bytes each.
    last
        File for this peer's newest node, so that its chain goes on after a restart.
    """
    if isinstance(inner, Nodes):
        return SealedNodes(inner, swarm_key, swarm_id, last=last)
    return SealedTransport(inner, swarm_key, swarm_id)


class SealedTransport:
    """A transport whose objects and messages are sealed; see `seal_transport`.

    Attributes
    ----------
    inner
        The transport below.
    n_unopened
        Messages that could not be opened so far: made with another key, or by no member.
    """

    def __init__(self, inner: Transport, swarm_key: bytes, swarm_id: bytes) -> None:
        self.inner = inner
        self.n_unopened = 0
        self._objects = ObjectSeal(swarm_key, swarm_id)
        self._envelopes = Envelopes(swarm_key, swarm_id)

    def put(self, data: Buffer) -> bytes:
        """Seal and store an object; the CID is that of the sealed bytes."""
        return self.inner.put(self._objects.seal(data))

    def get(self, cid: bytes, max_nbytes: int, deadline_s: float) -> memoryview:
        """Fetch, verify and open an object; see `learnae.transports.seam.Store.get`."""
        sealed = self.inner.get(cid, sealed_nbytes(max(0, max_nbytes)), deadline_s)
        try:
            return self._objects.open(sealed, max_nbytes)
        except WrongObject as error:
            raise WrongObject(f"{cid_text(cid)}: {error}") from error

    def drop(self, cid: bytes) -> None:
        """Stop storing this peer's copy."""
        self.inner.drop(cid)

    def owned(self) -> list[bytes]:
        """List this peer's objects, oldest first."""
        return self.inner.owned()

    def addresses(self) -> tuple[str, ...]:
        """Return where others can reach this peer."""
        return self.inner.addresses()

    def reach(self, addresses: Sequence[str]) -> None:
        """Connect to whoever is at `addresses`, where the transport below can."""
        if isinstance(self.inner, Reaching):
            self.inner.reach(addresses)

    def publish(self, topic: str, data: bytes) -> None:
        """Seal and send a message; see `learnae.transports.seam.PubSub.publish`.

        Raises
        ------
        ValueError
            More than `MAX_SEALED_MESSAGE_NBYTES` bytes, or not a topic.
        """
        if len(data) > MAX_SEALED_MESSAGE_NBYTES:
            raise ValueError(
                f"a message of {len(data)} bytes: at most {MAX_SEALED_MESSAGE_NBYTES} when sealed"
            )
        self.inner.publish(topic, self._envelope(data))

    def subscribe(self, topic: str) -> Subscription:
        """Start to listen; what cannot be opened is counted and left out."""
        return _SealedSubscription(self, self.inner.subscribe(topic))

    def close(self) -> None:
        """Close the transport below."""
        self.inner.close()

    def _envelope(self, data: bytes) -> bytes:
        return self._envelopes.seal(data, None)

    def _opened(self, node: bytes) -> Opened | None:
        return self._envelopes.open(node)


class SealedNodes(SealedTransport):
    """A sealed transport over one that keeps nodes; see `seal_transport`."""

    def __init__(
        self,
        inner: Transport,
        swarm_key: bytes,
        swarm_id: bytes,
        *,
        last: str | os.PathLike[str] | None = None,
    ) -> None:
        assert isinstance(inner, Nodes)
        super().__init__(inner, swarm_key, swarm_id)
        self._nodes: Nodes = inner
        self._lock = threading.Lock()
        # Under which CID a node is stored, by the CID of its plain message. Our own are apart:
        # however much others say, what was stored can be dropped again.
        self._own: OrderedDict[bytes, bytes] = OrderedDict()
        self._facts: OrderedDict[bytes, bytes] = OrderedDict()
        self._claims: OrderedDict[bytes, bytes] = OrderedDict()
        self._last_file = None if last is None else Path(last)
        self._last: tuple[bytes, bytes] | None = None  # our newest message, and its node
        self._load_last()

    def put_node(self, data: bytes) -> bytes:
        """Seal and store a node, linked to the one put before; the CID is of the plain bytes.

        The same node again, and ``publish`` of the same bytes, do not make another one.
        """
        if len(data) > MAX_SEALED_MESSAGE_NBYTES:
            raise ValueError(
                f"a node of {len(data)} bytes: at most {MAX_SEALED_MESSAGE_NBYTES} when sealed"
            )
        last = self._last
        if last is not None and last[0] == data:
            node = last[1]
        else:
            node = self._envelopes.seal(data, None if last is None else _names(*last))
        self._nodes.put_node(node)
        with self._lock:
            self._learn(self._own, _names(data, node))
        if last is None or last[1] != node:
            self._save_last(data, node)
        return node_cid(data)

    def get_node(self, cid: bytes, deadline_s: float) -> bytes:
        """Fetch and open a node by the CID of its plain bytes.

        Only nodes that a message or another node has named are found.
        """
        stored = self._stored(cid)
        if stored is None:
            raise NotFound(f"{cid_text(cid)}: no message has named the sealed form of this node")
        opened = self._opened(self._nodes.get_node(stored, deadline_s))
        if opened is None or node_cid(opened.data) != cid:
            raise TransportError(f"{cid_text(cid)}: what is stored for it is something else")
        return opened.data

    def drop_node(self, cid: bytes) -> None:
        """Stop storing this peer's copy of a node."""
        stored = self._stored(cid)
        if stored is not None:
            self._nodes.drop_node(stored)
            with self._lock:
                self._own.pop(cid, None)

    def _envelope(self, data: bytes) -> bytes:
        last = self._last
        return last[1] if last is not None and last[0] == data else super()._envelope(data)

    def _opened(self, node: bytes) -> Opened | None:
        """Open a node, and learn under which names it and the one before are stored."""
        opened = super()._opened(node)
        if opened is not None:
            with self._lock:
                # What a node says of the one before is a claim; its own names are facts.
                if opened.previous is not None and opened.previous.plain not in self._facts:
                    self._learn(self._claims, opened.previous)
                self._learn(self._facts, _names(opened.data, node))
        return opened

    @staticmethod
    def _learn(table: OrderedDict[bytes, bytes], names: Previous) -> None:
        table[names.plain] = names.stored
        table.move_to_end(names.plain)
        if len(table) > _MAX_NAMES:
            table.popitem(last=False)

    def _stored(self, cid: bytes) -> bytes | None:
        with self._lock:
            return self._own.get(cid) or self._facts.get(cid) or self._claims.get(cid)

    def _load_last(self) -> None:
        """Go on from where the last process stopped; without it a new chain begins."""
        if self._last_file is None:
            return
        try:
            with open(self._last_file, "rb") as file:
                node = file.read(MAX_MESSAGE_NBYTES + 1)
        except OSError:
            return
        opened = self._opened(node)
        if opened is not None:
            self._last = opened.data, node

    def _save_last(self, data: bytes, node: bytes) -> None:
        self._last = data, node
        if self._last_file is None:
            return
        path = str(self._last_file)
        try:
            replace_file(path, [node], partial_folder=str(self._last_file.parent), mode=0o600)
        except OSError as error:
            raise TransportError(explain(error, "write", path)) from error


def _names(data: bytes, node: bytes) -> Previous:
    return Previous(node_cid(data), node_cid(node))


class _SealedSubscription:
    def __init__(self, transport: SealedTransport, inner: Subscription) -> None:
        self._transport, self._inner = transport, inner

    def take(self) -> list[bytes]:
        messages = []
        for node in self._inner.take():
            opened = self._transport._opened(node)
            if opened is None:
                self._transport.n_unopened += 1
            else:
                messages.append(opened.data)
        return messages

    def close(self) -> None:
        self._inner.close()

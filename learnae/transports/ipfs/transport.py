"""The transport: a store, channels, a dialler, and the thread that keeps them in order."""

from __future__ import annotations

import contextlib
import logging
import math
import secrets
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass

from learnae.errors import TransportError
from learnae.transports.folder import is_peer_name
from learnae.transports.ipfs.barring import Bars
from learnae.transports.ipfs.dialling import Dialler, is_dialable, is_loopback
from learnae.transports.ipfs.frames import TAG_NBYTES
from learnae.transports.ipfs.pubsub import Channel, IpfsSubscription
from learnae.transports.ipfs.rpc import Rpc
from learnae.transports.ipfs.store import IpfsStore
from learnae.transports.seam import Buffer

__all__ = ["DaemonFacts", "IpfsTransport", "describe"]

log = logging.getLogger("learnae.transports.ipfs")

_ADDRESSES = 4
_ADDRESSES_EVERY_S = 10.0
_UPKEEP_EVERY_S = 5.0


@dataclass(frozen=True)
class DaemonFacts:
    """What a daemon says of itself.

    Attributes
    ----------
    version
        Such as "0.43.0".
    peer_id
        Its libp2p peer id; not the learnae peer's.
    addresses
        All multiaddrs at which it listens, with its peer id.
    pubsub
        Whether pubsub is switched on.
    n_peers
        Daemons that it is connected to.
    """

    version: str
    peer_id: str
    addresses: tuple[str, ...]
    pubsub: bool
    n_peers: int


class IpfsTransport:
    """Store, pubsub, nodes and dialling on a Kubo daemon.

    Parameters
    ----------
    api
        The multiaddr of the daemon's RPC interface, ``/ip4/127.0.0.1/tcp/5001``, or the folder
        of its repo, which finds a restarted daemon again.
    name
        This peer's name; several peers may share a daemon.

    Raises
    ------
    ValueError
        `name` cannot be a peer's name.
    UsageError
        `api` is no address, or ipfshttpclient is not installed.
    TransportError
        No daemon answers.
    """

    def __init__(self, api: str, name: str) -> None:
        if not is_peer_name(name):
            raise ValueError(f"{name[:80]!r} cannot be a peer's name")
        self.name = name
        self._rpc = Rpc(api)
        self._wake = threading.Event()
        self._closed = False
        self._tag = secrets.token_bytes(TAG_NBYTES)
        self._lock = threading.Lock()
        self._channels: dict[str, Channel] = {}
        self._addresses: tuple[str, ...] = ()
        self._addresses_at = -math.inf
        self._store = IpfsStore(self._rpc, name, self._wake.set)
        self._bars = Bars(self._rpc, lambda: self._dialler.places(), self._wake.set)
        self._dialler = Dialler(self._rpc, self._bars)
        self._thread = threading.Thread(target=self._keep_up, name="learnae-ipfs", daemon=True)
        self._thread.start()

    # -- the daemon ----------------------------------------------------------------------

    def daemon(self) -> DaemonFacts:
        """Ask the daemon what it is.

        Raises
        ------
        TransportError
            It does not answer.
        """
        self._require_open()
        return describe(self._rpc)

    def addresses(self) -> tuple[str, ...]:
        """Return where other daemons reach this one; see `learnae.transports.seam.Transport`."""
        now = time.monotonic()
        if now - self._addresses_at > _ADDRESSES_EVERY_S:
            with contextlib.suppress(TransportError):
                found = [str(a) for a in self._rpc.call("id")[0].get("Addresses") or []]
                plain = [address for address in found if is_dialable(address)]
                # Loopback is of use only to who is on this machine, where nothing else is there.
                far = [address for address in plain if not is_loopback(address)]
                self._addresses, self._addresses_at = tuple((far or plain)[:_ADDRESSES]), now
        return self._addresses

    def reach(self, addresses: Sequence[str]) -> None:
        """Connect in the background; see `learnae.transports.seam.Reaching.reach`."""
        if not self._closed:
            self._dialler.reach(addresses)

    # -- store ---------------------------------------------------------------------------

    def put(self, data: Buffer) -> bytes:
        """Store and pin an object; see `learnae.transports.seam.Store.put`."""
        self._require_open()
        return self._store.put(data)

    def get(self, cid: bytes, max_nbytes: int, deadline_s: float) -> memoryview:
        """Fetch and verify an object; see `learnae.transports.seam.Store.get`."""
        self._require_open()
        return self._store.get(cid, max_nbytes, deadline_s)

    def drop(self, cid: bytes) -> None:
        """Unpin and remove an object; see `learnae.transports.seam.Store.drop`."""
        self._require_open()
        self._store.drop(cid)

    def owned(self) -> list[bytes]:
        """List this peer's objects, oldest first; see `learnae.transports.seam.Transport`."""
        self._require_open()
        return self._store.owned()

    def put_node(self, data: bytes) -> bytes:
        """Store a node; see `learnae.transports.seam.Nodes.put_node`."""
        self._require_open()
        return self._store.put_node(data)

    def get_node(self, cid: bytes, deadline_s: float) -> bytes:
        """Fetch a node; see `learnae.transports.seam.Nodes.get_node`."""
        self._require_open()
        return self._store.get_node(cid, deadline_s)

    def drop_node(self, cid: bytes) -> None:
        """Remove a node; see `learnae.transports.seam.Nodes.drop_node`."""
        self._require_open()
        self._store.drop_node(cid)

    # -- pubsub --------------------------------------------------------------------------

    def publish(self, topic: str, data: bytes) -> None:
        """Send a message; see `learnae.transports.seam.PubSub.publish`."""
        self._channel(topic).publish(data)

    def subscribe(self, topic: str) -> IpfsSubscription:
        """Listen to a topic; see `learnae.transports.seam.PubSub.subscribe`."""
        return self._channel(topic).subscribe()

    def close(self) -> None:
        """End all threads and requests; what is stored stays."""
        with self._lock:
            if self._closed:
                return
            self._closed = True
            channels = list(self._channels.values())
        for channel in channels:
            channel.close()
        self._dialler.close()
        self._rpc.close()
        self._wake.set()
        for channel in channels:
            channel.join()
        self._dialler.join()
        self._thread.join(5.0)

    def _channel(self, topic: str) -> Channel:
        with self._lock:
            self._require_open()
            if topic not in self._channels:
                self._channels[topic] = Channel(
                    self._rpc, topic, self._tag, self._wake.set, self._bars
                )
            return self._channels[topic]

    def _require_open(self) -> None:
        if self._closed:
            raise TransportError(f"the transport to {self._rpc.where} is closed")

    def _keep_up(self) -> None:
        """Keep floods out, send signs when they are due, remove what is no longer wanted."""
        while not self._closed:
            self._wake.clear()
            due = time.monotonic() + _UPKEEP_EVERY_S
            with self._lock:
                channels = list(self._channels.values())
            # The store last: collecting its garbage may take minutes.
            for step in (self._bars.tick, *(channel.tick for channel in channels), self._tidy):
                try:
                    due = min(due, step(time.monotonic()))
                except TransportError as error:
                    log.debug("upkeep: %s", error)
            self._wake.wait(max(0.0, due - time.monotonic()))

    def _tidy(self, _now: float) -> float:
        self._store.tick()
        return math.inf


def describe(rpc: Rpc) -> DaemonFacts:
    """Ask a daemon what it is.

    Raises
    ------
    TransportError
        It does not answer.
    """
    version = str(rpc.call("version")[0].get("Version", ""))
    identity = rpc.call("id")[0]
    peers = rpc.call("swarm/peers")[0].get("Peers") or []
    try:
        rpc.call("pubsub/ls")
        pubsub = True
    except TransportError:
        pubsub = False
    return DaemonFacts(
        version=version,
        peer_id=str(identity.get("ID", "")),
        addresses=tuple(str(address) for address in identity.get("Addresses") or []),
        pubsub=pubsub,
        n_peers=len(peers),
    )

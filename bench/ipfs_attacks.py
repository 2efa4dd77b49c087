"""What a member of a swarm can do to the others over IPFS: the attacks of ``ipfs_hostile.py``.

Each attack is a function that is called again and again while it lasts; it does one hostile thing
and returns how many seconds later the next one is due.
"""

from __future__ import annotations

import base64
import http.client
import itertools
import os
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from learnae.node.access import access_of, open_swarm_transport
from learnae.swarm import Charter, Identity, Kind, Peer
from learnae.swarm.events import Publish
from learnae.transports.cid import CHUNK_NBYTES, cid_from_text, cid_of
from learnae.transports.envelope import Envelopes
from learnae.transports.ipfs import Rpc
from learnae.transports.ipfs.frames import Frame, Sign, encode_frame
from learnae.transports.sealing import sealed_nbytes

__all__ = ["ATTACKS", "Hostile"]

FLOOD_PER_S = 2000
FLOOD_BATCH, FLOOD_THREADS = 100, 4


class Hostile:
    """A member with the swarm's key and a daemon of its own, and no good intentions.

    Parameters
    ----------
    charter_path, charter, repo
        The swarm's, and the folder of the daemon.
    schema_digest, payload_nbytes
        Of the swarm's models.
    """

    def __init__(
        self,
        charter_path: Path,
        charter: Charter,
        repo: Path,
        schema_digest: bytes,
        payload_nbytes: int,
    ) -> None:
        access = access_of(charter_path, charter)
        assert access.key is not None
        identity = Identity.generate()
        self.charter, self.payload_nbytes = charter, payload_nbytes
        self.transport = open_swarm_transport(f"ipfs:{repo}", identity.peer_id, access)
        self.peer = Peer(charter, identity, schema_digest)
        self.envelopes = Envelopes(access.key, charter.swarm_id)
        self.rpc = Rpc(str(repo))
        self.topic = "u" + base64.urlsafe_b64encode(charter.topic.encode()).decode().rstrip("=")
        self.counter = itertools.count(1)
        self.n_done = 0
        self.pool = ThreadPoolExecutor(FLOOD_THREADS)
        self._local = threading.local()
        self._overheard: list[bytes] = []
        self._subscription = self.transport.subscribe(charter.topic)

    def announcement(self, cid: bytes) -> bytes:
        """Sign the next announcement, of any object."""
        self.peer.advance(self.peer.round + 1)
        events = self.peer.announce(
            cid,
            kind=Kind.WEIGHTS,
            round=self.peer.round,
            samples=1000,
            loss=0.1,
            addresses=self.transport.addresses(),
            now=time.time(),
        )
        (data,) = (event.data for event in events if isinstance(event, Publish))
        return data

    def announce(self, cid: bytes) -> None:
        """Announce any object as a model."""
        self.transport.publish(self.charter.topic, self.announcement(cid))
        self.n_done += 1

    def send(self, sealed: bytes) -> None:
        """Publish any bytes as a message, over a connection that is kept open."""
        frame = encode_frame(Frame(Sign.MESSAGE, b"hostile!", next(self.counter), sealed))
        self.send_raw(frame)

    def send_raw(self, data: bytes) -> None:
        """Publish any bytes at all."""
        connection: http.client.HTTPConnection | None = getattr(self._local, "connection", None)
        if connection is None:
            _, _, host, _, port = self.rpc.api().split("/")[:5]
            connection = self._local.connection = http.client.HTTPConnection(host, int(port))
        head = b'--x\r\nContent-Disposition: form-data; name="file"; filename="f"\r\n\r\n'
        headers = {"Content-Type": "multipart/form-data; boundary=x"}
        target = f"/api/v0/pubsub/pub?arg={self.topic}"
        connection.request("POST", target, head + data + b"\r\n--x--\r\n", headers)
        connection.getresponse().read()
        self.n_done += 1

    def overhear(self) -> list[bytes]:
        """Return what the others have said so far, the newest 100."""
        self._overheard = (self._overheard + self._subscription.take())[-100:]
        return self._overheard


def bad_cbor(h: Hostile) -> float:
    """Garbage: not sealed, and sealed by a member."""
    h.send_raw(os.urandom(600))
    h.send(os.urandom(600))
    h.send(h.envelopes.seal(os.urandom(600), None))
    return 0.05


def oversized(h: Hostile) -> float:
    """A model of twenty times the size."""
    h.announce(h.transport.put(os.urandom(20 * h.payload_nbytes)))
    return 0.5


def wrong_cid(h: Hostile) -> float:
    """The name of something that is no model, of the right size."""
    h.announce(h.transport.put(os.urandom(h.payload_nbytes)))
    return 0.2


def endless_stream(h: Hostile) -> float:
    """A file that claims to have the right size, and of which there is no end."""
    leaf = h.rpc.call("block/put", body=os.urandom(CHUNK_NBYTES), options={"cid-codec": "raw"})
    root = _false_file(cid_from_text(leaf[0]["Key"]), sealed_nbytes(h.payload_nbytes))
    stored = h.rpc.call("block/put", body=root, options={"cid-codec": "dag-pb"})
    h.announce(cid_from_text(stored[0]["Key"]))
    return 0.2


def stale_replay(h: Hostile) -> float:
    """Old messages of the others, again and again, as many as are no flood."""
    for data in h.overhear()[:10]:
        h.send(h.envelopes.seal(data, None))
    return 0.2


def unreachable(h: Hostile) -> float:
    """Models that nobody has."""
    h.announce(cid_of(os.urandom(32)))
    return 0.05


def flood(h: Hostile) -> float:
    """Two thousand messages a second, all of them signed and sealed as they should be."""
    cid = cid_of(os.urandom(32))
    messages = [h.envelopes.seal(h.announcement(cid), None) for _ in range(FLOOD_BATCH)]
    list(h.pool.map(h.send, messages))
    return FLOOD_BATCH / FLOOD_PER_S


ATTACKS: dict[str, Callable[[Hostile], float]] = {
    attack.__name__: attack
    for attack in (bad_cbor, oversized, wrong_cid, endless_stream, stale_replay, unreachable, flood)
}


def _false_file(leaf: bytes, nbytes: int, n_links: int = 170) -> bytes:
    """Encode a UnixFS file of `n_links` times the same chunk that says it has `nbytes`."""

    def field(number: int, data: bytes) -> bytes:
        return bytes([number << 3 | 2]) + _varint(len(data)) + data

    link = field(1, leaf) + field(2, b"") + b"\x18" + _varint(CHUNK_NBYTES)
    sizes = b"".join(b"\x20" + _varint(max(1, nbytes // n_links)) for _ in range(n_links))
    return field(2, link) * n_links + field(1, b"\x08\x02\x18" + _varint(nbytes) + sizes)


def _varint(n: int) -> bytes:
    out = bytearray()
    while n > 127:
        out.append(n & 127 | 128)
        n >>= 7
    out.append(n)
    return bytes(out)

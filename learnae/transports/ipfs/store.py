"""Objects and nodes in a Kubo repo: pinned by who put them, verified by who gets them.

An object is stored with exactly the shape that `learnae.transports.cid` computes, so its name is
known before the daemon says it. What a peer puts is pinned under a name that holds the peer's and
a counter; that is how `owned` finds it again after a restart. What a peer fetched stays in its
daemon for a while (`learnae.transports.ipfs.fetched`), so that others may get it from there.
"""

from __future__ import annotations

import contextlib
import logging
import threading
import time
import warnings
from collections import OrderedDict
from collections.abc import Callable, Iterator
from typing import Any

from learnae.errors import NotFound, TransportError, UsageError, WrongObject
from learnae.transports.cid import (
    CHUNK_NBYTES,
    N_LINKS,
    Subtree,
    blocks_of,
    cid_from_text,
    cid_of,
    cid_text,
    is_cid,
    leaf_of,
    node_cid,
)
from learnae.transports.ipfs.fetched import Fetched
from learnae.transports.ipfs.leaves import read_leaves
from learnae.transports.ipfs.removing import Removal, Unwanted
from learnae.transports.ipfs.rpc import Refused, Rpc, TooSlow, Unreachable
from learnae.transports.seam import MAX_NODE_NBYTES, Buffer

__all__ = ["IpfsStore"]

log = logging.getLogger("learnae.transports.ipfs")

# ipfshttpclient says this to urllib3 with every request; nobody here can do anything about it.
warnings.filterwarnings("ignore", message="The 'strict' parameter", category=FutureWarning)

#: A fetch of which nothing comes for so long is given up: its peer may have something newer by
#: now. The daemon gives nothing of a chunk of 1 MiB before it has all of it.
SILENCE_S = 15.0
#: Once within that time it is asked for again: a question that a daemon has lost, or whose answer
#: was removed meanwhile, is repeated by Kubo itself only after a minute.
_ASK_AGAIN_S = 5.0
_PUT_S = 120.0
_SMALL_S = 15.0
_GC_EVERY_S = 600.0
_ADD = {
    "cid-version": "1",
    "raw-leaves": "true",
    "chunker": f"size-{CHUNK_NBYTES}",
    "max-file-links": str(N_LINKS),
    "pin": "true",
    "progress": "false",
}


_EMPTY = cid_of(b"")


class IpfsStore:
    """Store and nodes of one named peer on one daemon.

    Parameters
    ----------
    rpc
        The daemon.
    name
        The peer's, 1 to 100 of ``A-Z a-z 0-9 . _ -``.
    wake
        Called when `tick` has something to do.

    Raises
    ------
    UsageError
        ipfshttpclient is not installed.
    TransportError
        The daemon does not answer.
    """

    def __init__(self, rpc: Rpc, name: str, wake: Callable[[], None]) -> None:
        self._rpc, self._wake = rpc, wake
        self._prefix = f"learnae/{name}/"
        self._lock = threading.Lock()
        self._counter = 0
        self._fetched = Fetched()
        self._removal = Removal(rpc, self._prefix)
        self._unwanted: dict[bytes, Unwanted] = {}
        self._litter = rpc.repo is not None
        self._last_gc = -_GC_EVERY_S
        # With their blocks; of what an earlier process has put only the daemon knows them.
        self._owned: OrderedDict[bytes, tuple[bytes, ...]] = OrderedDict.fromkeys(
            self._pinned(), ()
        )

    # -- objects -------------------------------------------------------------------------

    def put(self, data: Buffer) -> bytes:
        """Add and pin an object; see `learnae.transports.seam.Store.put`."""
        with self._lock:
            self._counter = max(self._counter + 1, time.time_ns())
            pin_name = f"{self._prefix}{self._counter:016x}"
        try:
            blocks = self._add(data, pin_name)
        except Refused as error:
            if "no space left" not in str(error) and "quota" not in str(error):
                raise
            blocks = self._add_after_collecting(data, pin_name)
        cid = blocks[-1]
        with self._lock:
            self._owned[cid] = tuple(blocks)
            self._owned.move_to_end(cid)
            self._fetched.forget(cid)
            self._unwanted.pop(cid, None)
        return cid

    def get(self, cid: bytes, max_nbytes: int, deadline_s: float) -> memoryview:
        """Stream and verify an object; see `learnae.transports.seam.Store.get`."""
        _text(cid)
        if cid == _EMPTY:
            return memoryview(b"")  # Kubo does not send blocks without bytes; nor need it
        deadline = time.monotonic() + deadline_s
        with self._lock:
            blocks = self._fetched.begin(cid)
            self._unwanted.pop(cid, None)
        self._make_room(deadline_s)
        data = None
        try:
            data = self._read_twice(blocks, max_nbytes, deadline)
        except TransportError:
            self._litter = True
            self._throw_away(cid)  # what came of it, or comes too late
            raise
        finally:
            with self._lock:
                own = cid in self._owned
                self._fetched.end(blocks, None if data is None or own else len(data))
        return data

    def _read_twice(self, blocks: list[bytes], max_nbytes: int, deadline: float) -> memoryview:
        """Ask for an object, and once more if nothing comes."""
        try:
            return self._read(blocks, max_nbytes, deadline, _ASK_AGAIN_S)
        except NotFound:
            if time.monotonic() >= deadline:
                raise
        return self._read(blocks, max_nbytes, deadline, SILENCE_S - _ASK_AGAIN_S)

    def _read(
        self, blocks: list[bytes], max_nbytes: int, deadline: float, silence_s: float
    ) -> memoryview:
        """Ask the daemon for an object once, verify it, and add its blocks to its own."""
        cid, deadline_s = blocks[0], deadline - time.monotonic()
        text = cid_text(cid)
        n_read = 0
        try:
            with self._rpc.ask(
                "cat", text, deadline_s=deadline_s, silence_s=silence_s, plain=True
            ) as answer:
                n = answer.length
                if n is not None and n > max_nbytes:
                    raise WrongObject(
                        f"{text} holds {n} bytes, more than the {max_nbytes} accepted"
                    )
                data = bytearray(max_nbytes if n is None else n)
                leaves = []
                for leaf in read_leaves(answer, data, text):
                    leaves.append(leaf)
                    blocks.append(leaf.cid)
                    n_read += leaf.file_nbytes
        except TransportError as error:
            if n_read == 0 and _is_absence(error):
                raise _nobody(text, min(deadline_s, SILENCE_S)) from None
            raise
        if n is not None and n_read < n:
            raise TransportError(f"{text}: only {n_read} of {n} bytes came")
        *below, root = blocks_of(leaves)
        if root != cid:
            raise WrongObject(f"{text}: the IPFS daemon gave bytes that the name does not fit")
        blocks[1:] = below
        return memoryview(data)[:n_read].toreadonly()

    def drop(self, cid: bytes) -> None:
        """Unpin and remove an object; see `learnae.transports.seam.Store.drop`."""
        _text(cid)
        with self._lock:
            known = cid in self._owned or cid in self._fetched
            blocks = self._owned.pop(cid, ())
            self._fetched.forget(cid)
        if known:
            self._remove([Unwanted(cid, blocks)])

    def owned(self) -> list[bytes]:
        """List what this peer has put; see `learnae.transports.seam.Transport.owned`."""
        with self._lock:
            return list(self._owned)

    # -- nodes ---------------------------------------------------------------------------

    def put_node(self, data: bytes) -> bytes:
        """Store a DAG-CBOR node; see `learnae.transports.seam.Nodes.put_node`.

        The pin holds the node alone: what it links to is pinned, or dropped, for itself.
        """
        if len(data) > MAX_NODE_NBYTES:
            raise ValueError(f"a node of {len(data)} bytes: at most {MAX_NODE_NBYTES}")
        cid = node_cid(data)
        try:
            self._put_node(data, cid)
        except Refused:  # collected between storing and pinning
            self._put_node(data, cid)
        return cid

    def _put_node(self, data: bytes, cid: bytes) -> None:
        options = {"cid-codec": "dag-cbor", "mhtype": "sha2-256"}
        stored = self._rpc.call("block/put", deadline_s=_SMALL_S, body=data, options=options)
        if not stored or stored[0].get("Key") != cid_text(cid):
            raise TransportError(f"the IPFS daemon at {self._rpc.where} misnamed a node")
        options = {"recursive": "false", "name": f"{self._prefix}node", "offline": "true"}
        self._rpc.call("pin/add", cid_text(cid), deadline_s=_SMALL_S, options=options)

    def get_node(self, cid: bytes, deadline_s: float) -> bytes:
        """Fetch a node; see `learnae.transports.seam.Nodes.get_node`."""
        text = _text(cid)
        try:
            with self._rpc.ask("block/get", text, deadline_s=deadline_s) as answer:
                data = answer.read_all(MAX_NODE_NBYTES)
        except TransportError as error:
            if _is_absence(error):
                raise _nobody(text, deadline_s) from None
            raise
        if node_cid(data) != cid:
            raise TransportError(f"{text}: the IPFS daemon gave bytes that the name does not fit")
        return data

    def drop_node(self, cid: bytes) -> None:
        """Unpin and remove a node; see `learnae.transports.seam.Nodes.drop_node`."""
        _text(cid)
        self._remove([Unwanted(cid)])

    # -- keeping the repo small ----------------------------------------------------------

    def tick(self) -> None:
        """Remove what is no longer wanted."""
        self._make_room(_SMALL_S)
        with self._lock:
            unwanted = list(self._unwanted.values())
            self._unwanted.clear()
        self._remove(unwanted)
        # Pieces of objects that never came whole have no name here: only the daemon knows them.
        if self._litter and self._rpc.repo and time.monotonic() - self._last_gc > _GC_EVERY_S:
            self._litter, self._last_gc = False, time.monotonic()
            with contextlib.suppress(TransportError):
                self._collect()

    def _throw_away(self, cid: bytes) -> None:
        with self._lock:
            if cid not in self._owned and cid not in self._fetched:
                self._unwanted[cid] = Unwanted(cid, pinned=False)
        self._wake()

    def _make_room(self, limit_s: float) -> None:
        """Remove the fetched objects for which there is no room, within `limit_s` seconds."""
        with self._lock:
            surplus = self._fetched.take_surplus()
        self._remove(
            [Unwanted(blocks[0], tuple(blocks), pinned=False) for blocks in surplus], limit_s
        )

    def _remove(self, unwanted: list[Unwanted], limit_s: float = _SMALL_S) -> None:
        """Remove objects, or note them for when the daemon is back."""
        with self._lock:
            needed = self._fetched.needed()
            unwanted = [
                item for item in unwanted if item.cid not in needed and item.cid not in self._owned
            ]
        try:
            self._removal.remove(unwanted, needed, min(limit_s, _SMALL_S))
        except Refused as error:
            log.debug("remove: %s", error)
        except TransportError as error:
            log.debug("remove later: %s", error)
            with self._lock:
                self._unwanted.update((item.cid, item) for item in unwanted)

    def _add_after_collecting(self, data: Buffer, pin_name: str) -> list[bytes]:
        cure = "free space on its disk, or move its repo to a larger one"
        try:
            self._collect()
            return self._add(data, pin_name)
        except TransportError as error:
            raise TransportError(
                f"the repo of the IPFS daemon at {self._rpc.where} is full: {cure} ({error})"
            ) from error

    # -- the daemon ----------------------------------------------------------------------

    def _add(self, data: Buffer, pin_name: str) -> list[bytes]:
        """Stream an object to the daemon, and return its blocks, named on the way."""
        options = {**_ADD, "pin-name": pin_name}
        leaves: list[Subtree] = []

        def watch(piece: memoryview) -> None:
            leaves.append(leaf_of(piece))  # while the daemon works at it too

        found = self._rpc.call("add", deadline_s=_PUT_S, body=data, options=options, watch=watch)
        stored = str(found[-1].get("Hash")) if found else "nothing"
        blocks = blocks_of(leaves)
        if stored != cid_text(blocks[-1]):
            raise TransportError(
                f"the IPFS daemon at {self._rpc.where} stored {cid_text(blocks[-1])} as "
                f"{stored[:80]}"
            )
        return blocks

    def _collect(self) -> None:
        with self._client(_PUT_S) as client:
            client.repo.gc(quiet=True)

    def _pinned(self) -> Iterator[bytes]:
        """Yield the objects that are pinned under this peer's name, oldest first."""
        with self._client() as client:
            pins = client.pin.ls(type="recursive", opts={"names": "true"}).get("Keys") or {}
        named = []
        for text, pin in pins.items():
            name = str(pin.get("Name", ""))
            if name.startswith(self._prefix):
                with contextlib.suppress(ValueError):
                    named.append((int(name[len(self._prefix) :], 16), cid_from_text(text)))
        for counter, cid in sorted(named):
            self._counter = counter
            yield cid

    @contextlib.contextmanager
    def _client(self, timeout_s: float = _SMALL_S) -> Iterator[Any]:
        """Give an ipfshttpclient for the daemon as it is now, and translate what it raises."""
        try:
            import ipfshttpclient
        except ImportError as error:
            raise UsageError(
                "the ipfs transport needs ipfshttpclient: pip install 'learnae[ipfs]'"
            ) from error
        where = self._rpc.where
        try:
            # Its connect() refuses all daemons newer than itself; the class does not ask.
            with ipfshttpclient.Client(self._rpc.api(), timeout=timeout_s) as client:
                yield client
        except ipfshttpclient.exceptions.TimeoutError:
            raise TooSlow(f"{where}: no answer within {timeout_s:g} s") from None
        except ipfshttpclient.exceptions.ErrorResponse as error:
            raise Refused(" ".join(str(error).split())[:300]) from error
        except (ipfshttpclient.exceptions.Error, OSError) as error:
            raise Unreachable(
                f"{where}: no IPFS daemon answers; start it with `learnae ipfs up` "
                f"({type(error).__name__})"
            ) from error


def _text(cid: bytes) -> str:
    if not is_cid(cid):
        raise ValueError(f"{cid[:40].hex()} is not a CID: see learnae.transports.cid")
    return cid_text(cid)


def _nobody(text: str, seconds: float) -> NotFound:
    return NotFound(f"{text}: nobody within reach gave it within {seconds:g} s")


def _is_absence(error: TransportError) -> bool:
    """Whether a failure to begin means that nobody has the object."""
    words = ("deadline exceeded", "not found", "could not find", "not have")
    return isinstance(error, TooSlow) or (
        isinstance(error, Refused) and any(word in str(error) for word in words)
    )

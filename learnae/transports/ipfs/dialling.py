"""Staying connected to the peers that announced where they are.

Kubo in a private network without routing finds nobody by itself. What peers announce of their
addresses is dialled here, one after another, in a thread of its own, and again whenever the
connection is found missing. Announced addresses may be anything: only plain TCP addresses with a
peer id are dialled, few for each peer, and of a bounded number of peers.
"""

from __future__ import annotations

import contextlib
import json
import logging
import os
import re
import threading
import time
from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass

from learnae.errors import TransportError
from learnae.transports.ipfs.rpc import Rpc

__all__ = ["Dialler", "is_dialable", "is_loopback"]

log = logging.getLogger("learnae.transports.ipfs")

_ADDRESS = re.compile(
    r"/(ip4|ip6|dns4|dns6|dns)/([0-9A-Za-z.:_-]{1,100})/tcp/(\d{1,5})"
    r"/p2p/([1-9A-HJ-NP-Za-km-z]{30,70})"
)
_PEERS = 128
_PER_PEER = 4
_LOOK_EVERY_S = 5.0
_DIAL_S = 5.0
_BACKOFF_S = (1.0, 10.0)
BOOK = "learnae-peers.json"


def is_dialable(address: str) -> bool:
    """Whether `address` is a plain TCP address with a peer id."""
    return _ADDRESS.fullmatch(address) is not None


def is_loopback(address: str) -> bool:
    """Whether `address` is on this machine only."""
    match = re.match(r"/(ip4|ip6)/([^/]+)/", address)
    return match is not None and (match[2].startswith("127.") or match[2] == "::1")


@dataclass(slots=True)
class _Entry:
    addresses: tuple[str, ...]
    due: float = 0.0
    backoff_s: float = _BACKOFF_S[0]


class Dialler:
    """A bounded book of addresses, and the thread that dials them.

    Parameters
    ----------
    rpc
        The daemon that dials. If it was named by its repo, the book is kept there in a file.
    """

    def __init__(self, rpc: Rpc) -> None:
        self._rpc = rpc
        self._book: OrderedDict[str, _Entry] = OrderedDict()
        self._own = ""
        self._only_loopback = False
        self._lock = threading.Lock()
        self._wake = threading.Event()
        self._closed = False
        self._path = None if rpc.repo is None else os.path.join(rpc.repo, BOOK)
        self._load()
        self._thread = threading.Thread(target=self._run, name="learnae-dial", daemon=True)
        self._thread.start()

    def reach(self, addresses: Sequence[str]) -> None:
        """See `learnae.transports.seam.Reaching.reach`."""
        by_peer: dict[str, list[str]] = {}
        for address in addresses[:32]:
            match = _ADDRESS.fullmatch(address)
            if match is not None:
                by_peer.setdefault(match[4], []).append(address)
        new = False
        with self._lock:
            for peer, some in by_peer.items():
                new |= self._enter(peer, tuple(dict.fromkeys(some))[:_PER_PEER])
        if new:
            self._wake.set()

    def close(self) -> None:
        """Stop dialling."""
        self._closed = True
        self._wake.set()

    def join(self) -> None:
        """Wait until the thread has ended, after `close`."""
        self._thread.join(5.0)

    def _enter(self, peer: str, addresses: tuple[str, ...]) -> bool:
        entry = self._book.get(peer)
        if entry is not None and entry.addresses == addresses:
            self._book.move_to_end(peer)
            return False
        self._book[peer] = _Entry(addresses)
        self._book.move_to_end(peer)
        while len(self._book) > _PEERS:
            self._book.popitem(last=False)
        return True

    def _run(self) -> None:
        while not self._closed:
            with contextlib.suppress(TransportError):
                self._look()
            self._wake.wait(_LOOK_EVERY_S)
            self._wake.clear()

    def _look(self) -> None:
        """Dial everybody who is not connected and whose turn it is."""
        self._know_oneself()
        peers = self._rpc.call("swarm/peers", deadline_s=_DIAL_S)[0].get("Peers") or []
        connected = {peer.get("Peer") for peer in peers}
        changed = False
        with self._lock:
            todo = list(reversed(self._book.items()))  # the newest first
        for peer, entry in todo:
            if self._closed:
                return
            if peer == self._own or peer in connected or time.monotonic() < entry.due:
                continue
            if self._dial(entry):
                changed = True
                log.info("connected to the daemon %s", peer)
        if changed:
            self._save()

    def _know_oneself(self) -> None:
        if not self._own:
            facts = self._rpc.call("id", deadline_s=_DIAL_S)[0]
            addresses = facts.get("Addresses") or []
            self._own = str(facts.get("ID"))
            # Who listens on loopback only is meant to stay there, whatever others announce.
            self._only_loopback = bool(addresses) and all(map(is_loopback, addresses))

    def _dial(self, entry: _Entry) -> bool:
        for address in entry.addresses:
            if self._only_loopback and not is_loopback(address):
                continue
            with contextlib.suppress(TransportError):
                timeout = {"timeout": f"{_DIAL_S:g}s"}
                self._rpc.call("swarm/connect", address, deadline_s=_DIAL_S + 1, options=timeout)
                entry.due, entry.backoff_s = 0.0, _BACKOFF_S[0]
                return True
        entry.due = time.monotonic() + entry.backoff_s
        entry.backoff_s = min(2 * entry.backoff_s, _BACKOFF_S[1])
        return False

    def _load(self) -> None:
        if self._path is None:
            return
        with contextlib.suppress(OSError, ValueError, TypeError, AttributeError):
            with open(self._path, encoding="utf-8") as file:
                book = json.loads(file.read(1 << 20))
            for addresses in book.values():
                self._enter_saved([str(address) for address in addresses])

    def _enter_saved(self, addresses: list[str]) -> None:
        for address in addresses[:_PER_PEER]:
            match = _ADDRESS.fullmatch(address)
            if match is not None:
                self._enter(match[4], tuple(a for a in addresses[:_PER_PEER] if is_dialable(a)))
                return

    def _save(self) -> None:
        """Write the book; losing it costs no more than waiting to be dialled."""
        if self._path is None:
            return
        with self._lock:
            book = {peer: list(entry.addresses) for peer, entry in self._book.items()}
        with contextlib.suppress(OSError):
            partial = f"{self._path}.{os.getpid()}"
            with open(partial, "w", encoding="utf-8") as file:
                json.dump(book, file)
            os.replace(partial, self._path)

"""Staying connected to the peers that announced where they are.

Kubo in a private network without routing finds nobody by itself. What peers announce of their
addresses is dialled here, one after another, in a thread of its own, and again whenever the
connection is found missing. Announced addresses may be anything: only plain TCP addresses with a
peer id are dialled, few for each peer, and of a bounded number of peers. Nobody vouches for them
either: any member can invent daemons, and can lie about another's address. So a daemon that was
once connected is not pushed out of the book by those that never were, nor do these take more than
every second turn; and the address that worked is tried beside what was announced since.
"""

from __future__ import annotations

import contextlib
import itertools
import json
import logging
import os
import re
import threading
import time
from collections import OrderedDict
from collections.abc import Container, Sequence
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
_PAUSE_S = 0.05
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
    good: tuple[str, ...] = ()  # the one at which it was connected last
    met: bool = False
    due: float = 0.0
    backoff_s: float = _BACKOFF_S[0]


class Dialler:
    """A bounded book of addresses, and the thread that dials them.

    Parameters
    ----------
    rpc
        The daemon that dials. If it was named by its repo, the book is kept there in a file.
    barred
        The daemons that are not dialled.
    """

    def __init__(self, rpc: Rpc, barred: Container[str] = ()) -> None:
        self._rpc, self._barred = rpc, barred
        self._book: OrderedDict[str, _Entry] = OrderedDict()
        self._own = ""
        self._only_loopback = False
        self._lock = threading.Lock()
        self._wake = threading.Event()
        self._closing = threading.Event()
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

    def places(self) -> list[tuple[str, str]]:
        """Return the daemons in the book, each with an address of its; several times if it has."""
        with self._lock:
            return [(peer, a) for peer, entry in self._book.items() for a in entry.addresses]

    def close(self) -> None:
        """Stop dialling."""
        self._closing.set()
        self._wake.set()

    def join(self) -> None:
        """Wait until the thread has ended, after `close`."""
        self._thread.join(5.0)

    def _enter(self, peer: str, addresses: tuple[str, ...]) -> bool:
        entry = self._book.setdefault(peer, _Entry((), due=time.monotonic()))
        self._book.move_to_end(peer)
        if entry.addresses == addresses:
            return False
        entry.addresses = addresses
        entry.due = min(entry.due, time.monotonic() + _BACKOFF_S[0])
        if len(self._book) > _PEERS:
            others = (name for name, e in self._book.items() if name != peer and not e.met)
            del self._book[next(others, next(iter(self._book)))]
        return True

    def _run(self) -> None:
        while not self._closing.is_set():
            with contextlib.suppress(TransportError):
                self._look()
            self._wake.wait(_LOOK_EVERY_S)
            self._wake.clear()
            self._closing.wait(_PAUSE_S)

    def _look(self) -> None:
        """Dial everybody who is not connected and whose turn it is."""
        self._know_oneself()
        for turn in itertools.count():
            peer = self._next(self._connected(), turn % 2 == 0)
            if peer is None or self._closing.wait(_PAUSE_S):
                return
            with self._lock:
                entry = self._book.get(peer)
            if entry is not None and self._dial(entry):
                log.info("connected to the daemon %s", peer)
                self._save()

    def _connected(self) -> set[str]:
        """Ask who is connected, and note in the book who was met, and where."""
        peers = self._rpc.call("swarm/peers", deadline_s=_DIAL_S)[0].get("Peers") or []
        places = {str(peer.get("Peer")): str(peer.get("Addr")) for peer in peers}
        with self._lock:
            for peer, entry in self._book.items():
                if peer in places:
                    entry.met = True
                    address = f"{places[peer]}/p2p/{peer}"
                    if address in entry.addresses:  # else it is they who dialled
                        entry.good = (address,)
        return set(places)

    def _next(self, connected: set[str], met: bool) -> str | None:
        """Choose whom to dial: who waits longest of those `met`, or not; else of the others."""
        now = time.monotonic()
        with self._lock:
            due = [
                (entry.met is not met, entry.due, peer)
                for peer, entry in self._book.items()
                if peer != self._own
                and peer not in connected
                and peer not in self._barred
                and entry.due <= now
            ]
        return min(due)[2] if due else None

    def _know_oneself(self) -> None:
        if not self._own:
            facts = self._rpc.call("id", deadline_s=_DIAL_S)[0]
            addresses = facts.get("Addresses") or []
            self._own = str(facts.get("ID"))
            # Who listens on loopback only is meant to stay there, whatever others announce.
            self._only_loopback = bool(addresses) and all(map(is_loopback, addresses))

    def _dial(self, entry: _Entry) -> bool:
        addresses = [
            address
            for address in dict.fromkeys(entry.addresses + entry.good)
            if not self._only_loopback or is_loopback(address)
        ]
        timeout = {"timeout": f"{_DIAL_S:g}s"}
        with contextlib.suppress(TransportError):
            if addresses:  # the daemon tries all of them at the same time
                self._rpc.call("swarm/connect", *addresses, deadline_s=_DIAL_S + 1, options=timeout)
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

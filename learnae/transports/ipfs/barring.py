"""Keeping out daemons that flood, for a while.

Kubo verifies, stores and forwards every message before anybody here hears of it, and knows no
limit. So a daemon that floods is disconnected, again whenever it is back, and where its address
is its alone ours is told to let nobody in from there. Who has signed a message Kubo has verified,
and an address is that of a connection which is there: nobody can make up a flood of another's.
(Hundreds of real messages, recorded and played at once to somebody who never heard that daemon,
look like one.) Whoever is shut out by mistake, or behind a router that it shares with a flooder, is
back after ten minutes.

Kubo keeps its filters in its configuration, where they outlive all of us. So each is noted in the
repo first, and taken back by whichever peer of the daemon finds it to be old.
"""

from __future__ import annotations

import contextlib
import ipaddress
import logging
import math
import re
import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Iterable
from pathlib import Path

from learnae.transports.ipfs.rpc import Refused, Rpc

__all__ = ["BAR_S", "Bars"]

log = logging.getLogger("learnae.transports.ipfs")

#: How long a daemon is kept out.
BAR_S = 600.0
FOLDER = "learnae-barred"
_LOOK_EVERY_S = 2.0
_AGAIN_S = 0.25  # between two disconnections
_SWEEP_EVERY_S = 30.0
_RPC_S = 5.0
_MAX_BARRED = 256
_PLACE = re.compile(r"/ip[46]/([0-9a-fA-F.:]{2,45})/tcp/\d{1,5}(/p2p/\w{1,100})?")

_Ip = ipaddress.IPv4Address | ipaddress.IPv6Address


class Bars:
    """The daemons that one transport keeps out.

    Parameters
    ----------
    rpc
        Our daemon. It is given filters only if it was named by its repo.
    places
        Returns the daemons that are known, each with an address that was announced for it.
    wake
        Called when `tick` has something to do.
    """

    def __init__(
        self,
        rpc: Rpc,
        places: Callable[[], Iterable[tuple[str, str]]],
        wake: Callable[[], None],
    ) -> None:
        self._rpc, self._places, self._wake = rpc, places, wake
        self._folder = None if rpc.repo is None else Path(rpc.repo) / FOLDER
        self._lock = threading.Lock()
        self._until: OrderedDict[str, float] = OrderedDict()
        self._own = ""
        self._look_due = math.inf
        self._looked = -math.inf
        self._sweep_due = math.inf if self._folder is None else -math.inf

    def __contains__(self, peer: object) -> bool:
        return peer in self._until

    def bar(self, peer: str, now: float) -> None:
        """Keep a daemon out from now on or, if it is barred already, see that it goes."""
        with self._lock:
            if peer == self._own:
                return  # somebody who shares our daemon: the others will shut all of us out
            if peer not in self._until:
                self._until[peer] = now + BAR_S
                log.warning("%s floods: its daemon is kept out for %g minutes", peer, BAR_S / 60)
                if len(self._until) > _MAX_BARRED:
                    self._until.popitem(last=False)
            due = max(now, self._looked + _AGAIN_S)
            wake, self._look_due = due < self._look_due, min(due, self._look_due)
        if wake:
            self._wake()

    def tick(self, now: float) -> float:
        """Disconnect who is barred, let in again whose time is over; return when to call next.

        Raises
        ------
        TransportError
            The daemon does not answer.
        """
        if now >= self._sweep_due:
            self._sweep_due = now + _SWEEP_EVERY_S
            self._take_back(time.time())
        barred: set[str] = set()
        with self._lock:
            for peer in [peer for peer, until in self._until.items() if until <= now]:
                del self._until[peer]
            if now >= self._look_due:
                barred = set(self._until)
                self._looked, self._look_due = now, now + _LOOK_EVERY_S if barred else math.inf
        if barred:
            self._disconnect(barred)
        return min(self._look_due, self._sweep_due)

    def _disconnect(self, barred: set[str]) -> None:
        """Disconnect those of `barred` who are connected, and filter where they came from."""
        if not self._own:
            self._own = str(self._rpc.call("id", deadline_s=_RPC_S)[0].get("ID"))
            with self._lock:
                self._until.pop(self._own, None)
        found = self._rpc.call("swarm/peers", deadline_s=_RPC_S)[0].get("Peers") or []
        connected = [(str(entry.get("Peer")), str(entry.get("Addr"))) for entry in found]
        for peer in {peer for peer, _ in connected} & barred:
            with contextlib.suppress(Refused):  # it has gone by itself
                self._rpc.call("swarm/disconnect", f"/p2p/{peer}", deadline_s=_RPC_S)
        for peer, address in connected:
            if peer in barred:
                with contextlib.suppress(Refused):  # a configuration that may not be written
                    self._filter(address, barred, [*connected, *self._places()])

    def _filter(self, address: str, barred: set[str], places: Iterable[tuple[str, str]]) -> None:
        """Let nobody in from a barred daemon's address, if nobody else lives there."""
        place = _ip_of(address)
        if self._folder is None or place is None or place.is_loopback:
            return
        if any(_ip_of(other) == place for peer, other in places if peer not in barred):
            return
        note, rule = self._folder / str(place), _rule(place)
        there = self._rpc.call("swarm/filters", deadline_s=_RPC_S)[0].get("Strings") or []
        if rule in there and not note.exists():
            return  # the user's own
        with contextlib.suppress(OSError):  # what cannot be noted would stay for ever
            self._folder.mkdir(exist_ok=True)
            note.touch()
            try:
                self._rpc.call("swarm/filters/add", rule, deadline_s=_RPC_S)
            except Refused:
                note.unlink()
                raise

    def _take_back(self, now: float) -> None:
        """Remove the filters that are old, whichever of this daemon's peers has set them."""
        assert self._folder is not None
        notes: list[Path] = []
        with contextlib.suppress(OSError):
            notes += self._folder.iterdir()
        for note in notes:
            with contextlib.suppress(OSError):  # another peer of the daemon was faster
                if 0 <= now - note.stat().st_mtime < BAR_S:
                    continue
                with contextlib.suppress(ValueError, Refused):  # no note of ours; not there
                    place = ipaddress.ip_address(note.name)
                    self._rpc.call("swarm/filters/rm", _rule(place), deadline_s=_RPC_S)
                note.unlink()


def _ip_of(address: str) -> _Ip | None:
    match = _PLACE.fullmatch(address)  # not so the address of who relays for it
    with contextlib.suppress(ValueError):
        return None if match is None else ipaddress.ip_address(match[1])
    return None


def _rule(place: _Ip) -> str:
    return f"/ip{place.version}/{place}/ipcidr/{place.max_prefixlen}"

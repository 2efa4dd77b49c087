"""Why does my peer not work? One part after the other is looked at, the cause named, and the cure.

Nothing is changed by looking: no key is made, no peer announced, and what the payload's round
trip stores is dropped again. A part that stands on a broken one is left out, so that the first
fault in the list is the one to mend.
"""

from __future__ import annotations

import os
import shutil
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from functools import partial
from importlib.metadata import version
from pathlib import Path

from learnae import kernels
from learnae.errors import CharterError, LearnaeError, NotFound, TransportError
from learnae.node.chains import largest_payload_nbytes
from learnae.node.clock import require_possible_clock, suspicion
from learnae.node.daemoncheck import look_at_daemon
from learnae.node.finding import Finding, Verdict
from learnae.node.home import read_identity
from learnae.node.join import read_charter
from learnae.payload import Schema
from learnae.swarm import Announcement, Charter, Identity, Kind, Peer, short
from learnae.swarm.events import ClockSuspect, Heard, Ignored
from learnae.transports import Transport
from learnae.transports.atomic import explain, probe
from learnae.wording import count

__all__ = ["Doctor"]

POLL_S = 0.05
FETCH_S = 20.0
#: Of the round trip's object: two chunks, so that also the tree above them is made and read.
TRIP_NBYTES = (1 << 20) + 1000
#: Below this a disk counts as full, whatever the model's size.
LEAST_FREE_NBYTES = 64 << 20


@dataclass
class Doctor:
    """Looks at one peer of one swarm; `examine` yields what it finds, as it finds it.

    Attributes
    ----------
    charter_path, home
        Of the peer. The home need not exist yet.
    address
        Of the peer's transport, such as ``ipfs:REPO``, for a charter.
    open_transport
        Opens the transport at an address, as nobody in particular.
    listen_s
        How long to listen for other peers, in seconds.
    public
        Whether an IPFS daemon in the public network is accepted.
    """

    charter_path: Path
    home: Path | None
    address: Callable[[Charter], str]
    open_transport: Callable[[Charter, str], AbstractContextManager[Transport]]
    listen_s: float = 5.0
    public: bool = False
    _charter: Charter | None = field(default=None, init=False)
    _schema: Schema | None = field(default=None, init=False)
    _own_id: str = field(default="", init=False)

    def examine(self) -> Iterator[Finding]:
        """Yield one finding for each part, in the order in which they stand on each other."""
        yield self._try("installation", self._installation)
        finding = self._try("charter", self._read_charter)
        yield finding
        charter = self._charter
        if finding.verdict is Verdict.FAULT or charter is None:
            return
        yield self._try("model", lambda: self._model(charter))
        yield self._try("key", lambda: self._key(charter))
        yield self._try("clock", self._clock)
        yield self._try("disk", lambda: self._disk(charter))
        yield from self._network(charter)

    @staticmethod
    def _try(part: str, look: Callable[[], Finding | str]) -> Finding:
        """Return what `look` found; the errors that users may see are findings too."""
        try:
            found = look()
        except LearnaeError as error:
            return Finding(part, Verdict.FAULT, str(error))
        except OSError as error:
            where = os.fspath(error.filename or "a file")
            return Finding(part, Verdict.FAULT, explain(error, "use", where))
        return found if isinstance(found, Finding) else Finding(part, Verdict.GOOD, found)

    # -- this machine ------------------------------------------------------------------

    @staticmethod
    def _installation() -> str:
        return f"learnae {version('learnae')}, kernels {kernels.backend()} ({kernels.isa()})"

    def _read_charter(self) -> str:
        self._charter = charter = read_charter(self.charter_path)
        return f"{charter.name!r}, swarm {charter.swarm_id.hex()[:8]}"

    def _model(self, charter: Charter) -> str:
        from learnae.node.trainer import charter_model

        model = charter_model(charter, self.charter_path.parent)
        self._schema = Schema.of(model.init(charter.seed))
        parameters = count(self._schema.n_elements, "parameter")
        return f"{parameters}, {self._payload_nbytes(charter):,} bytes"

    def _payload_nbytes(self, charter: Charter) -> int:
        assert self._schema is not None
        return largest_payload_nbytes(charter, self._schema)

    @property
    def _peer_home(self) -> Path:
        assert self._charter is not None
        if self.home is not None:
            return self.home
        from learnae.node.join import default_home

        return default_home(self._charter)

    def _key(self, charter: Charter) -> Finding | str:
        home = self._peer_home
        if home.exists() and not home.is_dir():
            raise CharterError(f"{home} is not a folder: name the peer's folder (--home)")
        identity = read_identity(home)
        if identity is None:
            return Finding("key", Verdict.NOTE, f"none in {home} yet; joining makes one")
        self._own_id = identity.peer_id
        owner = home / "swarm"
        there = owner.read_text("ascii", "replace").strip() if owner.exists() else ""
        if there and there != charter.swarm_id.hex():
            raise CharterError(
                f"{home} belongs to a peer of swarm {there[:8]}, and this charter is swarm "
                f"{charter.swarm_id.hex()[:8]}: use another folder (--home), or the charter as it "
                "was"
            )
        if charter.members and identity.peer_id not in charter.members:
            raise CharterError(
                f"this peer ({identity.peer_id}) is not a member of the swarm: the others will "
                "ignore it; ask for a charter that names it, or join with the key that is named"
            )
        return f"peer {short(identity.peer_id)} in {home}"

    @staticmethod
    def _clock() -> str:
        now = time.time()
        require_possible_clock(now)
        return time.strftime("%Y-%m-%d %H:%M:%S UTC", time.gmtime(now))

    def _disk(self, charter: Charter) -> Finding | str:
        folder = self._peer_home
        while not folder.exists():
            folder = folder.parent
        probe(os.fspath(folder))
        free = shutil.disk_usage(folder).free
        needed = LEAST_FREE_NBYTES
        if self._schema is not None:
            # Own payloads, those of others on their way, and two checkpoints.
            needed = max(needed, (3 * charter.gossip.n_kept + 4) * self._payload_nbytes(charter))
        line = f"{free >> 20:,} MiB free below {folder}"
        if free >= needed:
            return line
        return Finding(
            "disk",
            Verdict.FAULT,
            f"only {line}, and this swarm needs {needed >> 20:,}: free some space, or use "
            "another folder (--home)",
        )

    # -- the others --------------------------------------------------------------------

    def _network(self, charter: Charter) -> Iterator[Finding]:
        address = self.address(charter)
        if address.startswith("ipfs:"):
            daemon = self._try(
                "daemon",
                lambda: look_at_daemon(self.charter_path, charter, address, public=self.public),
            )
            yield daemon
            if daemon.verdict is Verdict.FAULT:
                return
        try:
            with self.open_transport(charter, address) as transport:
                yield Finding("transport", Verdict.GOOD, _addresses(transport))
                trip = self._try("round trip", lambda: _round_trip(transport))
                yield trip
                if trip.verdict is not Verdict.FAULT and self._schema is not None:
                    yield from self._others(charter, self._schema, transport)
        except LearnaeError as error:
            yield Finding("transport", Verdict.FAULT, str(error))

    def _others(self, charter: Charter, schema: Schema, transport: Transport) -> Iterator[Finding]:
        """Listen as a peer would, under a key that nobody has ever seen."""
        peer = Peer(charter, Identity.generate(), schema.digest)
        newest: dict[str, Announcement] = {}
        ignored: dict[str, int] = {}
        suspect: ClockSuspect | None = None
        end = time.monotonic() + self.listen_s
        subscription = transport.subscribe(charter.topic)
        try:
            while True:
                for data in subscription.take():
                    for event in peer.receive(data, time.time()):
                        match event:
                            case Heard(announcement):
                                newest[announcement.peer_id] = announcement
                            case Ignored(reason):
                                ignored[reason] = ignored.get(reason, 0) + 1
                            case ClockSuspect():
                                suspect = event
                            case _:
                                pass
                if time.monotonic() >= end:
                    break
                time.sleep(POLL_S)
        except TransportError as error:
            yield Finding("others", Verdict.FAULT, str(error))
            return
        finally:
            subscription.close()
        if suspect is not None:
            yield Finding("others' clocks", Verdict.FAULT, suspicion(suspect, time.time()))
        newest.pop(self._own_id, None)
        yield self._heard(newest, ignored)
        models = [a for a in newest.values() if a.kind == Kind.WEIGHTS and a.payload is not None]
        for announcement in models:
            yield self._try("models", partial(self._model_of, announcement, transport))

    def _heard(self, newest: dict[str, Announcement], ignored: dict[str, int]) -> Finding:
        if newest:
            names = ", ".join(sorted(map(short, newest)))
            return Finding("others", Verdict.GOOD, f"{len(newest)} heard: {names}")
        if ignored:
            what = ", ".join(f"{n} {reason}" for reason, n in ignored.items())
            return Finding(
                "others",
                Verdict.FAULT,
                f"what others said was not taken ({what}): compare charters, clocks and versions",
            )
        return Finding(
            "others",
            Verdict.NOTE,
            f"nobody else heard in {self.listen_s:g} s: if others are running, compare charter and "
            "transport with theirs, and look at the firewall",
        )

    def _model_of(self, said: Announcement, transport: Transport) -> str:
        """Fetch the model that somebody announced."""
        assert said.payload is not None and self._schema is not None
        began = time.monotonic()
        limit = kernels.payload_nbytes("f32", 2, self._schema.n_elements) + 4096
        try:
            data = transport.get(said.payload, limit, FETCH_S)
        except NotFound as error:
            where = ", ".join(said.addresses) or "no address"
            raise NotFound(
                f"{short(said.peer_id)} is heard, but its model is out of reach ({where}): "
                "open its port in the firewall there, or let it announce an address that can be "
                "reached from here"
            ) from error
        took = time.monotonic() - began
        return f"round {said.round} of {short(said.peer_id)}: {len(data):,} bytes in {took:.2f} s"


def _addresses(transport: Transport) -> str:
    """Say where the others can reach this peer."""
    addresses = transport.addresses()
    return "reachable at " + ", ".join(addresses) if addresses else "open"


def _round_trip(transport: Transport) -> str:
    """Store an object, get it back, drop it."""
    data = os.urandom(TRIP_NBYTES)
    began = time.monotonic()
    cid = transport.put(data)
    try:
        if bytes(transport.get(cid, TRIP_NBYTES, FETCH_S)) != data:
            raise TransportError("the store gave back other bytes than it was given")
    finally:
        transport.drop(cid)
    return f"{TRIP_NBYTES:,} bytes there and back in {time.monotonic() - began:.2f} s"

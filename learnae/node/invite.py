"""Making and taking invites: one string brings charter, key and addresses to another machine."""

from __future__ import annotations

import os
import time
from pathlib import Path

from learnae.errors import CharterError, IdentityError, StateError, TransportError, UsageError
from learnae.node.access import Access, open_swarm_transport
from learnae.node.places import default_repo
from learnae.node.swarmkey import find_swarm_key, key_path, write_swarm_key
from learnae.swarm import parse_charter
from learnae.swarm.charter import MAX_CHARTER_NBYTES
from learnae.swarm.invite import Invite, encode_invite
from learnae.transports.atomic import explain, replace_file
from learnae.transports.keys import kubo_swarm_key
from learnae.transports.seam import Reaching

__all__ = ["accept_invite", "make_invite"]

#: Under this name the sealed charter is stored, so that no peer takes it for its own leftovers.
STORE_NAME = "charter"
CHARTER_NAME = "swarm.toml"
TRY_S, PAUSE_S = 10.0, 0.2


def make_invite(charter: Path, transport: str, *, public: bool = False) -> str:
    """Store the sealed charter with this machine's daemon, and return an invite to the swarm.

    Parameters
    ----------
    charter
        The charter's file; the swarm's key lies beside it.
    transport
        ``ipfs:...``; the daemon runs.
    public
        Whether the daemon may be in the public network.

    Raises
    ------
    UsageError
        Charter, key or daemon are missing or will not do.
    TransportError
        The charter could not be stored.
    """
    text = _read(charter)
    swarm_id = parse_charter(text).swarm_id
    access = Access(swarm_id, find_swarm_key(charter), key_path(charter), public)
    if access.key is None:
        raise UsageError(
            f"{access.key_file}: no such file, and without the swarm's key nobody can be invited; "
            "copy it from the machine where the swarm was created"
        )
    peer = open_swarm_transport(transport, STORE_NAME, access)
    try:
        addresses = peer.addresses()
        if not addresses:
            raise UsageError(
                "the IPFS daemon listens nowhere that others could reach: start it with "
                "learnae ipfs up CHARTER --listen /ip4/0.0.0.0/tcp/4001"
            )
        return encode_invite(Invite(swarm_id, peer.put(text), access.key, addresses))
    finally:
        peer.close()


def accept_invite(
    invite: Invite,
    folder: Path,
    *,
    transport: str | None = None,
    public: bool = False,
    deadline_s: float = 60.0,
) -> Path:
    """Fetch the charter that an invite names, and write it and the swarm's key into a folder.

    Where both are there already, the network is not needed.

    Parameters
    ----------
    transport
        The daemon to use; None to make and start one for the swarm.
    public
        Whether that daemon may be in the public network.
    deadline_s
        How long to try to reach somebody who has the charter, in seconds.

    Returns
    -------
    Path
        Of the charter's file.

    Raises
    ------
    UsageError
        The folder holds something else, or there is no daemon.
    TransportError
        Nobody with the charter could be reached in time.
    """
    path = folder / CHARTER_NAME
    if not _is_there(path, invite):
        access = Access(invite.swarm_id, invite.key, public=public)
        text = _fetch(invite, transport or bring_up(invite), access, deadline_s)
        _write(path, text, invite.key)
    return path


def bring_up(invite: Invite) -> str:
    """Make and start the daemon of the swarm that an invite is for; return the transport.

    Raises
    ------
    UsageError
        There is no Kubo, or it does not start.
    """
    from learnae.node.kubo import RepoOptions, init_repo, start_daemon
    from learnae.transports.ipfs.dialling import is_dialable

    repo = default_repo(invite.swarm_id)
    init_repo(
        repo,
        RepoOptions(
            swarm_key_text=kubo_swarm_key(invite.key, invite.swarm_id),
            peers=tuple(address for address in invite.addresses if is_dialable(address)),
        ),
    )
    start_daemon(repo)
    return f"ipfs:{repo}"


def _fetch(invite: Invite, transport: str, access: Access, deadline_s: float) -> bytes:
    if not transport.startswith("ipfs:"):
        raise UsageError(
            f"an invite leads to an IPFS daemon, and {transport} is none: leave out --transport, "
            "or ask for the charter's file instead"
        )
    peer = open_swarm_transport(transport, STORE_NAME, access)
    try:
        deadline = time.monotonic() + deadline_s
        while True:
            if isinstance(peer, Reaching):
                peer.reach(invite.addresses)
            try:
                left = max(0.1, min(TRY_S, deadline - time.monotonic()))
                text = bytes(peer.get(invite.charter, MAX_CHARTER_NBYTES, left))
                break
            except TransportError as error:
                if time.monotonic() > deadline:
                    raise _unreachable(invite, error) from error
                time.sleep(PAUSE_S)
        if parse_charter(text).swarm_id != invite.swarm_id:
            raise CharterError("the invite's charter is another swarm's: ask for a new invite")
        # From now on whoever is invited to here, or by the same invite, finds it here too.
        peer.put(text)
        return text
    finally:
        peer.close()


def _unreachable(invite: Invite, error: TransportError) -> TransportError:
    where = ", ".join(invite.addresses[:3]) or "no address at all"
    return TransportError(
        f"nobody who has the swarm's charter could be reached at {where} ({error}): see that the "
        "daemon there runs and no firewall is between, or ask for a new invite"
    )


def _is_there(path: Path, invite: Invite) -> bool:
    if not path.exists():
        return False
    if parse_charter(_read(path)).swarm_id != invite.swarm_id:
        raise CharterError(
            f"{path} is another swarm's charter than the invite's: use another folder (--home)"
        )
    return find_swarm_key(path) == invite.key


def _has_key(path: Path, key: bytes) -> bool:
    try:
        return find_swarm_key(path) == key
    except IdentityError:
        return False  # most likely cut short by a crash, on the way to this very invite


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise CharterError(explain(error, "read the charter", str(path))) from error


def _write(path: Path, text: bytes, key: bytes) -> None:
    """Write key and charter; the charter last, since its presence means that all is there."""
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        if not _has_key(path, key):
            if os.path.lexists(key_path(path)):
                os.rename(key_path(path), key_path(path).with_suffix(".key.old"))
            write_swarm_key(key_path(path), key)
        replace_file(str(path), [text], partial_folder=str(path.parent), durable=True)
    except OSError as error:
        raise StateError(explain(error, "write", os.fspath(error.filename or path))) from error

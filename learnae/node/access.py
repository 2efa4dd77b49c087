"""How a peer gets into its swarm: which key, which daemon, sealed or not."""

from __future__ import annotations

import logging
import os
from dataclasses import dataclass, field
from pathlib import Path

from learnae.errors import UsageError
from learnae.node.swarmkey import find_swarm_key, key_path
from learnae.swarm import Charter
from learnae.transports import Transport, open_transport
from learnae.transports.keys import kubo_swarm_key
from learnae.transports.sealed import seal_transport

__all__ = ["Access", "access_of", "open_swarm_transport", "start_own_daemon"]

log = logging.getLogger("learnae.node")

CHAIN = "chain"


@dataclass(frozen=True)
class Access:
    """What this machine may do in a swarm.

    Attributes
    ----------
    swarm_id
        32 bytes.
    key
        The swarm key, or None where there is none.
    key_file
        Where it was looked for, for messages.
    public
        The daemon may be in the public network.
    unsealed
        Publish over IPFS without sealing: whoever reaches the daemon can read it.
    """

    swarm_id: bytes
    key: bytes | None = field(repr=False)
    key_file: Path | None = None
    public: bool = False
    unsealed: bool = False


def access_of(
    path: str | os.PathLike[str],
    charter: Charter,
    *,
    public: bool = False,
    unsealed: bool = False,
) -> Access:
    """Return what the files beside a charter allow.

    Raises
    ------
    IdentityError
        There is a key, and it is broken or readable by others.
    """
    return Access(charter.swarm_id, find_swarm_key(path), key_path(path), public, unsealed)


def open_swarm_transport(
    address: str, name: str, access: Access, home: Path | None = None
) -> Transport:
    """Open a transport as a member of a swarm: over IPFS everything is sealed.

    A folder is not sealed: who may read it is the file system's business.

    Parameters
    ----------
    address, name
        As for `learnae.transports.open_transport`.
    home
        The peer's folder, which keeps the newest node of its chain; None for who says nothing.

    Raises
    ------
    UsageError
        There is no key, or the daemon will not do; with the cure.
    TransportError
        The transport cannot be opened.
    """
    scheme, _, rest = address.partition(":")
    if scheme != "ipfs" or not rest:
        return open_transport(address, name)
    from learnae.node.kubo import check_daemon

    key = access.key
    if key is None and not access.unsealed:
        where = access.key_file or "the swarm's key"
        raise UsageError(
            f"{where}: no such file, and over IPFS everything is sealed with the swarm's key; "
            "ask a member for an invite (learnae invite), or say --unsealed"
        )
    network = None if key is None else kubo_swarm_key(key, access.swarm_id)
    status = check_daemon(rest, swarm_key_text=network, public=access.public)
    if status.private is None and not access.public:
        log.warning(
            "the repo of the IPFS daemon at %s cannot be seen from here, nor whether its network "
            "is private: if it is not, everybody can fetch what is published",
            rest,
        )
    inner = open_transport(address, name)
    if key is None or access.unsealed:
        return inner
    return seal_transport(inner, key, access.swarm_id, last=None if home is None else home / CHAIN)


def start_own_daemon(address: str) -> None:
    """Start the daemon of ``ipfs:REPO`` if it is one of ours, and does not run.

    Raises
    ------
    UsageError
        It does not start; with its own last words.
    """
    scheme, _, rest = address.partition(":")
    if scheme != "ipfs" or not rest:
        return
    from learnae.node.kubo import inspect_daemon, is_repo, start_daemon

    repo = Path(rest)
    if is_repo(repo) and not inspect_daemon(rest).running:
        daemon = start_daemon(repo)
        log.info(
            "started the IPFS daemon %s on %s; it goes on when this peer stops", daemon.pid, repo
        )

"""Looks for a daemon: whether it will do for this swarm, and is connected to anybody."""

from __future__ import annotations

import contextlib
import json
from pathlib import Path

from learnae.errors import TransportError
from learnae.node.finding import Finding, Verdict
from learnae.swarm import Charter
from learnae.wording import count

__all__ = ["look_at_daemon"]

_SHOWN = 4


def look_at_daemon(
    charter_path: Path, charter: Charter, address: str, *, public: bool = False
) -> Finding:
    """Look at the daemon behind ``ipfs:...``, and at whom it is connected to.

    Parameters
    ----------
    public
        Whether a daemon in the public network is accepted.

    Raises
    ------
    UsageError
        There is none, or it will not do; with the cure.
    """
    from learnae.node.access import access_of
    from learnae.node.kubo import check_daemon
    from learnae.transports.keys import kubo_swarm_key

    api = address.partition(":")[2]
    access = access_of(charter_path, charter)
    network = None if access.key is None else kubo_swarm_key(access.key, charter.swarm_id)
    found = check_daemon(api, swarm_key_text=network, public=public)
    size = (found.repo_nbytes or 0) / 1e6
    line = f"Kubo {found.version}, {found.network}, repo {size:.0f} MB"
    if found.n_peers:
        return Finding(
            "daemon", Verdict.GOOD, f"{line}, connected to {count(found.n_peers, 'other')}"
        )
    known = _known_addresses(api)
    if not known:
        return Finding(
            "daemon",
            Verdict.NOTE,
            f"{line}, connected to nobody and told of nobody: give it a member's address "
            "(learnae ipfs up --peer), or join by an invite",
        )
    return Finding(
        "daemon",
        Verdict.FAULT,
        f"{line}, but none of the daemons that it knows can be reached ({', '.join(known)}): see "
        "that one of them runs and has the same swarm key, and that the firewall there lets its "
        "port through",
    )


def _known_addresses(api: str) -> list[str]:
    """Return some addresses of other daemons that this one was told of."""
    from learnae.transports.ipfs import Rpc
    from learnae.transports.ipfs.dialling import BOOK

    rpc = Rpc(api)
    known: list[str] = []
    with contextlib.suppress(TransportError):
        for peer in rpc.call("swarm/peering/ls")[0].get("Peers") or []:
            known += [str(address) for address in peer.get("Addrs") or []]
    if rpc.repo is not None:
        with contextlib.suppress(OSError, ValueError, AttributeError):
            book = json.loads((Path(rpc.repo) / BOOK).read_bytes())
            known += [str(address) for addresses in book.values() for address in addresses]
    return list(dict.fromkeys(known))[:_SHOWN]

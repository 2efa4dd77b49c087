"""Removing objects from a daemon's repo, block by block, and nothing that anybody else needs.

Kubo's own way is to unpin and to collect garbage some day, which reads the whole repo and takes
what others of this daemon have not pinned either. Here each object is named, with its blocks
where they are known, and many go with one request: a peer that trains has little time for more,
and what waits to be removed is there in the meantime.
"""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Collection, Iterable
from dataclasses import dataclass

from learnae.transports.cid import cid_text
from learnae.transports.ipfs.rpc import Refused, Rpc

__all__ = ["Removal", "Unwanted"]

log = logging.getLogger("learnae.transports.ipfs")

_BATCH = 100  # names in one request
_DAG_PB = 0x70


@dataclass(frozen=True, slots=True)
class Unwanted:
    """An object or a node to be removed.

    Attributes
    ----------
    cid
        Its own.
    blocks
        All of its blocks; empty where only the daemon can say which there are.
    pinned
        Whether this peer may have pinned it.
    """

    cid: bytes
    blocks: tuple[bytes, ...] = ()
    pinned: bool = True


class Removal:
    """How one peer removes what it no longer needs.

    Parameters
    ----------
    rpc
        The daemon.
    prefix
        What the names of this peer's pins begin with.
    """

    def __init__(self, rpc: Rpc, prefix: str) -> None:
        self._rpc, self._prefix = rpc, prefix

    def remove(
        self, unwanted: Iterable[Unwanted], needed: Collection[bytes], limit_s: float
    ) -> None:
        """Unpin what this peer has pinned, and remove all blocks but those needed.

        What is still pinned afterwards, by a user or by another peer of the daemon, stays: Kubo
        removes no pinned block. Each request may take `limit_s` seconds.

        Raises
        ------
        TransportError
            The daemon does not answer; to be repeated as a whole then.
        """
        blocks: dict[str, None] = {}
        for item in unwanted:
            if not item.pinned or self._unpin(cid_text(item.cid), limit_s):
                known = [cid_text(cid) for cid in item.blocks]
                blocks |= dict.fromkeys(known or self._blocks(item.cid, limit_s))
        for cid in needed:
            blocks.pop(cid_text(cid), None)
        names, options = list(blocks), {"force": "true", "quiet": "true"}
        for start in range(0, len(names), _BATCH):
            batch = names[start : start + _BATCH]
            self._rpc.call("block/rm", *batch, deadline_s=limit_s, options=options)

    def _unpin(self, text: str, limit_s: float) -> bool:
        """Remove this peer's pin, if there is one; False if there is another's."""
        options = {"names": "true"}
        try:
            found = self._rpc.call("pin/ls", text, deadline_s=limit_s, options=options)
        except Refused:  # "is not pinned"
            return True
        keys = found[0].get("Keys") if found else None
        pin = keys.get(text) if isinstance(keys, dict) else None
        if not isinstance(pin, dict):
            return True
        if not str(pin.get("Name", "")).startswith(self._prefix):
            return False  # another peer of this daemon stores the same bytes
        options = {"recursive": str(pin.get("Type") != "direct").lower()}
        try:
            self._rpc.call("pin/rm", text, deadline_s=limit_s, options=options)
        except Refused as error:
            log.debug("unpin: %s", error)
            return False
        return True

    def _blocks(self, cid: bytes, limit_s: float) -> list[str]:
        """Ask the daemon which blocks of an object it has."""
        text = cid_text(cid)
        blocks = [text]
        if cid[1] == _DAG_PB:
            options = {"recursive": "true", "unique": "true", "offline": "true"}
            with contextlib.suppress(Refused):  # of an object in pieces not even the root is there
                for ref in self._rpc.call("refs", text, deadline_s=limit_s, options=options):
                    if ref.get("Ref"):
                        blocks.append(str(ref["Ref"]))
        return blocks

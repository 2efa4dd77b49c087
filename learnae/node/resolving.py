"""Fetched payloads put together with what they build on; `learnae.node.chains` makes them.

What arrives is hostile until shown otherwise: a payload may name any base, and that one another.
Naming by content makes a circle impossible; everything else costs the sender its turn, and the
receiver at most the bytes and the time that an honest chain costs.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable

from learnae import kernels
from learnae.errors import NotFound, PayloadError, TransportError, Unavailable
from learnae.node.chains import payload_bound
from learnae.node.gate import open_payload
from learnae.node.shelf import shelve
from learnae.payload import Schema
from learnae.swarm import Charter
from learnae.swarm.fields import is_payload_cid
from learnae.transports.seam import Buffer

__all__ = ["resolve", "within"]

N_TRIES = 4


def within(
    get: Callable[[bytes, float], memoryview], deadline_s: float
) -> Callable[[bytes], memoryview]:
    """Give several calls of `get`, which takes a CID and seconds, one deadline together.

    Raises
    ------
    TransportError
        From the result: `deadline_s` seconds have passed since `within` was called.
    """
    until = time.monotonic() + deadline_s

    def get_in_time(cid: bytes) -> memoryview:
        left = until - time.monotonic()
        if left <= 0:
            raise TransportError(f"the payloads that it builds on took over {deadline_s:g} s")
        return get(cid, left)

    return get_in_time


def resolve(
    cid: bytes,
    get: Callable[[bytes], memoryview],
    known: Callable[[bytes], kernels.PayloadView | None],
    charter: Charter,
    schema: Schema,
    folder: str | os.PathLike[str] | None = None,
) -> kernels.PayloadView:
    """Fetch a payload and whatever it builds on, and put them together.

    A base may be anybody's: it is named by its content, and whoever names a foreign one could
    as well have sent the sum. How much is fetched is bounded by what an honest chain needs.

    Parameters
    ----------
    get
        Returns the bytes of a CID.
    known
        Returns the stand-alone payload that a CID came to be when it was resolved before.
    folder
        Where a large sum, or what a large payload unpacks to, is put, mapped into memory; see
        `shelve`.

    Returns
    -------
    kernels.PayloadView
        Stands alone; all its blocks are sound.

    Raises
    ------
    TransportError
        From `get`.
    PayloadError
        One of the payloads is none of this swarm, or the chain is longer than the charter allows.
    """
    view, links = _walk(cid, get, known, charter, schema, folder)
    for i, link in enumerate(links):
        if view.n_vectors != link.n_vectors:
            raise PayloadError("payload and the one it builds on have unequal numbers of vectors")
        rebased = kernels.payload_rebase(view, link)
        is_last = i == len(links) - 1
        kept: Buffer = shelve(rebased, folder) if is_last else rebased
        view = kernels.payload_open(kept, schema.n_elements)
    return view


def _walk(
    cid: bytes,
    get: Callable[[bytes], memoryview],
    known: Callable[[bytes], kernels.PayloadView | None],
    charter: Charter,
    schema: Schema,
    folder: str | os.PathLike[str] | None,
) -> tuple[kernels.PayloadView, list[kernels.PayloadView]]:
    """Go back from a payload to one that stands alone; return it and the differences to add.

    All are unpacked. Without differences the first one is what is kept, in `folder` if it is large.
    """
    gossip = charter.gossip
    longest = gossip.key_every - 1 if gossip.is_chained else 0
    links: list[kernels.PayloadView] = []
    while (view := known(cid)) is None:
        view = open_payload(_get_again(cid, get) if links else get(cid), schema)
        if not view.base:
            _require_key(view, charter)
            view = _unpacked(view, None if links else folder)
            break
        _require_link(view, charter, schema)
        if len(links) == longest:
            raise PayloadError(f"more than {longest} differences since a payload that stands alone")
        links.append(_unpacked(view, None))
        cid = view.base
    return view, links[::-1]


def _unpacked(
    view: kernels.PayloadView, folder: str | os.PathLike[str] | None
) -> kernels.PayloadView:
    """Return a payload that can be averaged. What it says of itself was checked before."""
    if view.codec not in kernels.PACKED:
        return view
    plain = shelve(kernels.payload_unpack(view), folder)
    return kernels.payload_open(plain, view.n_elements)


def _get_again(cid: bytes, get: Callable[[bytes], memoryview]) -> memoryview:
    """Get a base, with some patience: one that fails makes those fetched before it useless.

    With 30 % of the fetches lost, nine in a row arrive in 4 of 100 cases, and so in 93.
    """
    for _ in range(N_TRIES - 1):
        try:
            return get(cid)
        except (NotFound, Unavailable):
            raise
        except TransportError:
            continue
    return get(cid)


def _require_key(view: kernels.PayloadView, charter: Charter) -> None:
    gossip = charter.gossip
    if gossip.is_chained and view.codec != gossip.key_codec:
        raise PayloadError(
            f"payload stands alone in codec {view.codec}, where the charter's gossip.key_codec "
            f"is {gossip.key_codec}"
        )


def _require_link(
    view: kernels.PayloadView,
    charter: Charter,
    schema: Schema,
) -> None:
    codec = charter.gossip.codec
    if not charter.gossip.is_chained:
        raise PayloadError(f"payload is a difference, which codec {codec} does not use")
    if view.codec != codec:
        raise PayloadError(f"payload is a difference in codec {view.codec}, not {codec}")
    if not is_payload_cid(view.base):
        raise PayloadError("payload builds on something that is no payload's CID")
    if view.nbytes > payload_bound(charter, schema, view.n_vectors):
        raise PayloadError(f"payload of {view.nbytes} bytes: its density is above the charter's")

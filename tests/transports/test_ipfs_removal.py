"""What the ipfs transport removes from a daemon's repo, and what it leaves there."""

from __future__ import annotations

import time

import pytest
from transports.contract import MIB, sample
from transports.daemons import until

from kubo import Kubo
from learnae.errors import TransportError
from learnae.transports import cid_of, cid_text
from learnae.transports.ipfs import IpfsTransport
from learnae.transports.ipfs.fetched import KEEP_FETCHED


def test_the_repo_stays_small(pair: tuple[Kubo, Kubo, IpfsTransport, IpfsTransport]) -> None:
    """Own objects are removed when dropped, fetched ones when newer ones have come."""
    one, two, ann, bob = pair
    n, keep = 2 * MIB, 4
    bob.reach(ann.addresses())
    for i in range(20):
        cid = ann.put(sample(n, i))
        for old in ann.owned()[:-keep]:
            ann.drop(old)
        assert bob.get(cid, n, 10.0) == sample(n, i)

    def size(kubo: Kubo) -> int:
        return sum(path.stat().st_size for path in (kubo.repo / "blocks").rglob("*.data"))

    until(lambda: size(two) < (KEEP_FETCHED + 0.5) * n)
    assert keep * n < size(one) < (keep + 0.5) * n
    assert len(ann.owned()) == keep


def test_what_was_removed_takes_no_room(
    pair: tuple[Kubo, Kubo, IpfsTransport, IpfsTransport],
) -> None:
    """By the daemon's own reckoning: folders that it once made for a block count too."""
    one, _, ann, _ = pair

    def size() -> int:
        stat = one.rpc().call("repo/stat", options={"size-only": "true"})
        return int(stat[0]["RepoSize"])

    before = size()
    for i in range(200):
        ann.drop(ann.put(sample(100, i)))
    grown = size() - before
    assert grown < 32 * 4096 + 200 * 1024, f"{grown} bytes"


def test_what_others_need_is_not_removed(
    pair: tuple[Kubo, Kubo, IpfsTransport, IpfsTransport],
) -> None:
    """Blocks that objects share, and objects that a user has pinned."""
    _, two, ann, bob = pair
    bob.reach(ann.addresses())
    shared = sample(MIB)
    objects = [shared + sample(MIB, i) for i in range(1, KEEP_FETCHED + 3)]
    cids = [ann.put(data) for data in objects]
    for cid, data in zip(cids, objects, strict=True):
        assert bob.get(cid, 2 * MIB, 10.0) == data
        if cid == cids[1]:
            two.rpc().call("pin/add", cid_text(cid))
    until(lambda: len(two.blocks(cid_text(cids[0]))) < 3)  # the root and its own chunk are gone
    ann.close()
    assert bob.get(cids[1], 2 * MIB, 1.0) == objects[1], "the user's"
    assert bob.get(cids[-1], 2 * MIB, 1.0) == objects[-1]
    assert len(two.blocks(cid_text(cids[-1]))) == 3
    assert (two.blocks(cid_text(cid_of(shared))), bob.owned()) != ([], [])


def test_room_is_made_before_an_object_comes(
    pair: tuple[Kubo, Kubo, IpfsTransport, IpfsTransport],
) -> None:
    """The daemon never holds more large ones than it keeps, and needs one request for it."""
    _, two, ann, bob = pair
    bob.reach(ann.addresses())
    n_seen = []
    for i in range(10):
        cid = ann.put(sample(2 * MIB, i))
        bob.get(cid, 2 * MIB, 10.0)
        n_seen.append(sum(1 for _ in (two.repo / "blocks").rglob("*.data")) // 3)
    assert max(n_seen) == KEEP_FETCHED, n_seen


def test_an_object_in_pieces_is_collected(
    pair: tuple[Kubo, Kubo, IpfsTransport, IpfsTransport],
) -> None:
    """A fetch that fails half way fails as a whole, in time, and leaves nothing for ever."""
    one, two, ann, bob = pair
    bob.reach(ann.addresses())
    cid = ann.put(sample(6 * MIB))
    for path in one.blocks(cid_text(cid))[-2:]:
        path.unlink()
    began = time.monotonic()
    with pytest.raises(TransportError):
        bob.get(cid, 6 * MIB, 1.0)
    assert time.monotonic() - began < 3.0
    until(lambda: two.blocks(cid_text(cid)) == [])

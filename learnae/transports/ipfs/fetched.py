"""Which objects of others stay in a daemon after they were fetched, for others still."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterator

__all__ = ["AT_LEAST", "KEEP_FETCHED", "Fetched"]

#: How many large objects, those being fetched included; and how many of them at least that have
#: come. With one, four peers that fetched from each other at once lost objects: who tells that it
#: holds a block and then removes it leaves the asking daemon waiting for longer than a fetch may.
KEEP_FETCHED, AT_LEAST = 3, 2
#: Small ones stay for longer, as many as fit in here: where models are small, many are asked for
#: in a moment.
_SMALL_NBYTES, _ALL_SMALL_NBYTES, _MAX_SMALL = 1 << 16, 1 << 20, 256


class Fetched:
    """The objects that were fetched, large and small ones, oldest first. Nothing here locks."""

    def __init__(self) -> None:
        self._large: OrderedDict[bytes, list[bytes]] = OrderedDict()
        self._small: OrderedDict[bytes, tuple[int, list[bytes]]] = OrderedDict()
        self._under_way: list[list[bytes]] = []

    def __contains__(self, cid: bytes) -> bool:
        return cid in self._large or cid in self._small

    def begin(self, cid: bytes) -> list[bytes]:
        """Count an object that is being fetched, be it there already: it is no surplus now.

        Returns
        -------
        list of bytes
            CIDs of its blocks, itself the first: to be continued by who fetches it, and given to
            `end`.
        """
        self.forget(cid)
        blocks = [cid]
        self._under_way.append(blocks)
        return blocks

    def end(self, blocks: list[bytes], nbytes: int | None) -> None:
        """Note an object that has come, or with None that it has not, or is not to be noted."""
        self._under_way = [other for other in self._under_way if other is not blocks]
        if nbytes is None:
            return
        cid = blocks[0]
        self.forget(cid)
        if nbytes > _SMALL_NBYTES:
            self._large[cid] = blocks
        else:
            self._small[cid] = nbytes, blocks

    def forget(self, cid: bytes) -> None:
        """Leave out an object that is removed, or has become one's own."""
        self._large.pop(cid, None)
        self._small.pop(cid, None)

    def take_surplus(self) -> list[list[bytes]]:
        """Take out those for which there is no room, and return the blocks of each."""
        surplus = []
        while len(self._large) > max(AT_LEAST, KEEP_FETCHED - len(self._under_way)):
            surplus.append(self._large.popitem(last=False)[1])
        while (
            len(self._small) > _MAX_SMALL
            or sum(nbytes for nbytes, _ in self._small.values()) > _ALL_SMALL_NBYTES
        ):
            surplus.append(self._small.popitem(last=False)[1][1])
        return surplus

    def needed(self) -> set[bytes]:
        """Return the blocks of all that stay or are being fetched: objects may share some."""
        return {cid for blocks in self._all() for cid in list(blocks)}

    def _all(self) -> Iterator[list[bytes]]:
        yield from self._under_way
        yield from self._large.values()
        yield from (blocks for _, blocks in self._small.values())

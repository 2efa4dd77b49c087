"""Which objects of others stay in a daemon after they were fetched, for others still."""

from __future__ import annotations

from collections import OrderedDict

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
        self._large: OrderedDict[bytes, None] = OrderedDict()
        self._small: OrderedDict[bytes, int] = OrderedDict()
        self._under_way = 0

    def __contains__(self, cid: bytes) -> bool:
        return cid in self._large or cid in self._small

    def begin(self, cid: bytes) -> None:
        """Count an object that is being fetched, be it there already: it is no surplus now."""
        self.forget(cid)
        self._under_way += 1

    def end(self, cid: bytes, nbytes: int | None) -> None:
        """Note an object that has come, or with None that it has not, or is not to be noted."""
        self._under_way -= 1
        if nbytes is None:
            return
        self.forget(cid)
        if nbytes > _SMALL_NBYTES:
            self._large[cid] = None
        else:
            self._small[cid] = nbytes

    def forget(self, cid: bytes) -> None:
        """Leave out an object that is removed, or has become one's own."""
        self._large.pop(cid, None)
        self._small.pop(cid, None)

    def take_surplus(self) -> list[bytes]:
        """Take out those for which there is no room."""
        surplus = []
        while len(self._large) > max(AT_LEAST, KEEP_FETCHED - self._under_way):
            surplus.append(self._large.popitem(last=False)[0])
        while len(self._small) > _MAX_SMALL or sum(self._small.values()) > _ALL_SMALL_NBYTES:
            surplus.append(self._small.popitem(last=False)[0])
        return surplus

"""Which objects of others stay in a daemon after they were fetched, for others still."""

from __future__ import annotations

from collections import OrderedDict

__all__ = ["KEEP_FETCHED", "Fetched"]

#: How many of any size, those being fetched included. With one, four peers that fetched from each
#: other at once lost objects: who tells that it holds a block and then removes it leaves the
#: asking daemon waiting for longer than a fetch may.
KEEP_FETCHED = 3
#: Small ones stay for longer, as many as fit in here: where models are small, many are asked for
#: in a moment.
_SMALL_NBYTES, _MAX_SMALL = 1 << 20, 256


class Fetched:
    """The objects that were fetched, oldest first. Nothing here locks."""

    def __init__(self) -> None:
        self._nbytes: OrderedDict[bytes, int] = OrderedDict()
        self._under_way = 0

    def __contains__(self, cid: bytes) -> bool:
        return cid in self._nbytes

    def begin(self) -> None:
        """Count an object that will come."""
        self._under_way += 1

    def end(self, cid: bytes, nbytes: int | None) -> None:
        """Note an object that has come, or with None that it has not."""
        self._under_way -= 1
        if nbytes is not None:
            self._nbytes[cid] = nbytes
            self._nbytes.move_to_end(cid)

    def forget(self, cid: bytes) -> None:
        """Leave out an object that is removed, or has become one's own."""
        self._nbytes.pop(cid, None)

    def take_surplus(self) -> list[bytes]:
        """Take out those for which there is no room."""
        surplus = []
        while self._nbytes and self._is_too_much():
            surplus.append(self._nbytes.popitem(last=False)[0])
        return surplus

    def _is_too_much(self) -> bool:
        n = len(self._nbytes) + self._under_way
        is_large = sum(self._nbytes.values()) > _SMALL_NBYTES
        return n > KEEP_FETCHED and (is_large or n > _MAX_SMALL)

"""The chunks of an object, hashed while they come from the daemon."""

from __future__ import annotations

from collections.abc import Iterator

from learnae.errors import WrongObject
from learnae.transports.cid import CHUNK_NBYTES, Subtree, leaf_of
from learnae.transports.ipfs.rpc import Answer

__all__ = ["read_leaves"]

_READ_NBYTES = 1 << 20


def read_leaves(answer: Answer, data: bytearray, text: str) -> Iterator[Subtree]:
    """Fill `data` from the answer and yield its chunks' hashes as soon as they are there."""
    with memoryview(data) as view:
        done = hashed = 0
        while done < view.nbytes:
            n = answer.read_into(view[done : done + _READ_NBYTES])
            if n == 0:
                break
            done += n
            while done - hashed >= CHUNK_NBYTES:
                yield leaf_of(view[hashed : hashed + CHUNK_NBYTES])
                hashed += CHUNK_NBYTES
        if done > hashed or done == 0:
            yield leaf_of(view[hashed:done])
        if done == view.nbytes and answer.read_into(memoryview(bytearray(1))):
            raise WrongObject(f"{text} is more than the {view.nbytes} bytes expected")

"""Memory for payloads that are written."""

from __future__ import annotations

import ctypes
import mmap

import numpy as np

__all__ = ["unfilled"]

# Below, a payload costs little enough in small pages, and huge ones would waste memory.
_HUGE_FROM_NBYTES = 4 << 20

_HUGE: int | None = getattr(mmap, "MADV_HUGEPAGE", None)  # Linux alone has it

_new_bytearray = ctypes.pythonapi.PyByteArray_FromStringAndSize
_new_bytearray.argtypes = (ctypes.c_char_p, ctypes.c_ssize_t)
_new_bytearray.restype = ctypes.py_object


def unfilled(nbytes: int) -> bytearray:
    """Return `nbytes` bytes of undefined content, all of which the caller is to write.

    ``bytearray(nbytes)`` writes zeros, and thereby takes its memory from the system in pages of
    4 KiB: that costs several times what writing a payload into it does. Here large memory is asked
    for in huge pages, before anything is written, as NumPy does for its arrays.
    """
    out: bytearray = _new_bytearray(None, nbytes)
    if _HUGE is not None and nbytes >= _HUGE_FROM_NBYTES:
        address = np.frombuffer(out, np.uint8).ctypes.data
        start = -(-address // mmap.PAGESIZE) * mmap.PAGESIZE
        # Advice: where the system has no huge pages it declines, and nothing is lost.
        _madvise(start, (address + nbytes - start) // mmap.PAGESIZE * mmap.PAGESIZE, _HUGE)
    return out


def _madvise(start: int, nbytes: int, advice: int) -> None:
    madvise = ctypes.CDLL(None).madvise
    madvise.argtypes = (ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int)
    madvise(start, nbytes, advice)

"""Memory read, scaled in place and copied by several threads: what no kernel can beat.

The loops are C (``binding/stream.c``, a part of the extension module), or numba where the
extension is not installed. They run several passes a call without Python in between; NumPy
reaches half of their rate in a second-level cache.
"""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor, wait
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

__all__ = ["OPERATIONS", "Streams"]

OPERATIONS = ("read", "scale", "copy")

Bytes = NDArray[np.uint8]
_STEP = 256  # the loops' granule


class _Loops(Protocol):
    def read(self, at: Bytes, passes: int) -> None: ...
    def scale(self, at: Bytes, passes: int) -> None: ...
    def copy(self, dst: Bytes, src: Bytes, passes: int) -> None: ...


class Streams:
    """One buffer, walked over by up to `n_threads` threads.

    Parameters
    ----------
    nbytes
        The most that a call may ask for.
    n_threads
        The most threads that a call may ask for.
    register_nbytes
        Width of the widest vector registers that this CPU has: 16, 32 or 64.
    """

    def __init__(self, nbytes: int, n_threads: int, register_nbytes: int) -> None:
        raw = np.empty(nbytes + 4096, np.uint8)
        start = -raw.ctypes.data % 4096
        self._bytes = raw[start : start + nbytes]
        self._bytes.view(np.float32)[:] = 1.0  # also gets the pages from the system
        self._loops = _load(register_nbytes)
        self._pool = ThreadPoolExecutor(n_threads)

    def close(self) -> None:
        """End the threads."""
        self._pool.shutdown()

    def run(self, operation: str, nbytes: int, n_threads: int, passes: int) -> int:
        """Go `passes` times over `nbytes` bytes, each thread over its own part.

        Returns
        -------
        int
            Bytes read and bytes written, together. A copy reads one half and writes the other.
        """
        part = nbytes // n_threads // (2 * _STEP) * (2 * _STEP)
        walks = [
            self._walk(operation, self._bytes[i * part : (i + 1) * part], passes)
            for i in range(n_threads)
        ]
        others = [self._pool.submit(walk) for walk in walks[1:]]
        walks[0]()
        wait(others)
        for other in others:
            other.result()
        return part * n_threads * passes * (2 if operation == "scale" else 1)

    def _walk(self, operation: str, at: Bytes, passes: int) -> Callable[[], None]:
        if operation == "read":
            return lambda: self._loops.read(at, passes)
        if operation == "scale":
            return lambda: self._loops.scale(at, passes)
        half = at.size // 2
        return lambda: self._loops.copy(at[:half], at[half:], passes)


def _load(register_nbytes: int) -> _Loops:
    try:
        return _Compiled(register_nbytes)
    except ImportError:
        return _Jitted()


class _Compiled:
    def __init__(self, register_nbytes: int) -> None:
        from learnae._core import ffi, lib

        self._lib, self._from_buffer = lib, ffi.from_buffer
        self._width = register_nbytes

    def read(self, at: Bytes, passes: int) -> None:
        self._lib.learnae_stream_read(self._from_buffer(at), at.size, passes, self._width)

    def scale(self, at: Bytes, passes: int) -> None:
        self._lib.learnae_stream_scale(self._from_buffer(at), at.size, passes, self._width, 1.0)

    def copy(self, dst: Bytes, src: Bytes, passes: int) -> None:
        pointers = self._from_buffer(dst), self._from_buffer(src)
        self._lib.learnae_stream_copy(*pointers, dst.size, passes)


class _Jitted:
    def __init__(self) -> None:
        import numba

        jit = numba.njit(nogil=True, fastmath=True)

        def read(words: NDArray[np.uint64], passes: int) -> int:
            found = np.uint64(0)
            for pass_ in range(passes):
                # Depends on the pass, so that the passes cannot be joined.
                start = pass_ % 2
                for i in range(start, words.size):
                    found |= words[i]
            return int(found)

        def scale(floats: NDArray[np.float32], passes: int, factor: float) -> None:
            for _ in range(passes):
                for i in range(floats.size):
                    floats[i] *= factor

        self._read, self._scale = jit(read), jit(scale)

    def read(self, at: Bytes, passes: int) -> None:
        self._read(at.view(np.uint64), passes)

    def scale(self, at: Bytes, passes: int) -> None:
        self._scale(at.view(np.float32), passes, 1.0)

    def copy(self, dst: Bytes, src: Bytes, passes: int) -> None:
        for _ in range(passes):
            np.copyto(dst, src)

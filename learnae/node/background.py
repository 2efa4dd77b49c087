"""Threads that work beside training give way to it, and clean up behind it."""

from __future__ import annotations

import contextlib
import ctypes
import os
import sys
import threading

__all__ = ["give_memory_back", "yield_to_training"]

# A tenth of a busy core, and all of an idle one.
_NICENESS = 10


def yield_to_training() -> None:
    """Lower the calling thread's priority, where the system has one for each thread (Linux).

    A training step is split over all cores and ends with the slowest part, so a thread that takes
    one core for a millisecond lengthens the step by as much. There are idle moments enough.
    """
    if sys.platform == "linux":
        thread = threading.get_native_id()
        with contextlib.suppress(OSError):  # a sandbox may forbid it; then nothing changes
            niceness = os.getpriority(os.PRIO_PROCESS, thread)
            os.setpriority(os.PRIO_PROCESS, thread, max(niceness, _NICENESS))


def give_memory_back() -> None:
    """Return what has been freed to the system, where the C library can be asked to (glibc).

    Models come and go on several threads, and each leaves holes in the heap that stay resident:
    some kilobytes a round, for as long as a peer runs. A call takes a few milliseconds.
    """
    with contextlib.suppress(AttributeError, OSError, TypeError):
        ctypes.CDLL(None).malloc_trim(0)

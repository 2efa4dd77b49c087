"""Threads that work beside training give way to it, and clean up behind it."""

from __future__ import annotations

import contextlib
import ctypes
import os
import sys
import threading
import time

__all__ = ["TRIM_S", "Trimmer", "yield_to_training"]

TRIM_S = 15.0

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


class Trimmer:
    """Returns what has been freed to the system, now and then (glibc; elsewhere nothing).

    Models come and go on several threads, and each leaves holes in the heap that stay resident:
    some kilobytes a round, for as long as a peer runs.

    To be called by the training thread: the heap is locked for the few milliseconds that it
    takes, and a thread of lower priority might be stopped in the middle of it.
    """

    def __init__(self) -> None:
        self._last = time.monotonic()

    def when_due(self) -> bool:
        """Give memory back if it was not done for a while; return whether it was time."""
        if time.monotonic() - self._last < TRIM_S:
            return False
        self._last = time.monotonic()
        with contextlib.suppress(AttributeError, OSError, TypeError):
            ctypes.CDLL(None).malloc_trim(0)
        return True

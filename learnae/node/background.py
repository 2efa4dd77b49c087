"""Threads that work beside training give way to it, and clean up behind it."""

from __future__ import annotations

import contextlib
import ctypes
import os
import sys
import threading
import time

__all__ = ["TRIM_S", "Trimmer", "keep_freed_memory", "yield_to_training"]

TRIM_S, TRIM_MOST_S = 15.0, 600.0

# A tenth of a busy core, and all of an idle one.
_NICENESS = 10

# Options of mallopt(3), which have these numbers in every version; both in bytes.
_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD = -1, -3
_HEAP_KEEPS = 1 << 30
_HEAP_VARIABLES = "MALLOC_TRIM_THRESHOLD_", "MALLOC_MMAP_THRESHOLD_", "GLIBC_TUNABLES"


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


def keep_freed_memory() -> None:
    """Let the heap of this process keep what a round frees for the next one (glibc).

    A compiled round allocates its buffers and frees them at its end. By default large ones are
    mapped each time, and what lies free at the heap's end is given back at once, so the system maps
    and zeroes it again page by page: 14,000 page faults in each round of 5 million params.
    Elsewhere, or where the environment sets these options (`mallopt(3)`), nothing changes.

    For programs that are learnae's own: it holds for the whole process.
    """
    if any(name in os.environ for name in _HEAP_VARIABLES):
        return
    with contextlib.suppress(AttributeError, OSError, TypeError):
        mallopt = ctypes.CDLL(None).mallopt
        # Older ones take no more than 32 MB here.
        if mallopt(_M_MMAP_THRESHOLD, _HEAP_KEEPS) or mallopt(_M_MMAP_THRESHOLD, 32 << 20):
            mallopt(_M_TRIM_THRESHOLD, _HEAP_KEEPS)


class Trimmer:
    """Returns what has been freed to the system, now and then (glibc; elsewhere nothing).

    Models come and go on several threads, and each leaves holes in the heap that stay resident:
    some kilobytes a round, for as long as a peer runs.

    To be called by the training thread: the heap is locked for the few milliseconds that it
    takes, and a thread of lower priority might be stopped in the middle of it.
    """

    def __init__(self) -> None:
        self._last = time.monotonic()

    def when_due(self, round_s: float = 0.0) -> bool:
        """Give memory back if it was not done for a while; return whether it was time.

        What the next round needs is given back too, and mapped again page by page, which takes a
        large model a tenth of its round (`round_s`, in seconds): so once in a hundred rounds, or in
        ten minutes.
        """
        if time.monotonic() - self._last < min(max(TRIM_S, 100 * round_s), TRIM_MOST_S):
            return False
        self._last = time.monotonic()
        with contextlib.suppress(AttributeError, OSError, TypeError):
            ctypes.CDLL(None).malloc_trim(0)
        return True

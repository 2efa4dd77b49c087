"""What threads beside training do about priorities and memory."""

from __future__ import annotations

import os
import sys
import threading

import pytest

from learnae.node.background import give_memory_back, yield_to_training


def niceness_after(before: int) -> int:
    """Return the niceness of a thread that began with `before` and has given way."""
    found: list[int] = []

    def run() -> None:
        me = threading.get_native_id()
        os.setpriority(os.PRIO_PROCESS, me, before)
        yield_to_training()
        found.append(os.getpriority(os.PRIO_PROCESS, me))

    thread = threading.Thread(target=run)
    thread.start()
    thread.join()
    return found[0]


@pytest.mark.skipif(sys.platform != "linux", reason="threads have no priorities of their own")
def test_a_thread_gives_way_and_never_the_contrary() -> None:
    own = os.getpriority(os.PRIO_PROCESS, 0)
    assert niceness_after(own) == max(own, 10)
    assert niceness_after(19) == 19
    assert os.getpriority(os.PRIO_PROCESS, 0) == own, "only the thread itself"


def test_memory_can_be_given_back_at_any_time() -> None:
    kept = bytearray(b"x" * (1 << 22))
    for _ in range(3):
        bytearray(1 << 22)
        give_memory_back()
    assert kept == b"x" * (1 << 22)

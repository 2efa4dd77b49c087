"""What threads beside training do about priorities and memory."""

from __future__ import annotations

import os
import platform
import subprocess
import sys
import threading
import time
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

import learnae
from learnae.node import background
from learnae.node.background import keep_freed_memory, yield_to_training
from learnae.node.join import JoinedPeer
from learnae.node.node import NodeSettings
from learnae.transports.memory import MemoryNetwork

CHARTER = learnae.parse_charter('[swarm]\nname = "way"\n[training]\nsteps = 1')


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


@pytest.mark.skipif(sys.platform != "linux", reason="threads have no priorities of their own")
def test_the_threads_of_a_peer_give_way_once_it_trains(tmp_path: Path) -> None:
    network = MemoryNetwork()
    own = os.getpriority(os.PRIO_PROCESS, 0)
    params = {"w": np.zeros(4, np.float32)}
    settings = NodeSettings(poll_s=0.01, patience_s=0.0)

    def join(name: str) -> JoinedPeer:
        transport = network.endpoint(name)
        return learnae.join(
            CHARTER, params, home=tmp_path / name, transport=transport, settings=settings
        )

    def niceness(prefix: str) -> list[int]:
        threads = [t for t in threading.enumerate() if t.name.startswith(prefix) and t.native_id]
        return [os.getpriority(os.PRIO_PROCESS, int(t.native_id or 0)) for t in threads]

    with join("ann") as ann, join("bob") as bob:
        deadline = time.monotonic() + 30
        while not (ann.status().models_merged and bob.status().models_merged):
            assert time.monotonic() < deadline
            for peer in (ann, bob):
                peer.exchange(peer.params, samples=1)
        for prefix in ("learnae-io", "learnae-fetch"):
            found = niceness(prefix)
            assert len(found) >= 2, prefix
            assert found == [max(own, 10)] * len(found), prefix
        assert os.getpriority(os.PRIO_PROCESS, 0) == own


def test_memory_is_given_back_now_and_then(monkeypatch: pytest.MonkeyPatch) -> None:
    now, asked = [100.0], []
    monkeypatch.setattr(background.time, "monotonic", lambda: now[0])
    library = SimpleNamespace(malloc_trim=asked.append)
    monkeypatch.setattr(background.ctypes, "CDLL", lambda name: library)
    trimmer = background.Trimmer()
    assert not trimmer.when_due()
    now[0] += background.TRIM_S
    assert trimmer.when_due()
    assert not trimmer.when_due()
    assert asked == [0]
    now[0] += 100.0
    assert not trimmer.when_due(round_s=1.5), "a large model's buffers are mapped rarely"
    now[0] += 50.0
    assert trimmer.when_due(round_s=1.5)
    now[0] += background.TRIM_MOST_S
    assert trimmer.when_due(round_s=60.0), "however long a round is"
    assert asked == [0, 0, 0]


def test_a_library_that_cannot_give_memory_back_is_no_error(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(background, "TRIM_S", 0.0)
    monkeypatch.setattr(background.ctypes, "CDLL", lambda name: SimpleNamespace())
    assert background.Trimmer().when_due()


def test_the_heap_keeps_what_a_round_frees(monkeypatch: pytest.MonkeyPatch) -> None:
    set_: list[tuple[int, int]] = []

    def mallopt(option: int, value: int) -> int:
        set_.append((option, value))
        return 1

    monkeypatch.setattr(background.ctypes, "CDLL", lambda name: SimpleNamespace(mallopt=mallopt))
    for name in ("MALLOC_TRIM_THRESHOLD_", "MALLOC_MMAP_THRESHOLD_", "GLIBC_TUNABLES"):
        monkeypatch.delenv(name, raising=False)
    keep_freed_memory()
    assert set_ == [(-3, 1 << 30), (-1, 1 << 30)]
    monkeypatch.setenv("GLIBC_TUNABLES", "glibc.malloc.hugetlb=1")
    keep_freed_memory()
    assert len(set_) == 2, "what the user chose stays"


_FAULTS = """
import resource, sys
import numpy as np
from learnae.node.background import keep_freed_memory

if sys.argv[1] == "keep":
    keep_freed_memory()

def work():
    for _ in range(20):
        blocks = [np.ones(1 << 20, np.uint8) for _ in range(50)]
        del blocks

work()
before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
work()
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="only glibc has mallopt")
def test_kept_memory_is_not_mapped_again() -> None:
    faults = {
        mode: int(
            subprocess.run(
                [sys.executable, "-c", _FAULTS, mode],
                check=True,
                capture_output=True,
                text=True,
                timeout=60,
                env={k: v for k, v in os.environ.items() if k not in background._HEAP_VARIABLES},
            ).stdout
        )
        for mode in ("keep", "give back")
    }
    assert faults["keep"] < 100 < faults["give back"], faults

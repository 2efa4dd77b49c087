"""kill -9 at 100 random moments, and the shared folder is as it should be after each."""

from __future__ import annotations

import hashlib
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path
from types import TracebackType
from typing import Self

from transports import kill_writer
from transports.kill_writer import KEEP, TOPIC

from learnae.transports import DirectoryTransport, cid_from_text, cid_of
from learnae.transports.directory import KEEP_MESSAGES

N_KILLS, SEED = 100, 2025


class Writers:
    """Real processes, one after the other, each killed after a while."""

    def __init__(self, path: Path) -> None:
        self._partial = path / "partial" / "writer"
        self._program = subprocess.Popen(
            [sys.executable, kill_writer.__file__, str(path)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env={**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))},
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._program.kill()
        self._program.communicate()

    def run_one(self, seed: int, rng: random.Random) -> None:
        """Start a writer; kill it around a random operation, or while it writes a file."""
        out, into = self._program.stdout, self._program.stdin
        assert out is not None
        assert into is not None
        print(seed, file=into, flush=True)
        pid = int(out.readline().removeprefix("begin "))
        for expected in range(1, rng.randrange(1, 12) + 1):
            assert int(out.readline()) == expected
        spin_s = rng.uniform(0.0, 0.01)
        if seed % 2:
            spin_s = rng.uniform(0.0, 0.001)
            while not os.listdir(self._partial):
                pass
        end = time.perf_counter() + spin_s
        while time.perf_counter() < end:
            pass
        os.kill(pid, signal.SIGKILL)
        while not (line := out.readline()).endswith("end\n"):
            assert line, "the program ended; its standard error says why"


def check(path: Path) -> int:
    """Check everything that must hold at any moment; return how many files were cut off."""
    objects = list((path / "objects" / "writer").iterdir())
    for file in objects:
        assert cid_of(file.read_bytes()) == cid_from_text(file.name), file
    assert len(objects) <= KEEP + 1
    topic = path / "announcements" / TOPIC.replace("/", "%2F") / "writer"
    messages = sorted(topic.iterdir()) if topic.exists() else []
    for file in messages:
        data = file.read_bytes()
        assert hashlib.sha256(data[32:]).digest() == data[:32], file
    assert len(messages) <= KEEP_MESSAGES + 1
    return len(list((path / "partial" / "writer").iterdir()))


def test_killed_at_any_moment(tmp_path: Path) -> None:
    print("seed", SEED)
    rng = random.Random(SEED)
    path = tmp_path / "shared"
    reader = DirectoryTransport(path, "reader")
    heard = reader.subscribe(TOPIC)
    n_cut_off, last = 0, b""
    with Writers(path) as writers:
        for number in range(N_KILLS):
            writers.run_one(number, rng)
            left = check(path)
            assert left <= 1, "the writer did not sweep what the one before left"
            n_cut_off += left
            messages = heard.take()
            last = messages[-1] if messages else last
            if last:
                # Put before announced, and kept: what was announced last can be fetched.
                reader.get(last[32:68], 6_000_000, 1.0)
            if number % 3 == 0:
                DirectoryTransport(path, "writer").close()
                assert check(path) == 0
    assert last
    assert n_cut_off >= 10, "the kills did not hit while files were being written"

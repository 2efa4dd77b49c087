"""kill -9 at 100 random moments: every restart goes on, and nothing is ever corrupt."""

from __future__ import annotations

import os
import random
import selectors
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from learnae.node.checkpoint import decode_checkpoint
from learnae.swarm import parse_charter
from learnae.swarm.announcement import decode_announcement
from learnae.transports import DirectoryTransport, cid_of, cid_text

N_KILLS, SEED, DEADLINE_S = 100, 20260, 60.0

CHARTER = """
[swarm]
name = "kill"
[training]
steps = 1
min_seconds = 0.002
[gossip]
codec = "i8"
fan_in = 2
keep = 3
"""


class Victim:
    """One peer as a process; `start` after a kill resumes it."""

    def __init__(self, folder: Path, number: int) -> None:
        self.home = folder / f"home-{number}"
        self.errors = folder / f"errors-{number}.txt"
        self._command = [
            sys.executable,
            "-m",
            "tests.node.kill_victim",
            str(folder / "swarm.toml"),
            str(self.home),
            str(folder / "shared"),
            str(number),
        ]
        self.peer_id = ""
        self.highest_round = 0

    def start(self) -> int:
        """Start the process; return the round it resumes at."""
        with self.errors.open("ab") as errors:
            self.process = subprocess.Popen(
                self._command, stdout=subprocess.PIPE, stderr=errors, bufsize=0
            )
        word, peer_id, number = self.wait_for_line().split()
        assert word == "start"
        assert self.peer_id in ("", peer_id), "the identity survives"
        self.peer_id = peer_id
        return int(number)

    def wait_for_line(self) -> str:
        """Return the next line of output; fail with the errors if there is none in time."""
        assert self.process.stdout is not None
        line, until = b"", time.monotonic() + DEADLINE_S
        with selectors.DefaultSelector() as selector:
            selector.register(self.process.stdout, selectors.EVENT_READ)
            while not line.endswith(b"\n"):
                ready = selector.select(max(0.0, until - time.monotonic()))
                byte = os.read(self.process.stdout.fileno(), 1) if ready else b""
                assert byte, f"the peer died or hangs: {self.errors.read_text()[-2000:]}"
                line += byte
        return line.decode()

    def kill(self) -> None:
        """Kill -9, after reading what it still had said."""
        self.process.send_signal(signal.SIGKILL)
        assert self.process.stdout is not None
        for line in self.process.stdout.read().decode().splitlines():
            if line.startswith("round ") and line[6:].isdigit():
                self.highest_round = max(self.highest_round, int(line[6:]))
        self.process.wait(DEADLINE_S)
        self.process.stdout.close()


def _check_objects(shared: Path) -> int:
    """Check that every object agrees with its name; return their number."""
    n = 0
    for path in (shared / "objects").rglob("b*"):
        if path.is_file():
            try:
                data = path.read_bytes()
            except FileNotFoundError:
                continue  # dropped by its owner in this moment
            assert cid_text(cid_of(data)) == path.name, path
            n += 1
    return n


@pytest.mark.deadline(400)
def test_kill_at_a_hundred_random_moments(tmp_path: Path) -> None:
    rng = random.Random(SEED)
    charter = parse_charter(CHARTER)
    (tmp_path / "swarm.toml").write_text(CHARTER)
    victims = [Victim(tmp_path, number) for number in range(3)]
    observer = DirectoryTransport(tmp_path / "shared", "observer")
    subscription = observer.subscribe(charter.topic)
    sequences: dict[tuple[str, int], bytes] = {}

    def observe() -> None:
        for data in subscription.take():
            said = decode_announcement(data)
            before = sequences.setdefault((said.peer_id, said.sequence), data)
            assert before == data, "one sequence number, two announcements"

    for victim in victims:
        victim.start()
    resumed = 0
    try:
        for _ in range(N_KILLS):
            victim = rng.choice(victims)
            for _ in range(rng.randrange(1, 4)):
                victim.wait_for_line()
            # Some part of a round later: spinning, since only a random moment is wanted.
            until = time.perf_counter() + rng.random() * 0.02
            while time.perf_counter() < until:
                observe()
            victim.kill()
            _check_objects(tmp_path / "shared")
            checkpoint = victim.home / "checkpoint"
            if checkpoint.exists():
                saved = decode_checkpoint(checkpoint.read_bytes())
                assert saved.swarm_id == charter.swarm_id
                at = victim.start()
                assert at >= saved.round, "what was saved is resumed"
                resumed += at > 0
            else:
                victim.start()
            observe()
    finally:
        for victim in victims:
            victim.kill()
    assert resumed > N_KILLS / 2, "most kills hit a peer that had something to lose"
    assert len({peer for peer, _ in sequences}) == 3
    for victim in victims:
        left = list((tmp_path / "shared" / "objects").glob(f"*{victim.peer_id}*/*"))
        assert 0 < len(left) <= 3 + 2, "disk is bounded, whatever the kills left behind"
    assert _check_objects(tmp_path / "shared") > 0
    observer.close()

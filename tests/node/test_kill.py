"""kill -9 at random moments: every restart goes on, and nothing is ever corrupt.

Every peer is a process of its own with a transport in a shared folder. The processes are forked
from one that has imported everything, since only what a peer does with its files matters here.
"""

from __future__ import annotations

import contextlib
import json
import multiprocessing
import random
import signal
import time
from collections.abc import Callable, Iterator
from multiprocessing.connection import Connection
from multiprocessing.context import ForkServerContext
from multiprocessing.process import BaseProcess
from pathlib import Path

import pytest
from node.kill_victim import train_until_killed

from learnae.cli.statusfile import read_rounds
from learnae.node.home import newest_checkpoint
from learnae.swarm import parse_charter
from learnae.swarm.announcement import decode_announcement
from learnae.transports import DirectoryTransport, cid_of, cid_text

SEED, DEADLINE_S = 20260, 60.0
N_EARLY = 6  # of the kills may come before anything was saved
PRELOAD = ["learnae.node.join", "learnae.kernels._c", "learnae.transports.directory"]

CHARTER = """
[swarm]
name = "kill"
[training]
steps = 1
min_seconds = 0.002
[gossip]
fan_in = 2
keep = 3
"""
# What is added to the charter, how many are killed, and how many payloads a peer may keep.
WHOLE = "", 100, 3
CHAINS = 'codec = "topk"\nkey_every = 4', 40, 2 * 4


class Victim:
    """One peer as a process; `start` after a kill resumes it."""

    process: BaseProcess
    messages: Connection

    def __init__(self, context: ForkServerContext, folder: Path, number: int) -> None:
        self.home = folder / f"home-{number}"
        self.peer_id = ""
        self.resumed = 0
        self.is_starting = False
        self._context, self._folder, self._number = context, folder, number
        self._saved_round = 0

    def start(self) -> None:
        """Start the process; `finish_start` waits until it trains."""
        self._saved_round = newest_round(self.home)
        logged = {0} | {line.round for line in read_rounds(self.home)}
        assert self._saved_round in logged, "what is saved is in the log: it is not done again"
        self.messages, out = self._context.Pipe(duplex=False)
        self.process = self._context.Process(
            target=train_until_killed, args=(out, self._folder, self._number)
        )
        self.process.start()
        out.close()
        self.is_starting = True

    def finish_start(self) -> None:
        """Wait until it trains; it is who it was, and goes on from what it had saved."""
        if not self.is_starting:
            return
        peer_id, round_ = self._next()
        assert self.peer_id in ("", peer_id), "the identity survives"
        assert round_ >= self._saved_round, "what was saved is resumed"
        self.peer_id, self.is_starting = peer_id, False
        self.resumed += self._saved_round > 0

    def wait_for_save(self) -> None:
        """Wait until it has saved something; how soon is up to the speed of the disk."""
        until = time.monotonic() + DEADLINE_S
        while not (self.home / "checkpoint").exists():
            assert time.monotonic() < until, "it trains and never saves"
            self.wait_for_round()

    def wait_for_round(self) -> None:
        """Wait until another round is over."""
        self._next()

    def drain(self) -> None:
        """Take what it has sent, so that it never waits for us."""
        while not self.is_starting and self.messages.poll():
            self.messages.recv()

    def kill(self) -> None:
        """Kill -9."""
        self.process.kill()
        self.process.join(DEADLINE_S)
        assert self.process.exitcode == -signal.SIGKILL, "it was alive until then"
        self.process.close()
        self.messages.close()

    def _next(self) -> tuple[str, int]:
        assert self.messages.poll(DEADLINE_S), "the peer hangs"
        message: tuple[str, int] = self.messages.recv()
        return message


def newest_round(home: Path) -> int:
    """Return the round of the checkpoint that a restart would go on from; 0 without one."""
    checkpoint, _ = newest_checkpoint(home)
    return 0 if checkpoint is None else checkpoint.round


def _objects(shared: Path) -> Iterator[Path]:
    """Yield every object, after checking that it agrees with its name."""
    for path in (shared / "objects").rglob("b*"):
        # One may be dropped by its owner in this moment.
        with contextlib.suppress(FileNotFoundError):
            if path.is_file():
                assert cid_text(cid_of(path.read_bytes())) == path.name, path
                yield path


def _spin(seconds: float, meanwhile: Callable[[], None]) -> None:
    """Pass time without sleeping: only a random moment is wanted."""
    until = time.perf_counter() + seconds
    while time.perf_counter() < until:
        meanwhile()


@pytest.mark.parametrize(("more", "n_kills", "n_kept"), [WHOLE, CHAINS], ids=["i8", "topk"])
def test_kill_at_random_moments(tmp_path: Path, more: str, n_kills: int, n_kept: int) -> None:
    rng = random.Random(SEED)
    charter = parse_charter(CHARTER + more)
    (tmp_path / "swarm.toml").write_text(CHARTER + more)
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(PRELOAD)
    victims = [Victim(context, tmp_path, number) for number in range(3)]
    observer = DirectoryTransport(tmp_path / "shared", "observer")
    subscription = observer.subscribe(charter.topic)
    sequences: dict[tuple[str, int], bytes] = {}

    def observe() -> None:
        for data in subscription.take():
            said = decode_announcement(data)
            before = sequences.setdefault((said.peer_id, said.sequence), data)
            assert before == data, "one sequence number, two announcements"
        for victim in victims:
            victim.drain()

    for victim in victims:
        victim.start()
    try:
        for number in range(n_kills):
            victim = rng.choice(victims)
            if number % 4 == 0 and victim.is_starting:
                _spin(rng.random() * 0.05, observe)  # somewhere in its start
            else:
                victim.finish_start()
                if number >= N_EARLY:
                    victim.wait_for_save()
                for _ in range(rng.randrange(1, 4)):
                    victim.wait_for_round()
                _spin(rng.random() * 0.02, observe)
            victim.kill()
            list(_objects(tmp_path / "shared"))
            victim.start()
        for victim in victims:
            victim.finish_start()
            victim.wait_for_round()
        observe()
    finally:
        for victim in victims:
            victim.kill()
    resumed = sum(victim.resumed for victim in victims)
    print(f"{resumed} of {n_kills} restarts went on from a checkpoint and were waited for")
    assert resumed > n_kills / 2, "most kills hit a peer that had something to lose"
    assert {peer_id for peer_id, _ in sequences} == {victim.peer_id for victim in victims}
    for victim in victims:
        left = [
            path for path in _objects(tmp_path / "shared") if path.parent.name == victim.peer_id
        ]
        assert 0 < len(left) <= n_kept + 2, "disk is bounded, whatever the kills left behind"
        status = json.loads((victim.home / "status.json").read_text())
        assert status["rejected"] == 0, "what was published made sense"
    observer.close()


@pytest.fixture(scope="module", autouse=True)
def no_processes_left() -> Iterator[None]:
    yield
    for process in multiprocessing.active_children():
        process.kill()
